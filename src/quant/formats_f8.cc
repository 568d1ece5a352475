// F8_E4M3: OCP 8-bit floats of 4 exponent and 3 mantissa bits, without infinities. Scales lie
// beside the tensor, so a table row says what the codes are worth without them.
#include <array>
#include <cmath>

#include "src/quant/formats.h"

namespace nereid::quant {
namespace {

float e4m3(uint32_t code) {
  const auto exponent = static_cast<int>(code >> 3 & 15);
  const auto mantissa = static_cast<float>(code & 7);
  const float value =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(mantissa + 8, exponent - 10);
  return (code & 0x80) != 0 ? -value : value;
}

void dequantise_f8(const std::byte* stored, int64_t count, float* out) {
  for (int64_t at = 0; at < count; ++at) out[at] = e4m3(byte_at(stored, at));
}

// The code with all bits set is NaN. No early exit, so that it vectorises.
bool is_finite(const std::byte* stored, int64_t count) {
  uint32_t bad = 0;
  for (int64_t at = 0; at < count; ++at) {
    bad |= static_cast<uint32_t>((byte_at(stored, at) & 0x7f) == 0x7f);
  }
  return bad == 0;
}

constexpr PlaneFormat planes(int32_t scale_rows, int32_t group) {
  return {.bits = 8, .code_dtype = DType::kF8E4M3, .group = group, .scale_rows = scale_rows};
}

constexpr std::array kFormats = {
    QuantFormat{StorageFormat::kF8E4M3, planes(1, 0), dequantise_f8, is_finite},
    QuantFormat{StorageFormat::kF8E4M3Block, planes(kScaleBlock, kScaleBlock), dequantise_f8,
                is_finite},
};

}  // namespace

std::span<const QuantFormat> f8_formats() {
  return kFormats;
}

}  // namespace nereid::quant
