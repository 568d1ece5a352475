// Conversions between element types. f16, bf16 and fp8 are computed with in f32.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using llvm::Value;

static bool is_fp8(mlir::Type type) {
  return mlir::isa<mlir::FloatType>(type) && type.getIntOrFloatBitWidth() == 8;
}

static llvm::Type* like(llvm::Type* scalar, llvm::Type* shape) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(shape);
  return vector ? llvm::FixedVectorType::get(scalar, vector->getNumElements()) : scalar;
}

// Small formats widened to f32; f32 and f64 as they are.
Value* Emitter::to_f32(Value* x, mlir::Type from) {
  if (!mlir::isa<mlir::FloatType>(from) || from.isF32() || from.isF64()) return x;
  return convert_float(x, from, mlir::Float32Type::get(from.getContext()), false);
}

Value* Emitter::from_f32(Value* x, mlir::Type to) {
  if (!mlir::isa<mlir::FloatType>(to) || to.isF32() || to.isF64()) return x;
  return convert_float(x, mlir::Float32Type::get(to.getContext()), to, false);
}

namespace {

// An 8-bit format as f32 knows it.
struct SmallFloat {
  int mantissa_bits;
  int bias;
  bool has_infinity;  // else the top exponent holds numbers, and only all ones is NaN
  bool unsigned_zero; // "fnuz": 0x80 is the only NaN, there is no -0
};

std::optional<SmallFloat> small_float(mlir::Type type) {
  if (mlir::isa<mlir::Float8E5M2Type>(type)) return SmallFloat{2, 15, true, false};
  if (mlir::isa<mlir::Float8E4M3FNType>(type)) return SmallFloat{3, 7, false, false};
  if (mlir::isa<mlir::Float8E4M3FNUZType>(type)) return SmallFloat{3, 8, false, true};
  if (mlir::isa<mlir::Float8E5M2FNUZType>(type)) return SmallFloat{2, 16, false, true};
  return std::nullopt;
}

// 8 bits -> f32, exact: place exponent and mantissa, then scale by a power of two.
Value* widen_small(Builder& b, Value* x, SmallFloat f) {
  llvm::Type* wide = like(b.getInt32Ty(), x->getType());
  llvm::Type* real = like(b.getFloatTy(), x->getType());
  auto constant = [&](uint32_t v) { return llvm::ConstantInt::get(wide, v); };
  Value* bits = b.CreateZExt(x, wide);
  Value* magnitude = b.CreateAnd(bits, constant(0x7f));
  Value* sign = b.CreateShl(b.CreateAnd(bits, constant(0x80)), constant(24));
  Value* placed = b.CreateBitCast(b.CreateShl(magnitude, constant(23 - f.mantissa_bits)), real);
  Value* scale = llvm::ConstantFP::get(real, std::ldexp(1.0, 127 - f.bias));
  Value* number = b.CreateBitCast(b.CreateFMul(placed, scale), wide);
  Value* nan = constant(0x7fc00000);
  if (f.unsigned_zero) {
    Value* result = b.CreateOr(number, sign);
    Value* is_nan = b.CreateICmpEQ(bits, constant(0x80));
    return b.CreateBitCast(b.CreateSelect(is_nan, nan, result), real);
  }
  if (f.has_infinity) {
    uint32_t infinity = ((1u << (7 - f.mantissa_bits)) - 1) << f.mantissa_bits;
    number = b.CreateSelect(b.CreateICmpEQ(magnitude, constant(infinity)), constant(0x7f800000),
                            number);
    number = b.CreateSelect(b.CreateICmpUGT(magnitude, constant(infinity)), nan, number);
  } else {
    number = b.CreateSelect(b.CreateICmpEQ(magnitude, constant(0x7f)), nan, number);
  }
  return b.CreateBitCast(b.CreateOr(number, sign), real);
}

// f32 -> 8 bits, to nearest even or toward zero. Too large: infinity where there is one, else the
// largest number (as Triton's saturating conversion does).
Value* narrow_small(Builder& b, Value* x, SmallFloat f, bool toward_zero) {
  llvm::Type* wide = like(b.getInt32Ty(), x->getType());
  llvm::Type* real = x->getType();
  auto constant = [&](uint32_t v) { return llvm::ConstantInt::get(wide, v); };
  int shift = 23 - f.mantissa_bits;
  Value* bits = b.CreateBitCast(x, wide);
  Value* sign = b.CreateLShr(b.CreateAnd(bits, constant(0x80000000u)), constant(24));
  Value* magnitude = b.CreateAnd(bits, constant(0x7fffffff));
  Value* rounding = toward_zero ? constant(0)
                                : b.CreateAdd(b.CreateAnd(b.CreateLShr(magnitude, constant(shift)),
                                                          constant(1)),
                                              constant((1u << (shift - 1)) - 1));
  Value* rounded = b.CreateLShr(b.CreateAdd(magnitude, rounding), constant(shift));
  Value* normal = b.CreateSub(rounded, constant(static_cast<uint32_t>(127 - f.bias)
                                                << f.mantissa_bits));
  // Subnormal results: adding 2^k makes the hardware round at the right bit.
  int least = 1 - f.bias - f.mantissa_bits;  // exponent of the smallest subnormal
  Value* absolute = b.CreateBitCast(magnitude, real);
  Value* scaled = b.CreateFMul(absolute, llvm::ConstantFP::get(real, std::ldexp(1.0, -least)));
  Value* whole = toward_zero
                     ? b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, scaled)
                     : b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, scaled);
  Value* limit = constant(static_cast<uint32_t>(127 + 1 - f.bias) << 23);
  Value* small = b.CreateICmpULT(magnitude, limit);
  Value* safe = b.CreateSelect(small, whole, llvm::Constant::getNullValue(real));
  Value* result = b.CreateSelect(small, b.CreateFPToSI(safe, wide), normal);
  uint32_t top = ((1u << (7 - f.mantissa_bits)) - 1) << f.mantissa_bits;
  uint32_t largest = f.unsigned_zero ? 0x7f : f.has_infinity ? top : 0x7e;
  uint32_t nan = f.unsigned_zero ? 0x80 : 0x7f;
  Value* overflow = toward_zero && f.has_infinity ? constant(top - 1) : constant(largest);
  Value* too_large = b.CreateICmpUGT(result, constant(toward_zero && f.has_infinity ? top - 1 : largest));
  result = b.CreateSelect(too_large, overflow, result);
  if (f.has_infinity) {
    result = b.CreateSelect(b.CreateICmpEQ(magnitude, constant(0x7f800000)), constant(top), result);
  }
  if (f.unsigned_zero) {
    sign = b.CreateSelect(b.CreateICmpEQ(result, constant(0)), constant(0), sign);
  }
  result = b.CreateOr(result, sign);
  Value* is_nan = b.CreateICmpUGT(magnitude, constant(0x7f800000));
  result = b.CreateSelect(is_nan, constant(nan), result);
  return b.CreateTrunc(result, like(b.getInt8Ty(), x->getType()));
}

// bf16 <-> f32 by their bits: exact, and nearest even with NaN kept.
Value* widen_bf16(Builder& b, Value* x) {
  llvm::Type* wide = like(b.getInt32Ty(), x->getType());
  Value* bits = b.CreateZExt(b.CreateBitCast(x, like(b.getInt16Ty(), x->getType())), wide);
  Value* shifted = b.CreateShl(bits, llvm::ConstantInt::get(wide, 16));
  return b.CreateBitCast(shifted, like(b.getFloatTy(), x->getType()));
}

Value* narrow_bf16(Builder& b, Value* x, bool toward_zero) {
  llvm::Type* wide = like(b.getInt32Ty(), x->getType());
  auto constant = [&](uint32_t v) { return llvm::ConstantInt::get(wide, v); };
  Value* bits = b.CreateBitCast(x, wide);
  Value* is_nan = b.CreateFCmpUNO(x, x);
  Value* rounded = bits;
  if (!toward_zero) {
    Value* odd = b.CreateAnd(b.CreateLShr(bits, constant(16)), constant(1));
    rounded = b.CreateAdd(b.CreateAdd(bits, constant(0x7fff)), odd);
  }
  Value* quiet = b.CreateOr(bits, constant(0x00400000));
  rounded = b.CreateLShr(b.CreateSelect(is_nan, quiet, rounded), constant(16));
  Value* half = b.CreateTrunc(rounded, like(b.getInt16Ty(), x->getType()));
  return b.CreateBitCast(half, like(b.getBFloatTy(), x->getType()));
}

}  // namespace

Value* Emitter::convert_float(Value* x, mlir::Type from, mlir::Type to, bool toward_zero) {
  if (from == to) return x;
  mlir::Type f32 = mlir::Float32Type::get(from.getContext());
  if (from.isF32()) {
    if (to.isBF16()) return narrow_bf16(builder_, x, toward_zero);
    if (auto format = small_float(to)) return narrow_small(builder_, x, *format, toward_zero);
    llvm::Type* type = like(type_of(to), x->getType());
    if (to.isF64()) return builder_.CreateFPExt(x, type);
    if (!to.isF16()) return fail(current_, "conversion to this float type is not supported", type);
    if (toward_zero) {  // drop the bits that f16 does not have; small ones are not exact below 2^-14
      llvm::Type* wide = like(builder_.getInt32Ty(), x->getType());
      Value* bits = builder_.CreateBitCast(x, wide);
      Value* cut = builder_.CreateAnd(bits, llvm::ConstantInt::get(wide, 0xffffe000u));
      Value* nan = builder_.CreateFCmpUNO(x, x);
      x = builder_.CreateSelect(nan, x, builder_.CreateBitCast(cut, x->getType()));
    }
    return builder_.CreateFPTrunc(x, type);
  }
  if (to.isF32()) {
    if (from.isBF16()) return widen_bf16(builder_, x);
    if (auto format = small_float(from)) return widen_small(builder_, x, *format);
    llvm::Type* type = like(builder_.getFloatTy(), x->getType());
    if (from.isF16()) return builder_.CreateFPExt(x, type);
    if (from.isF64()) return builder_.CreateFPTrunc(x, type);
    return fail(current_, "conversion from this float type is not supported", type);
  }
  if (from.isF64() && to.isF16()) return builder_.CreateFPTrunc(x, like(type_of(to), x->getType()));
  return convert_float(convert_float(x, from, f32, toward_zero), f32, to, toward_zero);
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
  if (mlir::isa<arith::ExtFOp, arith::TruncFOp>(op)) return convert_float(x, from, to, false);
  if (auto convert = mlir::dyn_cast<tt::FpToFpOp>(op)) {
    bool toward_zero = convert.getRounding() == tt::RoundingMode::RTZ;
    return convert_float(x, from, to, toward_zero);
  }
  llvm::Type* real = like(to.isF64() ? builder_.getDoubleTy() : builder_.getFloatTy(), x->getType());
  if (mlir::isa<arith::SIToFPOp>(op)) return from_f32(builder_.CreateSIToFP(x, real), to);
  if (mlir::isa<arith::UIToFPOp>(op)) return from_f32(builder_.CreateUIToFP(x, real), to);
  Value* number = to_f32(x, from);
  // Out of range gives any number, but a definite one.
  if (mlir::isa<arith::FPToSIOp>(op))
    return builder_.CreateFreeze(builder_.CreateFPToSI(number, type));
  return builder_.CreateFreeze(builder_.CreateFPToUI(number, type));
}

}  // namespace nereid::lower
