// Types, constants, diagnostics and small facts about LLVM values.
#include "llvm/IR/Constants.h"
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;

Pattern PatternPool::intern(std::vector<int64_t> offsets) {
  if (llvm::all_of(offsets, [](int64_t offset) { return offset == 0; })) return nullptr;
  auto& slot = pool_[offsets];
  if (!slot) slot = std::make_unique<std::vector<int64_t>>(offsets);
  return slot.get();
}

bool Emitter::MemoKey::operator<(const MemoKey& other) const {
  auto key = [](const MemoKey& k) {
    return std::make_tuple(k.value.getAsOpaquePointer(), k.mode, k.lanes, k.coords.size());
  };
  if (key(*this) != key(other)) return key(*this) < key(other);
  return std::lexicographical_compare(coords.begin(), coords.end(), other.coords.begin(),
                                      other.coords.end());
}

llvm::Type* Emitter::type_of(mlir::Type type) {
  mlir::Type element = mlir::getElementTypeOrSelf(type);
  if (mlir::isa<tt::PointerType>(element)) return builder_.getPtrTy();
  if (element.isIndex()) return builder_.getInt64Ty();
  if (element.isInteger()) return builder_.getIntNTy(element.getIntOrFloatBitWidth());
  if (element.isF64()) return builder_.getDoubleTy();
  if (element.isF32()) return builder_.getFloatTy();
  if (element.isF16()) return builder_.getHalfTy();
  // bf16 and fp8 as their bits: LLVM would move bf16 through f32 and library calls on targets
  // without AVX512-BF16.
  return builder_.getIntNTy(element.getIntOrFloatBitWidth());
}

llvm::Type* Emitter::memory_type(mlir::Type element) {
  llvm::Type* type = type_of(element);
  return type->isIntegerTy(1) ? builder_.getInt8Ty() : type;
}

llvm::Type* Emitter::widen(llvm::Type* scalar, unsigned lanes) {
  return lanes == 1 ? scalar : llvm::FixedVectorType::get(scalar, lanes);
}

llvm::Constant* Emitter::attribute_constant(mlir::Attribute attribute, mlir::Type element) {
  llvm::Type* type = type_of(element);
  if (auto integer = mlir::dyn_cast<mlir::IntegerAttr>(attribute)) {
    return llvm::ConstantInt::get(type, integer.getValue().sextOrTrunc(type->getIntegerBitWidth()));
  }
  if (auto number = mlir::dyn_cast<mlir::FloatAttr>(attribute)) {
    if (type->isIntegerTy()) {
      return llvm::ConstantInt::get(type, number.getValue().bitcastToAPInt());
    }
    return llvm::ConstantFP::get(context_, number.getValue());
  }
  return nullptr;
}

// Reports what is not supported, once per op, and gives a placeholder to go on with.
llvm::Value* Emitter::fail(mlir::Operation* op, const llvm::Twine& what, llvm::Type* type) {
  if (!failed_) op->emitError() << "'" << op->getName().getStringRef() << "': " << what.str();
  failed_ = true;
  return type ? llvm::Constant::getNullValue(type) : nullptr;
}

Lanes Emitter::fail_lanes(mlir::Operation* op, const llvm::Twine& what, mlir::Type element) {
  return Lanes::make_uniform(fail(op, what, type_of(element)));
}

llvm::AllocaInst* Emitter::stack_slot(llvm::Type* type, const llvm::Twine& name) {
  llvm::IRBuilder<> builder(alloca_point_);
  auto* slot = builder.CreateAlloca(type, nullptr, name);
  slot->setAlignment(llvm::Align(64));
  return slot;
}

llvm::Value* Emitter::dummy_slot() {
  if (!dummy_)
    dummy_ = stack_slot(llvm::ArrayType::get(builder_.getInt8Ty(), kNowhereBytes), "nowhere");
  return dummy_;
}

llvm::Value* Emitter::scratch_temp(uint64_t bytes) {
  uint64_t offset = plan_.scratch_bytes + temp_used_;
  temp_used_ += llvm::alignTo(bytes, 64);
  temp_peak_ = std::max(temp_peak_, temp_used_);
  return builder_.CreateConstInBoundsGEP1_64(builder_.getInt8Ty(), scratch_, offset);
}

// The largest power of two (up to 2^30) that certainly divides `value`.
int64_t Emitter::known_align(llvm::Value* value, int depth) {
  constexpr int64_t kMax = int64_t{1} << 30;
  auto low_bit = [=](uint64_t bits) {
    return bits == 0 ? kMax : std::min<int64_t>(kMax, int64_t(bits & (~bits + 1)));
  };
  if (auto* constant = llvm::dyn_cast<llvm::ConstantInt>(value)) {
    return low_bit(constant->getValue().getLoBits(63).getLimitedValue());
  }
  if (auto it = align_hints_.find(value); it != align_hints_.end()) return it->second;
  auto* op = llvm::dyn_cast<llvm::Operator>(value);
  if (!op || depth > 8) return 1;
  auto operand = [&](int index) { return known_align(op->getOperand(index), depth + 1); };
  switch (op->getOpcode()) {
    case llvm::Instruction::Add:
    case llvm::Instruction::Sub:
    case llvm::Instruction::Or:
    case llvm::Instruction::Xor:
      return std::min(operand(0), operand(1));
    case llvm::Instruction::And:
      return std::max(operand(0), operand(1));
    case llvm::Instruction::Mul:
      return std::min<int64_t>(kMax, llvm::SaturatingMultiply<uint64_t>(operand(0), operand(1)));
    case llvm::Instruction::Shl:
      if (auto* amount = llvm::dyn_cast<llvm::ConstantInt>(op->getOperand(1))) {
        uint64_t shift = std::min<uint64_t>(30, amount->getZExtValue());
        return std::min<int64_t>(kMax, operand(0) << shift);
      }
      return operand(0);
    case llvm::Instruction::SExt:
    case llvm::Instruction::ZExt:
    case llvm::Instruction::Trunc:
      return operand(0);
    case llvm::Instruction::Select:
      return std::min(operand(1), operand(2));
    case llvm::Instruction::GetElementPtr: {
      if (op->getNumOperands() != 2) return 1;
      const auto bytes = llvm::cast<llvm::GEPOperator>(op)
                             ->getSourceElementType()
                             ->getPrimitiveSizeInBits()
                             .getFixedValue() /
                         8;
      if (bytes == 0) return 1;
      return std::min(operand(0), low_bit(bytes) * std::min<int64_t>(kMax, operand(1)));
    }
    default:
      return 1;
  }
}

// Not negative as long as no signed arithmetic of 32 bits and more wrapped.
bool Emitter::known_nonnegative(llvm::Value* value, int depth) {
  if (auto* constant = llvm::dyn_cast<llvm::ConstantInt>(value)) return !constant->isNegative();
  if (nonnegative_hints_.contains(value)) return true;
  auto* op = llvm::dyn_cast<llvm::Operator>(value);
  if (!op || depth > 8) return false;
  auto operand = [&](int index) { return known_nonnegative(op->getOperand(index), depth + 1); };
  switch (op->getOpcode()) {
    case llvm::Instruction::Add:
    case llvm::Instruction::Mul:
      return !may_wrap(value->getType()) && operand(0) && operand(1);
    case llvm::Instruction::Or:
    case llvm::Instruction::SDiv:
    case llvm::Instruction::SRem:
      return operand(0) && operand(1);
    case llvm::Instruction::And:
      return operand(0) || operand(1);
    case llvm::Instruction::Shl:
      return !may_wrap(value->getType()) && operand(0);
    case llvm::Instruction::SExt:
    case llvm::Instruction::AShr:
    case llvm::Instruction::UDiv:
      return operand(0);
    case llvm::Instruction::ZExt:
    case llvm::Instruction::LShr:
      return true;
    case llvm::Instruction::Select:
      return operand(1) && operand(2);
    default:
      return false;
  }
}

}  // namespace nereid::lower
