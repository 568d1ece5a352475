// The block formats with one f16 scale for 32 elements: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
//
// Bytes of a block, in order:
//   scale f16 | min f16 (_1 formats) | high bits u32 (Q5) | codes
// 4-bit codes: byte b holds element b in its low half and element b + 16 in its high half; bit e of
// the u32 is the fifth bit of element e.
#include <array>

#include "src/quant/formats.h"

namespace nereid::quant {
namespace {

constexpr int64_t kElements = 32;

struct BlockShape {
  int64_t bytes;
  bool has_min;
  bool has_high_bits;
  int32_t zero;  // subtracted from a code
};

template <BlockShape shape>
void dequantise_nibbles(const std::byte* stored, int64_t blocks, float* out) {
  constexpr int64_t kHighBits = shape.has_min ? 4 : 2;
  constexpr int64_t kCodes = kHighBits + (shape.has_high_bits ? 4 : 0);
  for (int64_t block = 0; block < blocks; ++block, stored += shape.bytes, out += kElements) {
    const float scale = half_at(stored);
    const float min = shape.has_min ? half_at(stored + 2) : 0.0f;
    for (int64_t element = 0; element < kElements; ++element) {
      const uint32_t pair = byte_at(stored, kCodes + element % 16);
      uint32_t code = element < 16 ? pair & 15 : pair >> 4;
      if constexpr (shape.has_high_bits) {
        code |= (byte_at(stored, kHighBits + element / 8) >> (element % 8) & 1) << 4;
      }
      out[element] = scale * static_cast<float>(static_cast<int32_t>(code) - shape.zero) + min;
    }
  }
}

void dequantise_q8_0(const std::byte* stored, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, stored += 34, out += kElements) {
    const float scale = half_at(stored);
    for (int64_t element = 0; element < kElements; ++element) {
      out[element] = scale * static_cast<float>(static_cast<int8_t>(byte_at(stored, 2 + element)));
    }
  }
}

template <int64_t block_bytes, bool has_min>
bool is_finite(const std::byte* stored, int64_t blocks) {
  uint32_t good = 1;
  for (int64_t block = 0; block < blocks; ++block, stored += block_bytes) {
    good &= static_cast<uint32_t>(half_is_finite(stored));
    if constexpr (has_min) good &= static_cast<uint32_t>(half_is_finite(stored + 2));
  }
  return good != 0;
}

constexpr BlockShape kQ4_0{18, false, false, 8};
constexpr BlockShape kQ4_1{20, true, false, 0};
constexpr BlockShape kQ5_0{22, false, true, 16};
constexpr BlockShape kQ5_1{24, true, true, 0};

constexpr PlaneFormat planes(int32_t bits, int32_t zero, bool has_min) {
  return {.bits = bits,
          .code_dtype = bits == 4 ? DType::kU8 : DType::kI8,
          .zero = zero,
          .group = 32,
          .scale_dtype = DType::kF16,
          .has_min = has_min};
}

// Q5_0 and Q8_0 codes are stored signed at run time: nothing is left to subtract. Some targets want
// those of Q8_0 without signs (plane_format).
constexpr std::array kFormats = {
    QuantFormat{StorageFormat::kQ4_0, planes(4, 8, false), dequantise_nibbles<kQ4_0>,
                is_finite<18, false>},
    QuantFormat{StorageFormat::kQ4_1, planes(4, 0, true), dequantise_nibbles<kQ4_1>,
                is_finite<20, true>},
    QuantFormat{StorageFormat::kQ5_0, planes(8, 0, false), dequantise_nibbles<kQ5_0>,
                is_finite<22, false>},
    QuantFormat{StorageFormat::kQ5_1, planes(8, 0, true), dequantise_nibbles<kQ5_1>,
                is_finite<24, true>},
    QuantFormat{StorageFormat::kQ8_0, planes(8, 0, false), dequantise_q8_0, is_finite<34, false>},
};

}  // namespace

std::span<const QuantFormat> round_formats() {
  return kFormats;
}

}  // namespace nereid::quant
