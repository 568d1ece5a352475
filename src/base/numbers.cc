// from_chars with errors that say what was expected.
#include "src/base/numbers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string>
#include <system_error>

#include "src/base/json.h"

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

Result<uint64_t> parse_bytes(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr std::array<Unit, 10> kUnits = {{{"", 1},
                                            {"b", 1},
                                            {"kb", 1e3},
                                            {"mb", 1e6},
                                            {"gb", 1e9},
                                            {"tb", 1e12},
                                            {"kib", 0x1p10},
                                            {"mib", 0x1p20},
                                            {"gib", 0x1p30},
                                            {"tib", 0x1p40}}};
  double number = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, code] = std::from_chars(begin, end, number, std::chars_format::fixed);
  std::string unit(stop, end);
  if (unit.starts_with(' ')) unit.erase(0, 1);
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto* const found = std::ranges::find(kUnits, unit, &Unit::name);
  const double bytes = found == kUnits.end() ? 0 : number * found->bytes;
  if (code != std::errc{} || !(bytes >= 1 && bytes < 0x1p62)) {
    return error("found '{}', expected bytes such as 8589934592 or 8GiB", printable(text));
  }
  return static_cast<uint64_t>(bytes);
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
