// The function around the kernel's body: the loop over program ids that the entry ABI asks for, the
// kernel's arguments out of their slots, and the exported record.
#include "llvm/IR/IntrinsicsX86.h"
#include "src/compiler/lower/emitter.h"
#include "src/compiler/lower/lower.h"
#include "src/compiler/lower/planner.h"

namespace nereid::lower {

namespace tt = mlir::triton;

Emitter::Emitter(tt::FuncOp func, const TargetInfo& target, llvm::Module& module)
    : func_(func),
      target_(target),
      module_(module),
      context_(module.getContext()),
      builder_(context_, llvm::InstSimplifyFolder(module.getDataLayout())),
      plan_(make_plan(func, target)),
      small_elements_(small_tile_elements(target)) {}

llvm::LogicalResult Emitter::run() {
  if (!func_.getBody().hasOneBlock()) {
    fail(func_, "unstructured control flow is not supported", nullptr);
    return llvm::failure();
  }
  make_body_function();
  if (!failed_) {
    make_entry();
    make_info();
  }
  return llvm::success(!failed_);
}

// void NAME.body(arguments..., i32 x, i32 y, i32 z, i32 grid_x, i32 grid_y, i32 grid_z, ptr
// scratch)
void Emitter::make_body_function() {
  llvm::SmallVector<llvm::Type*, 16> types;
  for (mlir::Type type : func_.getArgumentTypes()) {
    if (mlir::isa<mlir::RankedTensorType, tt::TensorDescType>(type)) {
      fail(func_, "arguments of this type are not supported by the entry ABI", nullptr);
      return;
    }
    types.push_back(type_of(type));
  }
  types.append(6, builder_.getInt32Ty());
  types.push_back(builder_.getPtrTy());
  auto* type = llvm::FunctionType::get(builder_.getVoidTy(), types, false);
  body_ = llvm::Function::Create(type, llvm::GlobalValue::InternalLinkage,
                                 func_.getSymName() + ".body", module_);
  body_->addFnAttr(llvm::Attribute::NoUnwind);
  unsigned count = func_.getNumArguments();
  for (unsigned k = 0; k < count; ++k) {
    llvm::Argument* argument = body_->getArg(k);
    set_scalar(func_.getArgument(k), argument);
    if (auto divisor = func_.getArgAttrOfType<mlir::IntegerAttr>(k, "tt.divisibility")) {
      if (divisor.getInt() > 0) {
        align_hints_[argument] = divisor.getInt() & -divisor.getInt();
      }
    }
  }
  for (int axis = 0; axis < 3; ++axis) {
    program_ids_[axis] = body_->getArg(count + axis);
    grid_[axis] = body_->getArg(count + 3 + axis);
    nonnegative_hints_.insert(program_ids_[axis]);
    nonnegative_hints_.insert(grid_[axis]);
  }
  scratch_ = body_->getArg(count + 6);
  body_->addParamAttr(count + 6, llvm::Attribute::NoAlias);
  body_->addParamAttr(count + 6, llvm::Attribute::getWithAlignment(context_, llvm::Align(64)));

  builder_.SetInsertPoint(new_block("entry"));
  alloca_point_ = builder_.CreateBr(new_block("start"));
  builder_.SetInsertPoint(&body_->back());
  llvm::FastMathFlags flags;
  flags.setAllowContract();
  builder_.setFastMathFlags(flags);
  choose_tile_shape();
  emit_block(func_.getBody().front());
  builder_.CreateRetVoid();
}

// void NAME(const uint64_t* args, u32 pid_begin, u32 pid_end, const u32 grid[3], void* scratch)
void Emitter::make_entry() {
  llvm::Type* i32_type = builder_.getInt32Ty();
  llvm::Type* ptr = builder_.getPtrTy();
  auto* type =
      llvm::FunctionType::get(builder_.getVoidTy(), {ptr, i32_type, i32_type, ptr, ptr}, false);
  auto* entry =
      llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, func_.getSymName(), module_);
  entry->addFnAttr(llvm::Attribute::NoUnwind);
  auto* start = llvm::BasicBlock::Create(context_, "entry", entry);
  auto* loop = llvm::BasicBlock::Create(context_, "program", entry);
  auto* exit = llvm::BasicBlock::Create(context_, "exit", entry);
  builder_.SetInsertPoint(start);
  llvm::SmallVector<llvm::Value*, 16> arguments;
  for (auto [k, argument] : llvm::enumerate(func_.getArguments())) {
    llvm::Value* slot =
        builder_.CreateConstInBoundsGEP1_64(builder_.getInt64Ty(), entry->getArg(0), k);
    llvm::Type* value_type = type_of(argument.getType());
    llvm::Value* bits = builder_.CreateLoad(builder_.getInt64Ty(), slot);
    llvm::Value* value = nullptr;
    if (value_type->isPointerTy()) {
      value = builder_.CreateLoad(ptr, slot);
    } else {
      llvm::Type* integer = builder_.getIntNTy(value_type->getPrimitiveSizeInBits());
      value = builder_.CreateBitCast(builder_.CreateTrunc(bits, integer), value_type);
    }
    arguments.push_back(value);
  }
  llvm::Value* grid[3];
  for (int axis = 0; axis < 3; ++axis) {
    grid[axis] = builder_.CreateLoad(
        i32_type, builder_.CreateConstInBoundsGEP1_64(i32_type, entry->getArg(3), axis));
  }
  llvm::Value *begin = entry->getArg(1), *end = entry->getArg(2);
  const bool tiles = tile_shape_.groups > 0;
  if (tiles) builder_.CreateIntrinsic(llvm::Intrinsic::x86_ldtilecfg, {}, {tile_configuration()});
  builder_.CreateCondBr(builder_.CreateICmpULT(begin, end), loop, exit);
  builder_.SetInsertPoint(loop);
  auto* pid = open_phi(begin, start, "pid");
  llvm::Value* rest = builder_.CreateUDiv(pid, grid[0]);
  arguments.push_back(builder_.CreateURem(pid, grid[0]));
  arguments.push_back(builder_.CreateURem(rest, grid[1]));
  arguments.push_back(builder_.CreateUDiv(rest, grid[1]));
  arguments.append(grid, grid + 3);
  arguments.push_back(entry->getArg(4));
  builder_.CreateCall(body_, arguments);
  llvm::Value* next = builder_.CreateAdd(pid, builder_.getInt32(1));
  close_phi(pid, next, builder_.GetInsertBlock());
  builder_.CreateCondBr(builder_.CreateICmpULT(next, end), loop, exit);
  builder_.SetInsertPoint(exit);
  if (tiles)
    builder_.CreateIntrinsic(llvm::Intrinsic::x86_tilerelease, llvm::ArrayRef<llvm::Type*>(), {});
  builder_.CreateRetVoid();
}

// struct NereidKernelInfo { u32 abi_version, num_args; u64 scratch_bytes; u32 scratch_align, 0; }
void Emitter::make_info() {
  constexpr uint32_t kAbiVersion = 1, kScratchAlign = 64, kSlack = 256;
  auto* type =
      llvm::StructType::get(builder_.getInt32Ty(), builder_.getInt32Ty(), builder_.getInt64Ty(),
                            builder_.getInt32Ty(), builder_.getInt32Ty());
  uint64_t scratch = plan_.scratch_bytes + temp_peak_;
  if (scratch > 0) scratch += kSlack;  // vector reads may run past the end of the last tile
  llvm::Constant* values[] = {
      builder_.getInt32(kAbiVersion), builder_.getInt32(func_.getNumArguments()),
      builder_.getInt64(scratch), builder_.getInt32(kScratchAlign), builder_.getInt32(0)};
  new llvm::GlobalVariable(module_, type, true, llvm::GlobalValue::ExternalLinkage,
                           llvm::ConstantStruct::get(type, values), func_.getSymName() + "_info");
}

}  // namespace nereid::lower

namespace nereid {

llvm::LogicalResult lower_to_llvm(mlir::ModuleOp module, const TargetInfo& target,
                                  llvm::Module& llvm_module) {
  for (auto func : module.getOps<mlir::triton::FuncOp>()) {
    if (func.isExternal() || func.isPrivate()) continue;
    if (failed(lower::Emitter(func, target, llvm_module).run())) return llvm::failure();
  }
  return llvm::success();
}

}  // namespace nereid
