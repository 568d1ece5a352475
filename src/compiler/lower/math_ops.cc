// The math dialect and libdevice-style external functions, by way of the vector math library.
#include "src/compiler/lower/emitter.h"
#include "src/compiler/math/math.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace math = mlir::math;
using llvm::Value;

namespace {

struct NamedFn {
  llvm::StringLiteral name;
  MathFn fn;
};

// math dialect ops and, with the prefixes __nv_ and __ocml_ taken off, libdevice functions.
constexpr NamedFn kFunctions[] = {
    {"exp", MathFn::kExp},     {"exp2", MathFn::kExp2},   {"log", MathFn::kLog},
    {"log2", MathFn::kLog2},   {"sin", MathFn::kSin},     {"cos", MathFn::kCos},
    {"tanh", MathFn::kTanh},   {"erf", MathFn::kErf},     {"sqrt", MathFn::kSqrt},
    {"rsqrt", MathFn::kRsqrt}, {"floor", MathFn::kFloor}, {"ceil", MathFn::kCeil},
    {"round", MathFn::kRound}, {"trunc", MathFn::kTrunc}, {"fabs", MathFn::kAbs},
    {"absf", MathFn::kAbs}};

// libm's functions of one or two arguments that both dialects may name.
constexpr llvm::StringLiteral kLibm[] = {
    "pow",    "powf",      "atan2", "fmod",      "acos",  "asin",     "atan",  "sinh",
    "cosh",   "tan",       "acosh", "asinh",     "atanh", "cbrt",     "expm1", "log1p",
    "log10",  "exp10",     "hypot", "copysign",  "fmax",  "fmin",     "erfc",  "tgamma",
    "lgamma", "remainder", "rint",  "nearbyint", "fdim",  "nextafter"};

std::optional<MathFn> find_function(llvm::StringRef name) {
  for (const NamedFn& entry : kFunctions) {
    if (name == entry.name) return entry.fn;
  }
  return std::nullopt;
}

}  // namespace

// f16, bf16 and fp8 are computed in f32.
Value* Emitter::emit_math_op(mlir::Operation* op, llvm::ArrayRef<Value*> x) {
  mlir::Type element = mlir::getElementTypeOrSelf(op->getResult(0).getType());
  if (!mlir::isa<mlir::FloatType>(element)) return emit_wide_math(op, x);
  if (mlir::isa<math::AbsFOp>(op) && element.isBF16()) {
    return builder_.CreateAnd(x[0], llvm::ConstantInt::get(x[0]->getType(), 0x7fff));
  }
  llvm::SmallVector<Value*, 4> wide;
  for (auto [value, operand] : llvm::zip(x, op->getOperands())) {
    wide.push_back(to_f32(value, mlir::getElementTypeOrSelf(operand.getType())));
  }
  return from_f32(emit_wide_math(op, wide), element);
}

Value* Emitter::emit_wide_math(mlir::Operation* op, llvm::ArrayRef<Value*> x) {
  llvm::StringRef name = op->getName().getStringRef();
  name.consume_front("math.");
  if (mlir::isa<math::AbsIOp>(op)) {
    return builder_.CreateIntrinsic(llvm::Intrinsic::abs, {x[0]->getType()},
                                    {x[0], builder_.getFalse()});
  }
  if (mlir::isa<math::FmaOp>(op)) return emit_fma(builder_, x[0], x[1], x[2], target_);
  if (mlir::isa<math::CtPopOp>(op))
    return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::ctpop, x[0]);
  if (mlir::isa<math::CountLeadingZerosOp, math::CountTrailingZerosOp>(op)) {
    auto id =
        mlir::isa<math::CountLeadingZerosOp>(op) ? llvm::Intrinsic::ctlz : llvm::Intrinsic::cttz;
    return builder_.CreateIntrinsic(id, {x[0]->getType()}, {x[0], builder_.getFalse()});
  }
  if (auto fn = find_function(name)) return emit_math(builder_, *fn, x[0], target_);
  if (llvm::is_contained(kLibm, name)) return emit_libm(builder_, name, x, target_);
  return fail(op, "this function is not supported", x[0]->getType());
}

Value* Emitter::emit_extern(tt::ExternElementwiseOp op, llvm::ArrayRef<Value*> x) {
  llvm::StringRef name = op.getSymbol();
  if (Value* pair = emit_pair_op(name, x)) return pair;
  llvm::Type* type = type_of(op.getType());
  name.consume_front("__nv_");
  if (name.consume_front("__ocml_")) name = name.rsplit('_').first;
  name.consume_front("fast_");
  llvm::StringRef stem = name;
  if (type->isFloatTy() && !find_function(stem)) stem.consume_back("f");
  mlir::Type element = mlir::getElementTypeOrSelf(op.getType());
  bool floats = !x.empty() && llvm::all_of(x, [&](Value* v) {
    return v->getType()->getScalarType()->isFloatTy() ||
           v->getType()->getScalarType()->isDoubleTy();
  });
  if (floats && mlir::isa<mlir::FloatType>(element)) {
    if (auto fn = find_function(stem); fn && x.size() == 1) {
      return emit_math(builder_, *fn, x[0], target_);
    }
    if (stem == "fma" && x.size() == 3) return emit_fma(builder_, x[0], x[1], x[2], target_);
    if (stem == "rcp" || stem == "frcp_rn") {
      return builder_.CreateFDiv(llvm::ConstantFP::get(x[0]->getType(), 1.0), x[0]);
    }
    if (stem == "fdivide" || stem == "fdiv_rn") return builder_.CreateFDiv(x[0], x[1]);
    if (llvm::is_contained(kLibm, stem)) return emit_libm(builder_, stem, x, target_);
  }
  return fail(op, "external function '" + op.getSymbol() + "' has no CPU version",
              x.empty() ? type : x[0]->getType()->getWithNewType(type));
}

}  // namespace nereid::lower
