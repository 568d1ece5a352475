// Atomic ops, element by element. A masked-off element touches nothing and its result is zero.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;
using Rmw = llvm::AtomicRMWInst;

static llvm::AtomicOrdering ordering(tt::MemSemantic semantic) {
  switch (semantic) {
    case tt::MemSemantic::RELAXED:
      return llvm::AtomicOrdering::Monotonic;
    case tt::MemSemantic::ACQUIRE:
      return llvm::AtomicOrdering::Acquire;
    case tt::MemSemantic::RELEASE:
      return llvm::AtomicOrdering::Release;
    default:
      return llvm::AtomicOrdering::AcquireRelease;
  }
}

// body() only where `mask` (null: always); its value, or zero.
Value* Emitter::if_active(Value* mask, llvm::Type* type, llvm::function_ref<Value*()> body) {
  if (!mask) return body();
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto *then_block = new_block("active"), *join = new_block("next");
  builder_.CreateCondBr(mask, then_block, join);
  builder_.SetInsertPoint(then_block);
  Value* value = body();
  llvm::BasicBlock* end = builder_.GetInsertBlock();
  builder_.CreateBr(join);
  builder_.SetInsertPoint(join);
  if (!value) return nullptr;
  auto* phi = builder_.CreatePHI(type, 2);
  phi->addIncoming(value, end);
  phi->addIncoming(llvm::Constant::getNullValue(type), before);
  return phi;
}

// f16 and bf16 have no atomic instruction, and LLVM's own expansion of a float maximum is not
// Triton's: one compare-and-exchange loop on the bits does for all of them.
Value* Emitter::cas_loop(Value* pointer, llvm::Type* type, llvm::AtomicOrdering order,
                         llvm::function_ref<Value*(Value*)> update) {
  unsigned bits = type->getPrimitiveSizeInBits();
  llvm::Type* integer = builder_.getIntNTy(bits);
  llvm::Align align(bits / 8);
  llvm::Value* first = builder_.CreateAlignedLoad(integer, pointer, align);
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto *loop = new_block("retry"), *exit = new_block("swapped");
  builder_.CreateBr(loop);
  builder_.SetInsertPoint(loop);
  auto* old = open_phi(first, before);
  Value* next = builder_.CreateBitCast(update(builder_.CreateBitCast(old, type)), integer);
  auto* swap = builder_.CreateAtomicCmpXchg(pointer, old, next, align, order,
                                            llvm::AtomicOrdering::Monotonic);
  Value* found = builder_.CreateExtractValue(swap, 0);
  close_phi(old, found, builder_.GetInsertBlock());
  builder_.CreateCondBr(builder_.CreateExtractValue(swap, 1), exit, loop);
  builder_.SetInsertPoint(exit);
  return builder_.CreateBitCast(old, type);
}

Value* Emitter::atomic_update(tt::AtomicRMWOp op, Value* pointer, Value* value) {
  llvm::Type* type = value->getType();
  mlir::Type element = mlir::getElementTypeOrSelf(op.getVal().getType());
  llvm::AtomicOrdering order = ordering(op.getSem());
  llvm::MaybeAlign align(element_bytes(element));
  auto rmw = [&](Rmw::BinOp kind) -> Value* {
    return builder_.CreateAtomicRMW(kind, pointer, value, align, order);
  };
  bool real = mlir::isa<mlir::FloatType>(element);
  switch (op.getAtomicRmwOp()) {
    case tt::RMWOp::AND:
      return rmw(Rmw::And);
    case tt::RMWOp::OR:
      return rmw(Rmw::Or);
    case tt::RMWOp::XOR:
      return rmw(Rmw::Xor);
    case tt::RMWOp::XCHG:
      if (!real) return rmw(Rmw::Xchg);
      return cas_loop(pointer, type, order, [&](Value*) { return value; });
    case tt::RMWOp::ADD:
    case tt::RMWOp::FADD:
      if (!real) return rmw(Rmw::Add);
      return cas_loop(pointer, type, order, [&](Value* old) {
        Value* sum = builder_.CreateFAdd(to_f32(old, element), to_f32(value, element));
        return from_f32(sum, element);
      });
    case tt::RMWOp::MAX:
    case tt::RMWOp::MIN: {
      bool is_max = op.getAtomicRmwOp() == tt::RMWOp::MAX;
      if (!real) return rmw(is_max ? Rmw::Max : Rmw::Min);
      return cas_loop(pointer, type, order, [&](Value* old) {
        Value *a = to_f32(old, element), *b = to_f32(value, element);
        Value* better = is_max ? builder_.CreateFCmpOGT(b, a) : builder_.CreateFCmpOLT(b, a);
        return builder_.CreateSelect(better, value, old);
      });
    }
    case tt::RMWOp::UMAX:
      return rmw(Rmw::UMax);
    case tt::RMWOp::UMIN:
      return rmw(Rmw::UMin);
  }
  return fail(op, "this kind is not supported", type);
}

void Emitter::atomic_result(mlir::Value result, const Point& point, Value* value) {
  if (!is_tensor(result)) {
    set_scalar(result, value);
  } else if (const Buffer* buffer = plan_.find(result)) {
    store_storage(storage_of(*buffer), point, Lanes::make_uniform(value));
  }
}

void Emitter::emit_atomic_rmw(tt::AtomicRMWOp op) {
  llvm::Type* type = type_of(op.getVal().getType());
  for_each_element(op.getVal(), [&](const Point& point) {
    Value* pointer = vector_of(eval(op.getPtr(), point), 1);
    Value* value = vector_of(eval(op.getVal(), point), 1);
    Value* mask = op.getMask() ? vector_of(eval(op.getMask(), point), 1) : nullptr;
    Value* old = if_active(mask, type, [&] { return atomic_update(op, pointer, value); });
    atomic_result(op.getResult(), point, old);
  });
}

void Emitter::emit_atomic_cas(tt::AtomicCASOp op) {
  llvm::Type* type = type_of(op.getVal().getType());
  unsigned bits = type->isPointerTy() ? 64 : type->getPrimitiveSizeInBits();
  llvm::Type* integer = builder_.getIntNTy(bits);
  for_each_element(op.getVal(), [&](const Point& point) {
    Value* pointer = vector_of(eval(op.getPtr(), point), 1);
    Value* expected = builder_.CreateBitCast(vector_of(eval(op.getCmp(), point), 1), integer);
    Value* value = builder_.CreateBitCast(vector_of(eval(op.getVal(), point), 1), integer);
    auto order = ordering(op.getSem());
    auto failure = llvm::AtomicCmpXchgInst::getStrongestFailureOrdering(order);
    Value* swap = builder_.CreateAtomicCmpXchg(pointer, expected, value, llvm::MaybeAlign(bits / 8),
                                               order, failure);
    Value* old = builder_.CreateBitCast(builder_.CreateExtractValue(swap, 0), type);
    atomic_result(op.getResult(), point, old);
  });
}

void Emitter::emit_atomic_access(mlir::Operation* op) {
  auto load = mlir::dyn_cast<tt::AtomicLoadOp>(op);
  auto store = mlir::dyn_cast<tt::AtomicStoreOp>(op);
  mlir::Value pointers = load ? load.getPtr() : store.getPtr();
  mlir::Value masks = load ? load.getMask() : store.getMask();
  mlir::Type element = load ? mlir::getElementTypeOrSelf(load.getType())
                            : mlir::getElementTypeOrSelf(store.getValue().getType());
  llvm::Type* type = type_of(element);
  llvm::Align align(element_bytes(element));
  for_each_element(pointers, [&](const Point& point) {
    Value* pointer = vector_of(eval(pointers, point), 1);
    Value* mask = masks ? vector_of(eval(masks, point), 1) : nullptr;
    Value* value = store ? vector_of(eval(store.getValue(), point), 1) : nullptr;
    Value* old = if_active(mask, type, [&]() -> Value* {
      auto semantic = load ? load.getSem() : store.getSem();
      bool relaxed = semantic == tt::MemSemantic::RELAXED;
      if (store) {
        auto* access = builder_.CreateAlignedStore(value, pointer, align);
        access->setAtomic(relaxed ? llvm::AtomicOrdering::Monotonic
                                  : llvm::AtomicOrdering::Release);
        return nullptr;
      }
      auto* access = builder_.CreateAlignedLoad(type, pointer, align);
      access->setAtomic(relaxed ? llvm::AtomicOrdering::Monotonic : llvm::AtomicOrdering::Acquire);
      return access;
    });
    if (load) atomic_result(load.getResult(), point, old);
  });
}

// Spins until the expected value appears. A timeout is not timed: it only bounds the tries.
void Emitter::emit_atomic_poll(tt::AtomicPollOp op) {
  for_each_element(op.getExpected(), [&](const Point& point) {
    Value* pointer = vector_of(eval(op.getPtr(), point), 1);
    Value* expected = vector_of(eval(op.getExpected(), point), 1);
    Value* budget = op.getTimeout() ? scalar(op.getTimeout()) : nullptr;
    llvm::BasicBlock* before = builder_.GetInsertBlock();
    auto *loop = new_block("poll"), *exit = new_block("polled");
    builder_.CreateBr(loop);
    builder_.SetInsertPoint(loop);
    auto* tries = open_phi(i64(0), before);
    llvm::Align align(expected->getType()->getPrimitiveSizeInBits() / 8);
    auto* value = builder_.CreateAlignedLoad(expected->getType(), pointer, align);
    value->setAtomic(llvm::AtomicOrdering::Acquire);
    Value* equal = builder_.CreateICmpEQ(value, expected);
    Value* next = builder_.CreateAdd(tries, i64(1));
    close_phi(tries, next, loop);
    Value* stop = budget ? builder_.CreateOr(equal, builder_.CreateICmpUGE(next, budget)) : equal;
    builder_.CreateCondBr(stop, exit, loop);
    builder_.SetInsertPoint(exit);
    atomic_result(op.getResult(), point, equal);
  });
}

}  // namespace nereid::lower
