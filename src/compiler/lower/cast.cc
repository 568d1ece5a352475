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
  return convert_float(x, from, mlir::Float32Type::get(from.getContext()), false);
}

Value* Emitter::from_f32(Value* x, mlir::Type to) {
  if (!mlir::isa<mlir::FloatType>(to) || to.isF32() || to.isF64()) return x;
  return convert_float(x, mlir::Float32Type::get(to.getContext()), to, false);
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

Value* Emitter::convert_float(Value* x, mlir::Type from, mlir::Type to, bool toward_zero) {
  if (from == to) return x;
  auto from_kind = float_kind(from), to_kind = float_kind(to);
  if (!from_kind || !to_kind) {
    llvm::Type* type = like(type_of(to), x->getType());
    return fail(current_, "conversion between these float types is not supported", type);
  }
  Rounding rounding = toward_zero ? Rounding::kTowardZero : Rounding::kNearestEven;
  if (from.isBF16()) x = builder_.CreateBitCast(x, like(builder_.getBFloatTy(), x->getType()));
  x = ::nereid::convert_float(builder_, x, *from_kind, *to_kind, rounding, target_);
  return to.isBF16() ? builder_.CreateBitCast(x, like(type_of(to), x->getType())) : x;
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
