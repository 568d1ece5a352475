// Conversions between element types. f16, bf16 and fp8 are computed with in f32.
#include "src/compiler/lower/emitter.h"
#include "src/compiler/math/math.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using llvm::Value;

static llvm::Type* like(llvm::Type* scalar, llvm::Type* shape) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(shape);
  return vector ? llvm::FixedVectorType::get(scalar, vector->getNumElements()) : scalar;
}

// Small formats widened to f32; f32 and f64 as they are.
Value* Emitter::to_f32(Value* x, mlir::Type from) {
  if (!mlir::isa<mlir::FloatType>(from) || from.isF32() || from.isF64()) return x;
  return convert_float(x, from, mlir::Float32Type::get(from.getContext()), Rounding::kNearestEven);
}

Value* Emitter::from_f32(Value* x, mlir::Type to, Rounding rounding) {
  if (!mlir::isa<mlir::FloatType>(to) || to.isF32() || to.isF64()) return x;
  return convert_float(x, mlir::Float32Type::get(to.getContext()), to, rounding);
}

static std::optional<FloatKind> float_kind(mlir::Type type) {
  if (type.isF64()) return FloatKind::kF64;
  if (type.isF32()) return FloatKind::kF32;
  if (type.isF16()) return FloatKind::kF16;
  if (type.isBF16()) return FloatKind::kBf16;
  if (mlir::isa<mlir::Float8E4M3FNType>(type)) return FloatKind::kE4m3fn;
  if (mlir::isa<mlir::Float8E4M3FNUZType>(type)) return FloatKind::kE4m3fnuz;
  if (mlir::isa<mlir::Float8E5M2Type>(type)) return FloatKind::kE5m2;
  if (mlir::isa<mlir::Float8E5M2FNUZType>(type)) return FloatKind::kE5m2fnuz;
  return std::nullopt;
}

Value* Emitter::convert_float(Value* x, mlir::Type from, mlir::Type to, Rounding rounding) {
  if (from == to) return x;
  auto from_kind = float_kind(from), to_kind = float_kind(to);
  if (!from_kind || !to_kind) {
    llvm::Type* type = like(type_of(to), x->getType());
    return fail(current_, "conversion between these float types is not supported", type);
  }
  if (from.isBF16()) x = builder_.CreateBitCast(x, like(builder_.getBFloatTy(), x->getType()));
  x = ::nereid::convert_float(builder_, x, *from_kind, *to_kind, rounding, target_);
  return to.isBF16() ? builder_.CreateBitCast(x, like(type_of(to), x->getType())) : x;
}

// Whether dots of bf16 are all that read a value: where these have an instruction, it takes
// operands below 2^-126 for zero anyway.
static bool feeds_only_bf16_dots(mlir::Value value, int depth = 0) {
  if (depth > 16 || value.use_empty()) return false;
  return llvm::all_of(value.getUses(), [&](mlir::OpOperand& use) {
    mlir::Operation* user = use.getOwner();
    if (auto dot = mlir::dyn_cast<tt::DotOp>(user)) {
      return use.getOperandNumber() < 2 &&
             mlir::getElementTypeOrSelf(dot.getA().getType()).isBF16() &&
             mlir::getElementTypeOrSelf(dot.getB().getType()).isBF16();
    }
    return mlir::isa<tt::ReshapeOp, tt::TransOp, tt::ExpandDimsOp, tt::BroadcastOp, tt::JoinOp>(
               user) &&
           feeds_only_bf16_dots(user->getResult(0), depth + 1);
  });
}

// Floats of up to 16 bits are rounded to once. `x` has 32 bits or more; on the way it becomes an
// f32 or f64 that is exact, or, for numbers with more digits than that has, odd: on the same side
// of all numbers of the small format, and of the middles between them, as x.
Value* Emitter::integer_to_small_float(Value* x, bool is_signed, mlir::Type to) {
  llvm::Type* type = x->getType();
  unsigned width = type->getScalarSizeInBits();
  bool wide = width > 32;
  mlir::MLIRContext* context = to.getContext();
  mlir::Type middle =
      wide ? mlir::Type(mlir::Float64Type::get(context)) : mlir::Float32Type::get(context);
  int digits = wide ? 53 : 24;
  int lost = static_cast<int>(width) - digits;  // low bits that may not fit
  auto constant = [&](uint64_t value) {
    return llvm::ConstantInt::get(type, llvm::APInt(width, value));
  };
  Value* low = builder_.CreateAnd(x, constant((uint64_t{2} << lost) - 1));
  Value* inexact = builder_.CreateICmpNE(low, constant(0));
  Value* high = builder_.CreateXor(x, low);
  Value* odd =
      builder_.CreateSelect(inexact, builder_.CreateOr(high, constant(uint64_t{1} << lost)), high);
  uint64_t bound = uint64_t{1} << digits;  // up to this every integer is exact
  Value* from_zero = is_signed ? builder_.CreateAdd(x, constant(bound)) : x;
  Value* exact = builder_.CreateICmpULE(from_zero, constant(is_signed ? 2 * bound : bound));
  Value* number = builder_.CreateSelect(exact, x, odd);
  llvm::Type* real = like(type_of(middle), type);
  Value* converted =
      is_signed ? builder_.CreateSIToFP(number, real) : builder_.CreateUIToFP(number, real);
  return convert_float(converted, middle, to, Rounding::kNearestEven);
}

Value* Emitter::emit_cast(mlir::Operation* op, Value* x) {
  mlir::Type from = mlir::getElementTypeOrSelf(op->getOperand(0).getType());
  mlir::Type to = mlir::getElementTypeOrSelf(op->getResult(0).getType());
  llvm::Type* type = like(type_of(to), x->getType());
  if (mlir::isa<arith::ExtSIOp, arith::IndexCastOp>(op)) return builder_.CreateSExtOrTrunc(x, type);
  if (mlir::isa<arith::ExtUIOp, arith::IndexCastUIOp>(op))
    return builder_.CreateZExtOrTrunc(x, type);
  if (mlir::isa<arith::TruncIOp>(op)) return builder_.CreateTrunc(x, type);
  if (mlir::isa<tt::IntToPtrOp>(op)) return builder_.CreateIntToPtr(x, type);
  if (mlir::isa<tt::PtrToIntOp>(op)) return builder_.CreatePtrToInt(x, type);
  if (mlir::isa<arith::BitcastOp, tt::BitcastOp>(op)) {
    if (type == x->getType()) return x;
    if (from.isInteger(1) && mlir::isa<tt::PointerType>(to)) return x;
    return builder_.CreateBitCast(x, type);
  }
  if (mlir::isa<arith::ExtFOp, arith::TruncFOp, tt::FpToFpOp>(op)) {
    Rounding rounding = Rounding::kNearestEven;
    auto convert = mlir::dyn_cast<tt::FpToFpOp>(op);
    if (convert && convert.getRounding() == tt::RoundingMode::RTZ) {
      rounding = Rounding::kTowardZero;
    } else if (to.isBF16() && feeds_only_bf16_dots(op->getResult(0))) {
      rounding = Rounding::kNearestEvenOrFlush;
    }
    return convert_float(x, from, to, rounding);
  }
  if (mlir::isa<arith::SIToFPOp, arith::UIToFPOp>(op) && from.getIntOrFloatBitWidth() >= 32 &&
      to.getIntOrFloatBitWidth() <= 16) {
    return integer_to_small_float(x, mlir::isa<arith::SIToFPOp>(op), to);
  }
  llvm::Type* real =
      like(to.isF64() ? builder_.getDoubleTy() : builder_.getFloatTy(), x->getType());
  if (mlir::isa<arith::SIToFPOp>(op)) return from_f32(builder_.CreateSIToFP(x, real), to);
  if (mlir::isa<arith::UIToFPOp>(op)) return from_f32(builder_.CreateUIToFP(x, real), to);
  Value* number = to_f32(x, from);
  // Out of range gives any number, but a definite one.
  if (mlir::isa<arith::FPToSIOp>(op))
    return builder_.CreateFreeze(builder_.CreateFPToSI(number, type));
  return builder_.CreateFreeze(builder_.CreateFPToUI(number, type));
}

}  // namespace nereid::lower
