// Vector math as LLVM IR: one call emits a function of a scalar or of a vector with any lane count.
//
// Design goals:
//   - f32 within about 2 ulp of the exact result, and right at +-0, +-inf, NaN and denormals
//     (exp(-inf) is exactly 0);
//   - no change of the caller's control flow: each function is an internal LLVM function of the
//     module ("nereid.exp.v16f32"), inlined where that pays;
//   - f16 and bf16 are computed in f32, f64 with libm's functions lane by lane.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace llvm {
class IRBuilderBase;
class Value;
}  // namespace llvm

namespace nereid {

struct TargetInfo;

enum class MathFn {
  kExp,
  kExp2,
  kLog,
  kLog2,
  kSin,
  kCos,
  kTanh,
  kErf,
  kSqrt,
  kRsqrt,
  kFloor,
  kCeil,
  kRound,
  kTrunc,
  kAbs
};

// `x`: half, bfloat, float or double, or a vector of those; the result has its type.
llvm::Value* emit_math(llvm::IRBuilderBase& builder, MathFn fn, llvm::Value* x,
                       const TargetInfo& target);

// a * b + c with one rounding (for f16 and bf16: of the f32 result).
llvm::Value* emit_fma(llvm::IRBuilderBase& builder, llvm::Value* a, llvm::Value* b, llvm::Value* c,
                      const TargetInfo& target);

// A function of libm applied lane by lane: emit_libm(builder, "pow", {x, y}) calls powf or pow.
llvm::Value* emit_libm(llvm::IRBuilderBase& builder, llvm::StringRef name,
                       llvm::ArrayRef<llvm::Value*> arguments, const TargetInfo& target);

// fp8 numbers have no LLVM type; their values are i8.
enum class FloatKind { kF64, kF32, kF16, kBf16, kE4m3fn, kE4m3fnuz, kE5m2, kE5m2fnuz };
// kNearestEvenOrFlush: as kNearestEven, but bf16 results below 2^-126 may become zero, as the
// conversion instruction of CPUs with AVX512-BF16 makes them.
enum class Rounding { kNearestEven, kTowardZero, kNearestEvenOrFlush };

// Conversion of a scalar or vector. Numbers too large become infinity in f16 and bf16 and the
// largest finite number in fp8; NaN stays NaN. Subnormal results are rounded as others are.
llvm::Value* convert_float(llvm::IRBuilderBase& builder, llvm::Value* value, FloatKind from,
                           FloatKind to, Rounding rounding, const TargetInfo& target);

}  // namespace nereid
