// F32, F16 and BF16: elements as they are.
#include <array>

#include "src/quant/formats.h"

namespace nereid::quant {
namespace {

void dequantise_f32(const std::byte* stored, int64_t count, float* out) {
  std::memcpy(out, stored, static_cast<size_t>(count) * sizeof(float));
}

void dequantise_f16(const std::byte* stored, int64_t count, float* out) {
  for (int64_t at = 0; at < count; ++at) out[at] = half_at(stored + 2 * at);
}

void dequantise_bf16(const std::byte* stored, int64_t count, float* out) {
  for (int64_t at = 0; at < count; ++at) {
    out[at] = std::bit_cast<float>(static_cast<uint32_t>(half_bits(stored + 2 * at)) << 16);
  }
}

// True unless an element has all bits of `exponent` set. No early exit, so that it vectorises.
template <typename Bits, Bits exponent>
bool is_finite(const std::byte* stored, int64_t count) {
  uint32_t bad = 0;
  for (int64_t at = 0; at < count; ++at) {
    Bits bits;
    std::memcpy(&bits, stored + at * static_cast<int64_t>(sizeof bits), sizeof bits);
    bad |= static_cast<uint32_t>((bits & exponent) == exponent);
  }
  return bad == 0;
}

constexpr std::array kFormats = {
    QuantFormat{StorageFormat::kF32,
                {.bits = 32, .code_dtype = DType::kF32},
                dequantise_f32,
                is_finite<uint32_t, 0x7f800000>},
    QuantFormat{StorageFormat::kF16,
                {.bits = 16, .code_dtype = DType::kF16},
                dequantise_f16,
                is_finite<uint16_t, 0x7c00>},
    QuantFormat{StorageFormat::kBF16,
                {.bits = 16, .code_dtype = DType::kBF16},
                dequantise_bf16,
                is_finite<uint16_t, 0x7f80>},
};

}  // namespace

std::span<const QuantFormat> unquantised_formats() {
  return kFormats;
}

}  // namespace nereid::quant
