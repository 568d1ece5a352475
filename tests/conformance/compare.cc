// Widening of every dtype, and the comparison itself.
#include "tests/conformance/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "src/base/check.h"

namespace nereid::testing {
namespace {

template <typename T>
T read(std::span<const std::byte> values, size_t at) {
  T value;
  std::memcpy(&value, values.data() + at * sizeof(T), sizeof(T));
  return value;
}

// A small float: `exponent_bits` and `mantissa_bits` beside the sign. Without infinities, only the
// all-ones code is NaN (e4m3).
double small_float(uint32_t code, int exponent_bits, int mantissa_bits, bool has_infinity) {
  const uint32_t sign = code >> (exponent_bits + mantissa_bits);
  const uint32_t max_exponent = (1U << exponent_bits) - 1;
  const uint32_t exponent = code >> mantissa_bits & max_exponent;
  const uint32_t mantissa = code & ((1U << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double value = 0;
  if (exponent == max_exponent && has_infinity) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  } else if (exponent == max_exponent && mantissa == (1U << mantissa_bits) - 1) {
    value = std::nan("");
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    value = std::ldexp(mantissa + (1U << mantissa_bits),
                       static_cast<int>(exponent) - bias - mantissa_bits);
  }
  return sign != 0 ? -value : value;
}

bool is_float(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return true;
    default:
      return false;
  }
}

}  // namespace

double widen(DType dtype, std::span<const std::byte> values, size_t at) {
  switch (dtype) {
    case DType::kF32:
      return read<float>(values, at);
    case DType::kF16:
      return small_float(read<uint16_t>(values, at), 5, 10, true);
    case DType::kBF16:
      return std::bit_cast<float>(uint32_t{read<uint16_t>(values, at)} << 16);
    case DType::kI8:
      return read<int8_t>(values, at);
    case DType::kU8:
      return read<uint8_t>(values, at);
    case DType::kI16:
      return read<int16_t>(values, at);
    case DType::kI32:
      return read<int32_t>(values, at);
    case DType::kI64:
      return static_cast<double>(read<int64_t>(values, at));
    case DType::kU32:
      return read<uint32_t>(values, at);
    case DType::kU64:
      return static_cast<double>(read<uint64_t>(values, at));
    case DType::kF8E4M3:
      return small_float(read<uint8_t>(values, at), 4, 3, false);
    case DType::kF8E5M2:
      return small_float(read<uint8_t>(values, at), 5, 2, true);
  }
  NEREID_CHECK(false, "dtype {}", static_cast<int>(dtype));
}

std::string compare(DType dtype, std::span<const std::byte> got,
                    std::span<const std::byte> expected, const CaseTolerance& tolerance) {
  NEREID_CHECK(got.size() == expected.size(), "{} and {} bytes", got.size(), expected.size());
  const size_t size = dtype_size(dtype);
  const size_t count = got.size() / size;
  const bool exact =
      !is_float(dtype) && tolerance.atol == 0 && tolerance.rtol == 0 && tolerance.mismatch == 0;
  size_t bad = 0;
  size_t first = 0;
  double largest = 0;
  for (size_t at = 0; at < count; ++at) {
    if (std::memcmp(got.data() + at * size, expected.data() + at * size, size) == 0) continue;
    const double a = widen(dtype, got, at);
    const double b = widen(dtype, expected, at);
    const double difference = std::abs(a - b);
    const bool same = a == b || (std::isnan(a) && std::isnan(b));
    const bool close =
        std::isfinite(b) && difference <= tolerance.atol + tolerance.rtol * std::abs(b);
    if (!exact && (same || close)) continue;
    if (bad++ == 0) first = at;
    if (std::isfinite(difference)) largest = std::max(largest, difference);
  }
  if (static_cast<double>(bad) <= tolerance.mismatch * static_cast<double>(count)) return "";
  return fmt::format(
      "{} of {} differ, first at {}: got {:.9g}, expected {:.9g}; largest difference {:.3g}", bad,
      count, first, widen(dtype, got, first), widen(dtype, expected, first), largest);
}

}  // namespace nereid::testing
