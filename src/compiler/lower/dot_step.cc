// The instruction at the heart of a dot's inner loop, for each kind of dot and processor.
#include "llvm/IR/IntrinsicsAArch64.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

using llvm::Value;

bool has_byte_dot(const TargetInfo& target) {
  return target.arch == Arch::kAArch64 || target.has_int8_dot || target.has_avx2;
}

bool has_short_sums(const TargetInfo& target) {
  return target.arch == Arch::kX86_64 && !target.has_int8_dot;
}

// Bytes as 16-bit numbers: those at even places, or those at odd ones.
Value* Emitter::alternate_bytes(Value* bytes, bool odd, bool is_unsigned) {
  auto count =
      static_cast<unsigned>(bytes->getType()->getPrimitiveSizeInBits().getFixedValue() / 16);
  Value* words = builder_.CreateBitCast(bytes, widen(builder_.getInt16Ty(), count));
  if (is_unsigned)
    return odd ? builder_.CreateLShr(words, 8) : builder_.CreateAnd(words, uint64_t{0xff});
  if (!odd) words = builder_.CreateShl(words, 8);
  return builder_.CreateAShr(words, 8);
}

Value* Emitter::multiply_words(Value* x, Value* y) {
  auto id = target_.vector_bytes == 64 ? llvm::Intrinsic::x86_avx512_pmaddw_d_512
                                       : llvm::Intrinsic::x86_avx2_pmadd_wd;
  return builder_.CreateIntrinsic(id, {}, {x, y});
}

// Sums of two products in 16 bits, b unsigned: at most 2 * 127 * 128.
Value* Emitter::multiply_pairs(Value* a, Value* b) {
  auto id = target_.vector_bytes == 64 ? llvm::Intrinsic::x86_avx512_pmaddubs_w_512
                                       : llvm::Intrinsic::x86_avx2_pmadd_ub_sw;
  return builder_.CreateIntrinsic(id, {}, {b, a});
}

// 32-bit `sum` + 16-bit numbers, two neighbours in each lane.
Value* Emitter::add_words(Value* sum, Value* words) {
  return builder_.CreateAdd(sum,
                            multiply_words(words, llvm::ConstantInt::get(words->getType(), 1)));
}

// AVX2, and AVX-512 without VNNI.
Value* Emitter::dot_bytes_x86(const DotPlan& dot, Value* sum, Value* a, Value* b) {
  if (dot.words) return builder_.CreateAdd(sum, multiply_words(a, b));
  return add_words(sum, multiply_pairs(a, b));
}

Value* Emitter::dot_bytes_arm(const DotPlan& dot, Value* sum, Value* a, Value* b) {
  llvm::Type* type = sum->getType();
  if (target_.has_int8_dot) {
    return builder_.CreateIntrinsic(llvm::Intrinsic::aarch64_neon_sdot, {type, a->getType()},
                                    {sum, a, b});
  }
  for (bool odd : {false, true}) {
    // A product of two bytes fits into 16 bits, the sum of two may not.
    Value* products =
        builder_.CreateMul(alternate_bytes(a, odd, false), alternate_bytes(b, odd, dot.unsigned_b));
    Value* pairs = builder_.CreateIntrinsic(llvm::Intrinsic::aarch64_neon_saddlp,
                                            {type, products->getType()}, {products});
    sum = builder_.CreateAdd(sum, pairs);
  }
  return sum;
}

// sum + a * b for one instruction's worth of lanes; a is spread over the lanes already.
Value* Emitter::dot_step(const DotPlan& dot, Value* sum, Value* a, Value* b) {
  llvm::Type* type = sum->getType();
  bool arm = target_.arch == Arch::kAArch64;
  switch (dot.kind) {
    case DotKind::kFloat:
      return builder_.CreateIntrinsic(llvm::Intrinsic::fma, {type}, {a, b, sum});
    case DotKind::kBf16: {
      llvm::Type* pairs = widen(builder_.getBFloatTy(), dot.lanes * 2);
      a = builder_.CreateBitCast(a, pairs);
      b = builder_.CreateBitCast(b, pairs);
      if (arm) {
        return builder_.CreateIntrinsic(llvm::Intrinsic::aarch64_neon_bfdot, {type, pairs},
                                        {sum, a, b});
      }
      return builder_.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {},
                                      {sum, a, b});
    }
    case DotKind::kInt8:
      if (arm) return dot_bytes_arm(dot, sum, a, b);
      if (!target_.has_int8_dot) return dot_bytes_x86(dot, sum, a, b);
      if (dot.unsigned_b) std::swap(a, b);
      return builder_.CreateIntrinsic(llvm::Intrinsic::x86_avx512_vpdpbusd_512, {}, {sum, a, b});
    case DotKind::kInteger:
      return builder_.CreateAdd(sum, builder_.CreateMul(a, b));
  }
  return sum;
}

}  // namespace nereid::lower
