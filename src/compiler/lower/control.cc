// Ops in program order: scalars at once, tensors where the plan says, structured control flow.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace scf = mlir::scf;
namespace arith = mlir::arith;

llvm::BasicBlock* Emitter::new_block(const llvm::Twine& name) {
  return llvm::BasicBlock::Create(context_, name, body_);
}

llvm::PHINode* Emitter::open_phi(llvm::Value* first, llvm::BasicBlock* from,
                                 const llvm::Twine& name) {
  auto* phi = builder_.CreatePHI(first->getType(), 2, name);
  phi->addIncoming(first, from);
  // Until the second value is known: an instruction, so that LLVM may look at the phi meanwhile.
  auto* placeholder = new llvm::FreezeInst(llvm::PoisonValue::get(first->getType()));
  if (llvm::Instruction* terminator = from->getTerminator())
    placeholder->insertBefore(terminator->getIterator());
  else
    placeholder->insertInto(from, from->end());
  phi->addIncoming(placeholder, from);
  return phi;
}

void Emitter::close_phi(llvm::PHINode* phi, llvm::Value* second, llvm::BasicBlock* from) {
  auto* placeholder = llvm::cast<llvm::FreezeInst>(phi->getIncomingValue(1));
  phi->setIncomingValue(1, second);
  phi->setIncomingBlock(1, from);
  placeholder->eraseFromParent();
}

llvm::Value* Emitter::scalar(mlir::Value value) {
  auto it = scalars_.find(value);
  if (it != scalars_.end()) return it->second;
  mlir::Operation* op = value.getDefiningOp();
  return fail(op ? op : current_, "has no scalar value here", type_of(value.getType()));
}

void Emitter::set_scalar(mlir::Value value, llvm::Value* result) { scalars_[value] = result; }

void Emitter::emit_block(mlir::Block& block) {
  for (mlir::Operation& op : block.without_terminator()) {
    if (failed_) return;
    emit_op(&op);
  }
}

void Emitter::emit_op(mlir::Operation* op) {
  mlir::Operation* outer = current_;
  current_ = op;
  temp_used_ = 0;
  memos_.clear();
  if (auto loop = mlir::dyn_cast<scf::ForOp>(op)) emit_for(loop);
  else if (auto branch = mlir::dyn_cast<scf::IfOp>(op)) emit_if(branch);
  else if (auto loop = mlir::dyn_cast<scf::WhileOp>(op)) emit_while(loop);
  else if (auto store = mlir::dyn_cast<tt::StoreOp>(op)) emit_store(store);
  else if (auto reduce = mlir::dyn_cast<tt::ReduceOp>(op)) emit_reduce(reduce);
  else if (auto scan = mlir::dyn_cast<tt::ScanOp>(op)) emit_scan(scan);
  else if (auto dot = mlir::dyn_cast<tt::DotOp>(op)) emit_dot(dot);
  else if (auto unsplat = mlir::dyn_cast<tt::UnsplatOp>(op)) emit_unsplat(unsplat);
  else if (auto histogram = mlir::dyn_cast<tt::HistogramOp>(op)) emit_histogram(histogram);
  else if (auto cat = mlir::dyn_cast<tt::CatOp>(op)) emit_cat(cat);
  else if (auto map = mlir::dyn_cast<tt::MapElementwiseOp>(op)) emit_map(map);
  else if (auto rmw = mlir::dyn_cast<tt::AtomicRMWOp>(op)) emit_atomic_rmw(rmw);
  else if (auto cas = mlir::dyn_cast<tt::AtomicCASOp>(op)) emit_atomic_cas(cas);
  else if (mlir::isa<tt::AtomicLoadOp, tt::AtomicStoreOp>(op)) emit_atomic_access(op);
  else if (auto poll = mlir::dyn_cast<tt::AtomicPollOp>(op)) emit_atomic_poll(poll);
  else if (auto print = mlir::dyn_cast<tt::PrintOp>(op)) emit_print(print);
  else if (auto check = mlir::dyn_cast<tt::AssertOp>(op)) emit_assert(check);
  else if (auto id = mlir::dyn_cast<tt::GetProgramIdOp>(op))
    set_scalar(id, program_ids_[id.getAxisAsInt()]);
  else if (auto count = mlir::dyn_cast<tt::GetNumProgramsOp>(op))
    set_scalar(count, grid_[count.getAxisAsInt()]);
  else if (mlir::isa<tt::GridDependencyWaitOp, tt::GridDependencyLaunchDependentsOp>(op)) {
    // Programs of one launch already see everything that was written before it.
  } else if (op->getName().getStringRef() == "llvm.intr.assume" ||
             op->getName().getStringRef() == "gpu.barrier") {
    // One thread runs the whole program: nothing to wait for.
  } else if (op->getNumResults() == 0) {
    fail(op, "not supported", nullptr);
  } else if (is_tensor(op->getResult(0))) {
    if (!is_lazy_op(op)) {
      fail(op, "not supported", nullptr);
    } else {
      for (mlir::Value result : op->getResults()) {
        if (plan_.stored(result)) materialize(result);
      }
    }
  } else if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) {
    llvm::Constant* value = attribute_constant(constant.getValue(), constant.getType());
    set_scalar(constant, value ? value : fail(op, "not supported", type_of(constant.getType())));
  } else if (mlir::isa<mlir::ub::PoisonOp>(op)) {
    set_scalar(op->getResult(0), llvm::Constant::getNullValue(type_of(op->getResult(0).getType())));
  } else if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    emit_scalar_load(load);
  } else if (is_elementwise_op(op)) {
    llvm::SmallVector<llvm::Value*, 4> operands;
    for (mlir::Value operand : op->getOperands()) operands.push_back(scalar(operand));
    for (mlir::OpResult result : op->getResults()) {
      set_scalar(result, emit_elementwise(op, operands, result.getResultNumber()));
    }
  } else {
    fail(op, "not supported", nullptr);
  }
  current_ = outer;
}

// Copies a tensor (stored or not) into a buffer.
void Emitter::copy_tensor(mlir::Value from, const Buffer& to) {
  const Buffer* source = plan_.find(from);
  if (source == &to) return;
  fill_storage(storage_of(to), to.shape, from);
}

// to[k] = from[k] for all k at once: sources that an earlier copy would overwrite are saved first.
void Emitter::copy_tensors(mlir::ValueRange from, mlir::ValueRange to) {
  llvm::SmallVector<std::pair<Storage, int>, 4> saved(from.size(), {Storage{}, -1});
  for (size_t k = 0; k < from.size(); ++k) {
    if (!is_tensor(from[k]) || !plan_.find(to[k])) continue;
    for (size_t earlier = 0; earlier < k; ++earlier) {
      const Buffer* target = plan_.find(to[earlier]);
      if (!is_tensor(from[k]) || !target || target != plan_.find(from[k])) continue;
      if (plan_.find(from[earlier]) == target) continue;  // not overwritten
      saved[k] = {temp_storage(shape_of(from[k]),
                               mlir::getElementTypeOrSelf(from[k].getType())), 1};
      fill_storage(saved[k].first, shape_of(from[k]), from[k]);
      break;
    }
  }
  for (size_t k = 0; k < from.size(); ++k) {
    const Buffer* target = is_tensor(from[k]) ? plan_.find(to[k]) : nullptr;
    if (!target) continue;
    memos_.clear();
    if (saved[k].second < 0) {
      copy_tensor(from[k], *target);
      continue;
    }
    Storage storage = storage_of(*target);
    NestShape nest = plan_nest(target->shape, {});
    emit_nest(nest, [&](const Point& point) {
      store_storage(storage, point, load_storage(saved[k].first, point));
    });
  }
}

void Emitter::emit_for(scf::ForOp op) {
  llvm::Value *begin = scalar(op.getLowerBound()), *end = scalar(op.getUpperBound()),
              *step = scalar(op.getStep());
  mlir::Operation* yield = op.getBody()->getTerminator();
  llvm::SmallVector<mlir::Value, 4> arguments(op.getRegionIterArgs());
  copy_tensors(op.getInitArgs(), arguments);

  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto *header = new_block("for"), *body = new_block("body"), *exit = new_block("end");
  builder_.CreateBr(header);
  builder_.SetInsertPoint(header);
  auto* index = open_phi(begin, before, "iv");
  align_hints_[index] = std::min(known_align(begin), known_align(step));
  if (known_nonnegative(begin)) nonnegative_hints_.insert(index);
  set_scalar(op.getInductionVar(), index);
  llvm::SmallVector<llvm::PHINode*, 4> carried(arguments.size(), nullptr);
  for (auto [k, argument] : llvm::enumerate(arguments)) {
    auto induction = plan_.inductions.find(argument);
    if (is_tensor(argument) && induction == plan_.inductions.end()) continue;
    if (is_tensor(argument)) {
      llvm::Type* type = induction->second.pointer ? builder_.getInt64Ty()
                                                   : type_of(argument.getType());
      carried[k] = open_phi(llvm::ConstantInt::get(type, 0), before, "offset");
      Offset offset{op.getInitArgs()[k], carried[k], induction->second.pointer};
      offsets_[argument] = offset;
      offsets_[op.getResult(k)] = offset;
    } else {
      carried[k] = open_phi(scalar(op.getInitArgs()[k]), before);
      set_scalar(argument, carried[k]);
      set_scalar(op.getResult(k), carried[k]);
    }
  }
  bool is_unsigned = op->hasAttr("unsignedCmp");
  llvm::Value* more = is_unsigned ? builder_.CreateICmpULT(index, end)
                                  : builder_.CreateICmpSLT(index, end);
  builder_.CreateCondBr(more, body, exit);
  builder_.SetInsertPoint(body);
  // Alignment of offsets must be known before the body uses them.
  for (auto [k, argument] : llvm::enumerate(arguments)) {
    auto induction = plan_.inductions.find(argument);
    if (induction == plan_.inductions.end()) continue;
    bool outside = true;
    int64_t align = int64_t{1} << 30;
    bool nonnegative = true;
    for (mlir::Value increment : induction->second.increments) {
      mlir::Region* region = increment.getParentRegion();
      outside &= !op.getRegion().isAncestor(region);
      if (!outside) break;
      memos_.clear();
      llvm::Value* value = eval_uniform(increment);
      align = std::min(align, known_align(value));
      nonnegative &= known_nonnegative(value);
    }
    if (!outside) continue;
    align_hints_[carried[k]] = align;
    if (nonnegative) nonnegative_hints_.insert(carried[k]);
  }
  emit_block(*op.getBody());
  current_ = yield;
  temp_used_ = 0;
  memos_.clear();
  copy_tensors(yield->getOperands(), arguments);
  llvm::SmallVector<llvm::Value*, 4> next(arguments.size(), nullptr);
  for (auto [k, argument] : llvm::enumerate(arguments)) {
    auto induction = plan_.inductions.find(argument);
    if (induction == plan_.inductions.end()) {
      if (!is_tensor(argument)) next[k] = scalar(yield->getOperand(k));
      continue;
    }
    llvm::Value* sum = carried[k];
    for (mlir::Value increment : induction->second.increments) {
      memos_.clear();
      llvm::Value* value = eval_uniform(increment);
      sum = builder_.CreateAdd(sum, builder_.CreateSExtOrTrunc(value, sum->getType()));
    }
    next[k] = sum;
  }
  llvm::Value* next_index = builder_.CreateAdd(index, step);
  llvm::BasicBlock* latch = builder_.GetInsertBlock();
  for (size_t k = 0; k < next.size(); ++k) {
    if (carried[k]) close_phi(carried[k], next[k], latch);
  }
  close_phi(index, next_index, latch);
  builder_.CreateBr(header);
  builder_.SetInsertPoint(exit);
}

void Emitter::emit_if(scf::IfOp op) {
  auto *then_block = new_block("then"), *else_block = new_block("else"), *join = new_block("join");
  builder_.CreateCondBr(scalar(op.getCondition()), then_block, else_block);
  llvm::SmallVector<llvm::Value*, 4> values[2];
  llvm::BasicBlock* ends[2];
  mlir::Region* regions[2] = {&op.getThenRegion(), &op.getElseRegion()};
  llvm::BasicBlock* starts[2] = {then_block, else_block};
  for (int side = 0; side < 2; ++side) {
    builder_.SetInsertPoint(starts[side]);
    if (!regions[side]->empty()) {
      mlir::Block& block = regions[side]->front();
      emit_block(block);
      mlir::Operation* yield = block.getTerminator();
      current_ = yield;
      temp_used_ = 0;
      memos_.clear();
      copy_tensors(yield->getOperands(), op.getResults());
      for (mlir::Value value : yield->getOperands()) {
        values[side].push_back(is_tensor(value) ? nullptr : scalar(value));
      }
    }
    ends[side] = builder_.GetInsertBlock();
    builder_.CreateBr(join);
  }
  builder_.SetInsertPoint(join);
  for (auto [k, result] : llvm::enumerate(op.getResults())) {
    if (is_tensor(result)) continue;
    auto* phi = builder_.CreatePHI(type_of(result.getType()), 2);
    for (int side = 0; side < 2; ++side) phi->addIncoming(values[side][k], ends[side]);
    set_scalar(result, phi);
  }
}

void Emitter::emit_while(scf::WhileOp op) {
  copy_tensors(op.getInits(), op.getBeforeArguments());
  llvm::BasicBlock* entry = builder_.GetInsertBlock();
  auto *header = new_block("while"), *body = new_block("do"), *exit = new_block("end");
  builder_.CreateBr(header);
  builder_.SetInsertPoint(header);
  llvm::SmallVector<llvm::PHINode*, 4> carried(op.getInits().size(), nullptr);
  for (auto [k, argument] : llvm::enumerate(op.getBeforeArguments())) {
    if (is_tensor(argument)) continue;
    carried[k] = open_phi(scalar(op.getInits()[k]), entry);
    set_scalar(argument, carried[k]);
  }
  emit_block(*op.getBeforeBody());
  auto condition = op.getConditionOp();
  current_ = condition;
  memos_.clear();
  temp_used_ = 0;
  copy_tensors(condition.getArgs(), op.getAfterArguments());
  memos_.clear();
  for (auto [k, value] : llvm::enumerate(condition.getArgs())) {
    if (is_tensor(value)) {
      if (const Buffer* result = plan_.find(op.getResult(k))) {
        fill_storage(storage_of(*result), result->shape, op.getAfterArguments()[k]);
        memos_.clear();
      }
      continue;
    }
    set_scalar(op.getAfterArguments()[k], scalar(value));
    set_scalar(op.getResult(k), scalar(value));
  }
  builder_.CreateCondBr(scalar(condition.getCondition()), body, exit);
  builder_.SetInsertPoint(body);
  emit_block(*op.getAfterBody());
  mlir::Operation* yield = op.getAfterBody()->getTerminator();
  current_ = yield;
  memos_.clear();
  temp_used_ = 0;
  copy_tensors(yield->getOperands(), op.getBeforeArguments());
  for (size_t k = 0; k < carried.size(); ++k) {
    if (carried[k]) close_phi(carried[k], scalar(yield->getOperand(k)), builder_.GetInsertBlock());
  }
  builder_.CreateBr(header);
  builder_.SetInsertPoint(exit);
}

}  // namespace nereid::lower
