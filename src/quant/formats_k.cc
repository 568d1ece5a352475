// The super-block formats: 256 elements with two levels of scales. Q4_K, Q5_K, Q6_K.
//
// Q4_K: d f16 | dmin f16 | 12 bytes of 6-bit scales and mins | 128 bytes of codes
// Q5_K: the same with 32 bytes of fifth bits before the codes
//   groups of 32; value = d * scale * code - dmin * min. Pairs of groups share 32 code bytes, the
//   even group in the low halves; fifth bit of element e of group g: bit g of byte e.
// Q6_K: 128 bytes of low halves | 64 bytes of high pairs of bits | 16 i8 scales | d f16
//   groups of 16; value = d * scale * (code - 32). Each half of 128 elements is four quarters of
//   32: low bytes 0..31 hold quarters 0 and 2, 32..63 quarters 1 and 3; high byte e holds two bits
//   of element e of every quarter.
#include <array>

#include "src/quant/formats.h"

namespace nereid::quant {
namespace {

constexpr int64_t kElements = 256;
constexpr int64_t kGroup = 32;
constexpr int64_t kQ4Bytes = 144, kQ5Bytes = 176, kQ6Bytes = 210;

struct ScaleMin {
  uint32_t scale, min;
};

// The 6-bit scale and min of group 0..7: whole bytes for the first four, and for the last four a
// half byte with the two missing bits on top of an earlier one.
ScaleMin scale_min(const std::byte* packed, int64_t group) {
  if (group < 4) return {byte_at(packed, group) & 63, byte_at(packed, group + 4) & 63};
  const uint32_t halves = byte_at(packed, group + 4);
  return {(halves & 15) | (byte_at(packed, group - 4) >> 6) << 4,
          (halves >> 4) | (byte_at(packed, group) >> 6) << 4};
}

template <bool has_fifth_bit>
void dequantise_q4_q5(const std::byte* stored, int64_t blocks, float* out) {
  constexpr int64_t kBytes = has_fifth_bit ? kQ5Bytes : kQ4Bytes;
  constexpr int64_t kCodes = has_fifth_bit ? 48 : 16;
  for (int64_t block = 0; block < blocks; ++block, stored += kBytes, out += kElements) {
    const float d = half_at(stored), dmin = half_at(stored + 2);
    for (int64_t group = 0; group < kElements / kGroup; ++group) {
      const ScaleMin packed = scale_min(stored + 4, group);
      const float scale = d * static_cast<float>(packed.scale);
      const float min = dmin * static_cast<float>(packed.min);
      for (int64_t element = 0; element < kGroup; ++element) {
        const uint32_t pair = byte_at(stored, kCodes + group / 2 * kGroup + element);
        uint32_t code = group % 2 == 0 ? pair & 15 : pair >> 4;
        if constexpr (has_fifth_bit) code |= (byte_at(stored, 16 + element) >> group & 1) << 4;
        out[group * kGroup + element] = scale * static_cast<float>(code) - min;
      }
    }
  }
}

void dequantise_q6(const std::byte* stored, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, stored += kQ6Bytes, out += kElements) {
    const float d = half_at(stored + 208);
    for (int64_t element = 0; element < kElements; ++element) {
      const int64_t half = element / 128, quarter = element % 128 / 32, at = element % 32;
      const uint32_t pair = byte_at(stored, 64 * half + 32 * (quarter % 2) + at);
      const uint32_t low = quarter < 2 ? pair & 15 : pair >> 4;
      const uint32_t high = byte_at(stored, 128 + 32 * half + at) >> (2 * quarter) & 3;
      const auto scale = static_cast<int8_t>(byte_at(stored, 192 + element / 16));
      out[element] = d * static_cast<float>(scale) *
                     static_cast<float>(static_cast<int32_t>(low | high << 4) - 32);
    }
  }
}

template <int64_t block_bytes, int64_t d_offset, bool has_min>
bool is_finite(const std::byte* stored, int64_t blocks) {
  uint32_t good = 1;
  for (int64_t block = 0; block < blocks; ++block, stored += block_bytes) {
    good &= static_cast<uint32_t>(half_is_finite(stored + d_offset));
    if constexpr (has_min) good &= static_cast<uint32_t>(half_is_finite(stored + d_offset + 2));
  }
  return good != 0;
}

// d * scale is kept as f32, in which it is exact.
constexpr PlaneFormat planes(int32_t bits, int32_t group, bool has_min) {
  return {.bits = bits,
          .code_dtype = bits == 4 ? DType::kU8 : DType::kI8,
          .zero = 0,
          .group = group,
          .scale_dtype = DType::kF32,
          .has_min = has_min};
}

constexpr std::array kFormats = {
    QuantFormat{StorageFormat::kQ4_K, planes(4, 32, true), dequantise_q4_q5<false>,
                is_finite<kQ4Bytes, 0, true>},
    QuantFormat{StorageFormat::kQ5_K, planes(8, 32, true), dequantise_q4_q5<true>,
                is_finite<kQ5Bytes, 0, true>},
    QuantFormat{StorageFormat::kQ6_K, planes(8, 16, false), dequantise_q6,
                is_finite<kQ6Bytes, 208, false>},
};

}  // namespace

std::span<const QuantFormat> k_formats() {
  return kFormats;
}

}  // namespace nereid::quant
