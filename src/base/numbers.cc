// from_chars with errors that say what was expected.
#include "src/base/numbers.h"

#include <array>
#include <charconv>
#include <string>
#include <system_error>

namespace nereid {

Result<int64_t> parse_int(std::string_view text, std::string_view what, int64_t min, int64_t max) {
  int64_t value = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, code] = std::from_chars(begin, end, value);
  const bool whole = stop == end && !text.empty();
  if (code == std::errc::invalid_argument || !whole) {
    return error("{}: found '{}', expected an integer", what, text);
  }
  if (code == std::errc::result_out_of_range || value < min || value > max) {
    return error("{}: found {}, expected {} to {}", what, text, min, max);
  }
  return value;
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
