// from_chars with errors that say what was expected.
#include "src/base/numbers.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <system_error>

namespace nereid {

Result<int64_t> parse_int(std::string_view text, std::string_view what, int64_t min, int64_t max) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  const bool whole = stop == end && !text.empty();
  if (code == std::errc::invalid_argument || !whole) {
    return error("{}: found '{}', expected an integer", what, text);
  }
  if (code == std::errc::result_out_of_range || value < min || value > max) {
    return error("{}: found {}, expected {} to {}", what, text, min, max);
  }
  return value;
}

Result<double> parse_double(std::string_view text, std::string_view what, double min, double max) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc() || stop != end || text.empty() || !std::isfinite(value)) {
    return error("{}: found '{}', expected a number", what, text);
  }
  if (value < min || value > max) {
    return error("{}: found {}, expected {} to {}", what, text, min, max);
  }
  return value;
}

Result<uint64_t> parse_byte_size(std::string_view text, std::string_view what) {
  std::string_view digits = text;
  if (digits.ends_with("iB")) {
    digits.remove_suffix(2);
  } else if (digits.ends_with("B")) {
    digits.remove_suffix(1);
  }
  double unit = 1;
  constexpr std::string_view kUnits = "KMGT";
  if (!digits.empty()) {
    const size_t at = kUnits.find(digits.back());
    if (at != std::string_view::npos) {
      unit = std::exp2(10.0 * static_cast<double>(at + 1));
      digits.remove_suffix(1);
    }
  }
  auto value = parse_double(digits, what, 0, std::exp2(63) / unit);
  if (!value) return error("{}: found '{}', expected a size such as 512M or 1.5G", what, text);
  return static_cast<uint64_t>(*value * unit);
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace nereid
