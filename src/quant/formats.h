// The families of formats, one per formats_*.cc, and what they share.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "src/quant/format.h"

namespace nereid::quant {

std::span<const QuantFormat> unquantised_formats();  // F32, F16, BF16
std::span<const QuantFormat> round_formats();        // Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
std::span<const QuantFormat> k_formats();            // Q4_K, Q5_K, Q6_K
std::span<const QuantFormat> f8_formats();           // F8_E4M3 with scales of rows, of blocks

inline uint32_t byte_at(const std::byte* stored, int64_t offset) {
  return std::to_integer<uint32_t>(stored[offset]);
}

inline uint16_t half_bits(const std::byte* stored) {
  uint16_t bits;
  std::memcpy(&bits, stored, sizeof bits);
  return bits;
}

// Stored f16, exactly.
inline float half_at(const std::byte* stored) {
  return static_cast<float>(std::bit_cast<_Float16>(half_bits(stored)));
}

// Exponent bits all set: NaN or infinity.
inline bool half_is_finite(const std::byte* stored) {
  return (half_bits(stored) & 0x7c00) != 0x7c00;
}

}  // namespace nereid::quant
