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

// libm's functions that both dialects may name.
constexpr llvm::StringLiteral kLibmOfOne[] = {
    "acos",  "asin",  "atan",  "sinh",  "cosh", "tan",    "acosh",  "asinh", "atanh",    "cbrt",
    "expm1", "log1p", "log10", "exp10", "erfc", "tgamma", "lgamma", "rint",  "nearbyint"};
constexpr llvm::StringLiteral kLibmOfTwo[] = {"pow",  "atan2", "fmod",      "hypot", "copysign",
                                              "fmax", "fmin",  "remainder", "fdim",  "nextafter"};

bool is_libm(llvm::StringRef name) {
  return llvm::is_contained(kLibmOfOne, name) || llvm::is_contained(kLibmOfTwo, name);
}

std::optional<MathFn> find_function(llvm::StringRef name) {
  for (const NamedFn& entry : kFunctions) {
    if (name == entry.name) return entry.fn;
  }
  return std::nullopt;
}

bool is_reciprocal(llvm::StringRef name) {
  return name == "rcp" || name == "frcp_rn";
}
bool is_quotient(llvm::StringRef name) {
  return name == "fdivide" || name == "fdiv_rn";
}

// How many operands a libdevice function of floats has; 0: not known here.
size_t operands_of(llvm::StringRef name) {
  if (name == "fma") return 3;
  if (is_quotient(name) || llvm::is_contained(kLibmOfTwo, name)) return 2;
  const bool one =
      is_reciprocal(name) || find_function(name) || llvm::is_contained(kLibmOfOne, name);
  return one ? 1 : 0;
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
  if (name == "powf") name = "pow";
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
  if (is_libm(name)) return emit_libm(builder_, name, x, target_);
  mlir::Type element = mlir::getElementTypeOrSelf(op->getResult(0).getType());
  llvm::Type* type = x[0]->getType();
  if (!mlir::isa<mlir::FloatType>(element)) type = type->getWithNewType(type_of(element));
  return fail(op, "this function is not supported", type);
}

Value* Emitter::emit_extern(tt::ExternElementwiseOp op, llvm::ArrayRef<Value*> x) {
  llvm::Type* type = type_of(op.getType());
  llvm::StringRef name = op.getSymbol();
  name.consume_front("__nv_");
  if (name.consume_front("__ocml_")) name = name.rsplit('_').first;
  name.consume_front("fast_");
  if (type->isFloatTy() && !find_function(name)) name.consume_back("f");
  auto refuse = [&](const llvm::Twine& what) {
    return fail(op, "external function '" + op.getSymbol() + "' " + what,
                x[0]->getType()->getWithNewType(type));
  };
  const size_t expected = operands_of(name);
  if (expected == 0) return refuse("has no CPU version");
  if (x.size() != expected)
    return refuse("has " + llvm::Twine(x.size()) + " operands, expected " + llvm::Twine(expected));
  for (mlir::Type operand : op->getOperandTypes()) {
    if (operand == op.getType() && (type->isFloatTy() || type->isDoubleTy())) continue;
    std::string found;
    llvm::raw_string_ostream(found) << operand << " to " << op.getType();
    return refuse("takes " + found + ", expected f32 or f64 throughout");
  }
  if (auto fn = find_function(name)) return emit_math(builder_, *fn, x[0], target_);
  if (name == "fma") return emit_fma(builder_, x[0], x[1], x[2], target_);
  if (is_quotient(name)) return builder_.CreateFDiv(x[0], x[1]);
  if (is_reciprocal(name))
    return builder_.CreateFDiv(llvm::ConstantFP::get(x[0]->getType(), 1.0), x[0]);
  return emit_libm(builder_, name, x, target_);
}

}  // namespace nereid::lower
