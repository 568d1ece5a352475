// f32 polynomials for exp, log, sin, tanh, erf and so on, and the choice between them by type.
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/MDBuilder.h"
#include "src/compiler/math/emit_util.h"
#include "src/compiler/math/math.h"
#include "src/compiler/target.h"

namespace nereid {
namespace {

using llvm::Value;
using math::MathEmitter;

// ln 2 in two parts; n * kLn2High is exact for |n| < 2^15.
constexpr double kLn2High = 0.693359375, kLn2Low = -2.12194440e-4;
constexpr double kLog2E = 1.4426950408889634;
constexpr double kRoundMagic = 12582912.0;  // 1.5 * 2^23: adding it rounds to an integer
constexpr int64_t kRoundMagicBits = 0x4b400000;

// y * 2^n for y near 1 and integer-valued n in [-252, 254], correctly rounded into subnormals.
Value* scale_by_power(const MathEmitter& m, Value* y, Value* n_float, Value* n_int,
                      const TargetInfo& target) {
  unsigned lanes = math::lanes_of(m.type);
  if (target.has_avx512f && (lanes == 16 || lanes == 8 || lanes == 4)) {
    auto id = lanes == 16  ? llvm::Intrinsic::x86_avx512_mask_scalef_ps_512
              : lanes == 8 ? llvm::Intrinsic::x86_avx512_mask_scalef_ps_256
                           : llvm::Intrinsic::x86_avx512_mask_scalef_ps_128;
    Value* mask = llvm::Constant::getAllOnesValue(m.b.getIntNTy(lanes == 16 ? 16 : 8));
    llvm::SmallVector<Value*> arguments = {y, n_float, llvm::Constant::getNullValue(m.type), mask};
    if (lanes == 16) arguments.push_back(m.b.getInt32(4));  // round as the current mode says
    return m.b.CreateIntrinsic(id, {}, arguments);
  }
  Value* half = m.b.CreateAShr(n_int, m.integer(1));
  Value* rest = m.b.CreateSub(n_int, half);
  auto power = [&](Value* n) {
    return m.as_float(m.b.CreateShl(m.b.CreateAdd(n, m.integer(127)), m.integer(23)));
  };
  return m.b.CreateFMul(m.b.CreateFMul(y, power(half)), power(rest));
}

Value* emit_exp(const MathEmitter& m, Value* x, const TargetInfo& target) {
  x = m.clamp(x, -104.0, 89.0);
  Value* shifted = m.fma(x, kLog2E, m.number(kRoundMagic));
  Value* n = m.b.CreateFSub(shifted, m.number(kRoundMagic));
  Value* n_int = m.b.CreateSub(m.bits_of(shifted), m.integer(kRoundMagicBits));
  Value* r = m.fma(n, -kLn2High, x);
  r = m.fma(n, -kLn2Low, r);
  Value* p = m.polynomial(r, {0.4999999305071231, 0.1666651479127807, 0.04166845678979751,
                              0.008369418846542569, 0.0013813144393444888});
  Value* y = m.b.CreateFAdd(m.fma(p, m.b.CreateFMul(r, r), r), m.number(1.0));
  return scale_by_power(m, y, n, n_int, target);
}

Value* emit_exp2(const MathEmitter& m, Value* x, const TargetInfo& target) {
  x = m.clamp(x, -151.0, 129.0);
  Value* shifted = m.b.CreateFAdd(x, m.number(kRoundMagic));
  Value* n = m.b.CreateFSub(shifted, m.number(kRoundMagic));
  Value* n_int = m.b.CreateSub(m.bits_of(shifted), m.integer(kRoundMagicBits));
  Value* r = m.b.CreateFSub(x, n);
  Value* p = m.polynomial(r, {0.6931472028551282, 0.24022647913619652, 0.05550332471026275,
                              0.009618437358294762, 0.0013398874445630165, 0.00015353361816626738});
  Value* y = m.fma(p, r, m.number(1.0));
  return scale_by_power(m, y, n, n_int, target);
}

// ln x, or log2 x with `base2`.
Value* emit_log(const MathEmitter& m, Value* x, bool base2) {
  Value* tiny = m.b.CreateFCmpOLT(x, m.number(0x1p-126));
  Value* normal = m.b.CreateSelect(tiny, m.b.CreateFMul(x, m.number(0x1p23)), x);
  constexpr int64_t kSqrtHalfBits = 0x3f3504f3;
  Value* bits = m.bits_of(normal);
  Value* e = m.b.CreateAShr(m.b.CreateSub(bits, m.integer(kSqrtHalfBits)), m.integer(23));
  Value* mantissa = m.as_float(m.b.CreateSub(bits, m.b.CreateShl(e, m.integer(23))));
  Value* f = m.b.CreateFSub(mantissa, m.number(1.0));  // [sqrt(1/2) - 1, sqrt(2) - 1)
  e = m.b.CreateAdd(e, m.b.CreateSelect(tiny, m.integer(-23), m.integer(0)));
  Value* n = m.b.CreateSIToFP(e, m.type);
  Value* p = m.polynomial(f, {0.3333331196668128, -0.2500000871178482, 0.20002167066056661,
                              -0.1666809034024767, 0.14218554328726907, -0.12403083967611393,
                              0.11893513173856868, -0.11694334311081145, 0.06757567962314598});
  Value* square = m.b.CreateFMul(f, f);
  Value* y = m.b.CreateFMul(m.b.CreateFMul(p, square), f);
  Value* result;
  if (base2) {
    constexpr double kLog2EMinus1 = kLog2E - 1.0;
    y = m.fma(square, -0.5, y);
    result = m.fma(y, kLog2EMinus1, m.b.CreateFMul(f, m.number(kLog2EMinus1)));
    result = m.b.CreateFAdd(m.b.CreateFAdd(result, y), f);
    result = m.b.CreateFAdd(result, n);
  } else {
    y = m.fma(n, kLn2Low, y);
    y = m.fma(square, -0.5, y);
    result = m.fma(n, kLn2High, m.b.CreateFAdd(f, y));
  }
  double inf = std::numeric_limits<double>::infinity();
  Value* zero = m.b.CreateFCmpOEQ(x, m.number(0.0));
  Value* negative = m.b.CreateFCmpOLT(x, m.number(0.0));
  Value* not_finite = m.b.CreateFCmpUGE(x, m.number(inf));  // +inf or NaN: the result is x
  result = m.b.CreateSelect(zero, m.number(-inf), result);
  result = m.b.CreateSelect(negative, llvm::ConstantFP::getNaN(m.type), result);
  return m.b.CreateSelect(not_finite, x, result);
}

// sin x, or cos x with `quarter` = 1, for |x| < 2^40: reduction by pi/2 in f64.
Value* emit_sin_moderate(const MathEmitter& m, Value* x, int quarter) {
  auto& b = m.b;
  llvm::Type* wide_type = math::with_lanes(b.getDoubleTy(), m.type);
  auto wide_number = [&](double value) { return llvm::ConstantFP::get(wide_type, value); };
  constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
  Value* wide = b.CreateFPExt(x, wide_type);
  Value* shifted = m.fma(wide, 0.6366197723675814, wide_number(kMagic));
  Value* n = b.CreateFSub(shifted, wide_number(kMagic));
  Value* wide_r = m.fma(n, -1.5707963267948966, wide);
  wide_r = m.fma(n, -6.123233995736766e-17, wide_r);
  Value* r = b.CreateFPTrunc(wide_r, m.type);  // [-pi/4, pi/4]
  llvm::Type* wide_int = math::int_type_like(b, 64, m.type);
  Value* quadrant = b.CreateTrunc(b.CreateBitCast(shifted, wide_int), m.int_type());
  quadrant = b.CreateAdd(quadrant, m.integer(quarter));

  Value* square = b.CreateFMul(r, r);
  Value* sin_p =
      m.polynomial(square, {-0.1666665487348761, 0.008332173543693016, -0.0001951665586902342});
  Value* sin_r = m.fma(b.CreateFMul(square, r), sin_p, r);
  Value* cos_p =
      m.polynomial(square, {0.041666646747758225, -0.0013887361449450818, 2.4437730023863256e-05});
  Value* cos_r = m.fma(b.CreateFMul(square, square), cos_p, m.fma(square, -0.5, m.number(1.0)));
  Value* odd = b.CreateICmpNE(b.CreateAnd(quadrant, m.integer(1)), m.integer(0));
  Value* result = b.CreateSelect(odd, cos_r, sin_r);
  Value* sign = b.CreateShl(b.CreateAnd(quadrant, m.integer(2)), m.integer(30));
  result = m.as_float(b.CreateXor(m.bits_of(result), sign));
  if (quarter == 1) return result;
  return b.CreateSelect(b.CreateFCmpOLT(m.abs(x), m.number(1e-4)), x, result);  // keeps -0
}

// Huge, infinite and NaN arguments go to libm, all lanes of the vector together.
Value* emit_sin(llvm::IRBuilder<>& b, llvm::Function* function, int quarter,
                const TargetInfo& target) {
  Value* x = function->getArg(0);
  MathEmitter m(b, x->getType());
  Value* moderate = b.CreateFCmpOLT(m.abs(x), m.number(0x1p40));
  if (x->getType()->isVectorTy()) moderate = b.CreateAndReduce(moderate);
  llvm::LLVMContext& context = b.getContext();
  auto* fast = llvm::BasicBlock::Create(context, "fast", function);
  auto* slow = llvm::BasicBlock::Create(context, "slow", function);
  auto* done = llvm::BasicBlock::Create(context, "done", function);
  auto* weights = llvm::MDBuilder(context).createBranchWeights(1000, 1);
  b.CreateCondBr(moderate, fast, slow, weights);
  b.SetInsertPoint(fast);
  Value* fast_result = emit_sin_moderate(m, x, quarter);
  b.CreateBr(done);
  b.SetInsertPoint(slow);
  Value* slow_result = emit_libm(b, quarter ? "cos" : "sin", {x}, target);
  b.CreateBr(done);
  b.SetInsertPoint(done);
  llvm::PHINode* result = b.CreatePHI(x->getType(), 2);
  result->addIncoming(fast_result, fast);
  result->addIncoming(slow_result, slow);
  return result;
}

Value* emit_tanh(const MathEmitter& m, Value* x, const TargetInfo& target) {
  Value* magnitude = m.abs(x);
  Value* square = m.b.CreateFMul(x, x);
  Value* p = m.polynomial(square, {-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2,
                                   2.06390887954e-2, -5.70498872745e-3});
  Value* small = m.fma(m.b.CreateFMul(p, square), x, x);
  Value* power = emit_exp(m, m.b.CreateFMul(magnitude, m.number(2.0)), target);
  Value* fraction = m.b.CreateFDiv(m.number(2.0), m.b.CreateFAdd(power, m.number(1.0)));
  Value* large = m.copysign(m.b.CreateFSub(m.number(1.0), fraction), x);
  return m.b.CreateSelect(m.b.CreateFCmpOLT(magnitude, m.number(0.625)), small, large);
}

Value* emit_erf(const MathEmitter& m, Value* x, const TargetInfo& target) {
  Value* magnitude = m.abs(x);
  Value* t =
      m.b.CreateSelect(m.b.CreateFCmpOGT(magnitude, m.number(4.0)), m.number(4.0), magnitude);
  Value* tail = m.polynomial(t, {-1.28717512e-1, -6.34846687e-1, -1.06777877e-1, 2.42546219e-2,
                                 -3.88396438e-3, 3.83197126e-4, -1.72853470e-5});
  tail = m.fma(tail, t, m.b.CreateFNeg(t));
  Value* large = m.b.CreateFSub(m.number(1.0), emit_exp(m, tail, target));
  large = m.copysign(large, x);
  Value* square = m.b.CreateFMul(x, x);
  Value* p = m.polynomial(square, {1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2,
                                   4.99119423e-3, -5.96761703e-4});
  Value* small = m.fma(p, x, x);
  return m.b.CreateSelect(m.b.CreateFCmpOLE(magnitude, m.number(0.927734375)), small, large);
}

struct HelperName {
  const char* name;
  bool always_inline;
};

HelperName helper_name(MathFn fn) {
  switch (fn) {
    case MathFn::kExp:
      return {"exp", true};
    case MathFn::kExp2:
      return {"exp2", true};
    case MathFn::kLog:
      return {"log", true};
    case MathFn::kLog2:
      return {"log2", true};
    case MathFn::kSin:
      return {"sin", false};
    case MathFn::kCos:
      return {"cos", false};
    case MathFn::kTanh:
      return {"tanh", true};
    default:
      return {"erf", true};
  }
}

Value* emit_f32(llvm::IRBuilderBase& builder, MathFn fn, Value* x, const TargetInfo& target) {
  auto [name, always_inline] = helper_name(fn);
  auto body = [&](llvm::IRBuilder<>& b, llvm::Function* function) -> Value* {
    Value* argument = function->getArg(0);
    MathEmitter m(b, argument->getType());
    switch (fn) {
      case MathFn::kExp:
        return emit_exp(m, argument, target);
      case MathFn::kExp2:
        return emit_exp2(m, argument, target);
      case MathFn::kLog:
        return emit_log(m, argument, /*base2=*/false);
      case MathFn::kLog2:
        return emit_log(m, argument, /*base2=*/true);
      case MathFn::kSin:
        return emit_sin(b, function, 0, target);
      case MathFn::kCos:
        return emit_sin(b, function, 1, target);
      case MathFn::kTanh:
        return emit_tanh(m, argument, target);
      default:
        return emit_erf(m, argument, target);
    }
  };
  return math::call_helper(builder, name, {x}, always_inline, body);
}

// Functions that are one instruction, or an IR operation; null for the others.
Value* emit_simple(llvm::IRBuilderBase& b, MathFn fn, Value* x) {
  switch (fn) {
    case MathFn::kSqrt:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x);
    case MathFn::kRsqrt:
      return b.CreateFDiv(llvm::ConstantFP::get(x->getType(), 1.0),
                          b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x));
    case MathFn::kFloor:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
    case MathFn::kCeil:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, x);
    case MathFn::kRound:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::round, x);
    case MathFn::kTrunc:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, x);
    case MathFn::kAbs:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
    default:
      return nullptr;
  }
}

FloatKind kind_of(llvm::Type* scalar) {
  return scalar->isHalfTy()     ? FloatKind::kF16
         : scalar->isBFloatTy() ? FloatKind::kBf16
         : scalar->isDoubleTy() ? FloatKind::kF64
                                : FloatKind::kF32;
}

}  // namespace

Value* emit_math(llvm::IRBuilderBase& builder, MathFn fn, Value* x, const TargetInfo& target) {
  llvm::IRBuilderBase::FastMathFlagGuard guard(builder);
  builder.clearFastMathFlags();
  FloatKind kind = kind_of(x->getType()->getScalarType());
  if (kind == FloatKind::kF16 || kind == FloatKind::kBf16) {
    Value* wide = convert_float(builder, x, kind, FloatKind::kF32, Rounding::kNearestEven, target);
    return convert_float(builder, emit_math(builder, fn, wide, target), FloatKind::kF32, kind,
                         Rounding::kNearestEven, target);
  }
  if (Value* simple = emit_simple(builder, fn, x)) return simple;
  if (kind == FloatKind::kF64) return emit_libm(builder, helper_name(fn).name, {x}, target);
  return emit_f32(builder, fn, x, target);
}

Value* emit_fma(llvm::IRBuilderBase& builder, Value* a, Value* b, Value* c,
                const TargetInfo& target) {
  FloatKind kind = kind_of(a->getType()->getScalarType());
  if (kind == FloatKind::kF32 || kind == FloatKind::kF64)
    return builder.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, b, c});
  auto widen = [&](Value* value) {
    return convert_float(builder, value, kind, FloatKind::kF32, Rounding::kNearestEven, target);
  };
  Value* wide = builder.CreateIntrinsic(llvm::Intrinsic::fma, {widen(a)->getType()},
                                        {widen(a), widen(b), widen(c)});
  return convert_float(builder, wide, FloatKind::kF32, kind, Rounding::kNearestEven, target);
}

}  // namespace nereid
