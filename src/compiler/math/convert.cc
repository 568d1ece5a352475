// Conversions between float formats, with f32 in the middle where there is no direct way.
#include <numeric>

#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/MDBuilder.h"
#include "src/compiler/math/emit_util.h"
#include "src/compiler/math/math.h"
#include "src/compiler/target.h"

namespace nereid {
namespace {

using llvm::Value;
using math::MathEmitter;

// The fp8 formats: sign, exponent, mantissa. fnuz: no infinity, no -0, NaN is 0x80.
struct Fp8Format {
  int mantissa_bits;
  int bias;
  int max_code;  // largest finite magnitude
  int nan_code;
  bool fnuz;
};

Fp8Format fp8_format(FloatKind kind) {
  switch (kind) {
    case FloatKind::kE4m3fn:
      return {3, 7, 0x7e, 0x7f, false};
    case FloatKind::kE4m3fnuz:
      return {3, 8, 0x7f, 0x80, true};
    case FloatKind::kE5m2fnuz:
      return {2, 16, 0x7f, 0x80, true};
    default:
      return {2, 15, 0x7b, 0x7f, false};
  }
}

bool is_fp8(FloatKind kind) {
  return kind != FloatKind::kF64 && kind != FloatKind::kF32 && kind != FloatKind::kF16 &&
         kind != FloatKind::kBf16;
}

class Converter {
 public:
  Converter(llvm::IRBuilderBase& builder, llvm::Type* like, const TargetInfo& target)
      : b_(builder),
        target_(target),
        like_(like),
        f32_(math::with_lanes(builder.getFloatTy(), like)),
        m_(builder, f32_) {}

  Value* to_f32(Value* value, FloatKind from, bool round_to_odd);
  Value* from_f32(Value* value, FloatKind to, Rounding rounding);

 private:
  Value* f64_to_f32_odd(Value* value);
  Value* fp8_to_f32(Value* value, const Fp8Format& format);
  Value* f32_to_fp8(Value* value, const Fp8Format& format, Rounding rounding);
  Value* f32_to_bf16(Value* value, Rounding rounding);
  Value* f32_to_bf16_checked(Value* value, llvm::Type* bf16);
  Value* f32_to_bf16_bits(Value* value, Rounding rounding);
  Value* f32_to_f16(Value* value, Rounding rounding);
  Value* is_nan(Value* value) { return b_.CreateFCmpUNO(value, value); }

  llvm::IRBuilderBase& b_;
  const TargetInfo& target_;
  llvm::Type* like_;
  llvm::Type* f32_;
  MathEmitter m_;
};

// f64 to f32 such that a second rounding to a shorter format gives the right result: truncated, and
// the last bit set when that lost something.
Value* Converter::f64_to_f32_odd(Value* value) {
  Value* rounded = b_.CreateFPTrunc(value, f32_);
  Value* back = b_.CreateFPExt(rounded, value->getType());
  Value* inexact = b_.CreateFCmpONE(back, value);
  Value* away = b_.CreateFCmpOGT(b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, back),
                                 b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, value));
  Value* bits = b_.CreateSub(m_.bits_of(rounded), b_.CreateZExt(away, m_.int_type()));
  return m_.as_float(b_.CreateOr(bits, b_.CreateZExt(inexact, m_.int_type())));
}

Value* Converter::fp8_to_f32(Value* value, const Fp8Format& format) {
  Value* code = b_.CreateZExt(value, m_.int_type());
  Value* magnitude = b_.CreateAnd(code, m_.integer(0x7f));
  Value* sign = b_.CreateShl(b_.CreateAnd(code, m_.integer(0x80)), m_.integer(24));
  Value* shifted = m_.as_float(b_.CreateShl(magnitude, m_.integer(23 - format.mantissa_bits)));
  Value* number = b_.CreateFMul(shifted, m_.number(std::ldexp(1.0, 127 - format.bias)));
  Value* bits = b_.CreateOr(m_.bits_of(number), sign);
  if (!format.fnuz && format.mantissa_bits == 2) {  // e5m2 has infinities
    Value* special = b_.CreateICmpUGE(magnitude, m_.integer(0x7c));
    Value* payload = b_.CreateOr(b_.CreateShl(magnitude, m_.integer(21)), m_.integer(0x7f800000));
    return m_.as_float(b_.CreateSelect(special, b_.CreateOr(payload, sign), bits));
  }
  Value* nan = b_.CreateICmpEQ(format.fnuz ? code : magnitude, m_.integer(format.nan_code));
  return m_.as_float(b_.CreateSelect(nan, m_.integer(0x7fc00000), bits));
}

Value* Converter::f32_to_fp8(Value* value, const Fp8Format& format, Rounding rounding) {
  int dropped = 23 - format.mantissa_bits;
  Value* bits = m_.bits_of(value);
  Value* magnitude = b_.CreateAnd(bits, m_.integer(0x7fffffff));
  Value* sign = b_.CreateAnd(b_.CreateLShr(bits, m_.integer(24)), m_.integer(0x80));
  bool nearest = rounding == Rounding::kNearestEven;

  Value* rounded = magnitude;
  if (nearest) {
    Value* odd = b_.CreateAnd(b_.CreateLShr(magnitude, m_.integer(dropped)), m_.integer(1));
    rounded = b_.CreateAdd(b_.CreateAdd(magnitude, m_.integer((1 << (dropped - 1)) - 1)), odd);
  }
  Value* normal = b_.CreateSub(b_.CreateLShr(rounded, m_.integer(dropped)),
                               m_.integer(int64_t{127 - format.bias} << format.mantissa_bits));

  // Subnormal results: a sum with a number whose last place is the fp8 step.
  double step_exponent = 1 - format.bias - format.mantissa_bits;
  llvm::Constant* magic = m_.number(std::ldexp(1.0, static_cast<int>(step_exponent) + 23));
  Value* smallest_normal = m_.integer(int64_t{128 - format.bias} << 23);
  Value* is_small = b_.CreateICmpULT(magnitude, smallest_normal);
  Value* small_float = m_.as_float(b_.CreateSelect(is_small, magnitude, m_.integer(0)));
  Value* sum = b_.CreateFAdd(small_float, magic);
  Value* subnormal = b_.CreateSub(m_.bits_of(sum), m_.bits_of(magic));
  if (!nearest) {
    Value* back = b_.CreateFSub(sum, magic);
    Value* away = b_.CreateFCmpOGT(back, small_float);
    subnormal = b_.CreateSub(subnormal, b_.CreateZExt(away, m_.int_type()));
  }

  Value* code = b_.CreateSelect(is_small, subnormal, normal);
  code = b_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, code, m_.integer(format.max_code));
  if (format.fnuz)
    sign = b_.CreateSelect(b_.CreateICmpEQ(code, m_.integer(0)), m_.integer(0), sign);
  code = b_.CreateOr(code, sign);
  code = b_.CreateSelect(is_nan(value), m_.integer(format.nan_code), code);
  return b_.CreateTrunc(code, math::int_type_like(b_, 8, like_));
}

// vcvtneps2bf16 takes subnormal numbers for zero: a vector that has one takes the long way.
Value* Converter::f32_to_bf16_checked(Value* value, llvm::Type* bf16) {
  unsigned lanes = math::lanes_of(value->getType());
  auto body = [&](llvm::IRBuilder<>& b, llvm::Function* function) -> Value* {
    Value* x = function->getArg(0);
    Value* subnormal = nullptr;
    for (unsigned lane = 0; lane < lanes; lane += 16) {
      llvm::SmallVector<int, 16> order(16);
      std::iota(order.begin(), order.end(), static_cast<int>(lane));
      Value* part = lanes == 16 ? x : b.CreateShuffleVector(x, order);
      Value* bits = b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_fpclass_ps_512, {},
                                      {part, b.getInt32(0x20)});
      subnormal = subnormal ? b.CreateOr(subnormal, bits) : bits;
    }
    Value* any = b.CreateICmpNE(b.CreateBitCast(subnormal, b.getInt16Ty()), b.getInt16(0));
    Value* quick = b.CreateFPTrunc(x, bf16);
    llvm::BasicBlock* entry = b.GetInsertBlock();
    auto* rare = llvm::BasicBlock::Create(b.getContext(), "subnormal", function);
    auto* done = llvm::BasicBlock::Create(b.getContext(), "done", function);
    b.CreateCondBr(any, rare, done, llvm::MDBuilder(b.getContext()).createUnlikelyBranchWeights());
    b.SetInsertPoint(rare);
    Value* exact = Converter(b, like_, target_).f32_to_bf16_bits(x, Rounding::kNearestEven);
    b.CreateBr(done);
    b.SetInsertPoint(done);
    auto* phi = b.CreatePHI(bf16, 2);
    phi->addIncoming(quick, entry);
    phi->addIncoming(exact, rare);
    return phi;
  };
  return math::call_helper(b_, "bf16", {value}, true, body, bf16);
}

Value* Converter::f32_to_bf16(Value* value, Rounding rounding) {
  llvm::Type* bf16 = math::with_lanes(b_.getBFloatTy(), like_);
  const bool keeps_subnormals = target_.arch == Arch::kAArch64;  // bfcvtn does
  if (target_.has_bf16_dot && (rounding == Rounding::kNearestEvenOrFlush ||
                               (rounding == Rounding::kNearestEven && keeps_subnormals)))
    return b_.CreateFPTrunc(value, bf16);  // vcvtneps2bf16
  if (target_.has_bf16_dot && rounding == Rounding::kNearestEven &&
      math::lanes_of(value->getType()) % 16 == 0) {
    return f32_to_bf16_checked(value, bf16);
  }
  return f32_to_bf16_bits(value, rounding);
}

Value* Converter::f32_to_bf16_bits(Value* value, Rounding rounding) {
  llvm::Type* bf16 = math::with_lanes(b_.getBFloatTy(), like_);
  Value* bits = m_.bits_of(value);
  Value* high = b_.CreateLShr(bits, m_.integer(16));
  Value* result = high;
  if (rounding != Rounding::kTowardZero) {
    Value* odd = b_.CreateAnd(high, m_.integer(1));
    Value* sum = b_.CreateAdd(b_.CreateAdd(bits, m_.integer(0x7fff)), odd);
    result = b_.CreateLShr(sum, m_.integer(16));
  }
  Value* quiet = b_.CreateOr(high, m_.integer(0x40));
  result = b_.CreateSelect(is_nan(value), quiet, result);
  return b_.CreateBitCast(b_.CreateTrunc(result, math::int_type_like(b_, 16, like_)), bf16);
}

Value* Converter::f32_to_f16(Value* value, Rounding rounding) {
  llvm::Type* f16 = math::with_lanes(b_.getHalfTy(), like_);
  Value* nearest = b_.CreateFPTrunc(value, f16);
  if (rounding == Rounding::kNearestEven) return nearest;
  Value* back = b_.CreateFPExt(nearest, f32_);
  Value* away = b_.CreateFCmpOGT(m_.abs(back), m_.abs(value));
  llvm::Type* i16 = math::int_type_like(b_, 16, like_);
  Value* bits = b_.CreateSub(b_.CreateBitCast(nearest, i16), b_.CreateZExt(away, i16));
  return b_.CreateBitCast(bits, f16);
}

Value* Converter::to_f32(Value* value, FloatKind from, bool round_to_odd) {
  switch (from) {
    case FloatKind::kF32:
      return value;
    case FloatKind::kF64:
      return round_to_odd ? f64_to_f32_odd(value) : b_.CreateFPTrunc(value, f32_);
    case FloatKind::kF16:
      return b_.CreateFPExt(value, f32_);
    case FloatKind::kBf16: {
      Value* bits = b_.CreateBitCast(value, math::int_type_like(b_, 16, like_));
      return m_.as_float(b_.CreateShl(b_.CreateZExt(bits, m_.int_type()), m_.integer(16)));
    }
    default:
      return fp8_to_f32(value, fp8_format(from));
  }
}

Value* Converter::from_f32(Value* value, FloatKind to, Rounding rounding) {
  switch (to) {
    case FloatKind::kF32:
      return value;
    case FloatKind::kF64:
      return b_.CreateFPExt(value, math::with_lanes(b_.getDoubleTy(), like_));
    case FloatKind::kF16:
      return f32_to_f16(value, rounding);
    case FloatKind::kBf16:
      return f32_to_bf16(value, rounding);
    default:
      return f32_to_fp8(value, fp8_format(to), rounding);
  }
}

}  // namespace

Value* convert_float(llvm::IRBuilderBase& builder, Value* value, FloatKind from, FloatKind to,
                     Rounding rounding, const TargetInfo& target) {
  if (from == to) return value;
  if (rounding == Rounding::kNearestEvenOrFlush && to != FloatKind::kBf16)
    rounding = Rounding::kNearestEven;
  llvm::IRBuilderBase::FastMathFlagGuard guard(builder);
  builder.clearFastMathFlags();
  Converter converter(builder, value->getType(), target);
  bool second_rounding =
      to != FloatKind::kF32 && (is_fp8(to) || to == FloatKind::kF16 || to == FloatKind::kBf16);
  Value* middle = converter.to_f32(value, from, second_rounding);
  if (from == FloatKind::kF64 && to == FloatKind::kF32 && rounding == Rounding::kTowardZero) {
    Value* back = builder.CreateFPExt(middle, value->getType());
    Value* away = builder.CreateFCmpOGT(builder.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, back),
                                        builder.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, value));
    MathEmitter m(builder, middle->getType());
    middle =
        m.as_float(builder.CreateSub(m.bits_of(middle), builder.CreateZExt(away, m.int_type())));
  }
  return converter.from_f32(middle, to, rounding);
}

}  // namespace nereid
