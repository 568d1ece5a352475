// See flag_checks.h.
#include "apps/nereid/flag_checks.h"

#include <charconv>
#include <string_view>
#include <system_error>

#include "src/base/numbers.h"

namespace nereid::commands {
namespace {

// The code of from_chars; invalid_argument where anything is left over.
template <typename T>
std::errc parse_number(std::string_view text, T& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return end == text.data() + text.size() ? failure : std::errc::invalid_argument;
}

template <typename T>
std::string check_whole(const std::string& text, T min, T max) {
  T value = 0;
  const std::errc failure = parse_number(text, value);
  const bool too_low = failure == std::errc{} && value < min;
  if (failure == std::errc{} && !too_low && value <= max) return "";
  if (too_low && max == T{std::numeric_limits<int32_t>::max()}) {
    return fmt::format("found {}, expected at least {}", text, min);
  }
  return fmt::format("found '{}', expected a whole number from {} to {}", text, min, max);
}

}  // namespace

FlagCheck whole_number(int64_t min, int64_t max) {
  return [min, max](const std::string& text) { return check_whole(text, min, max); };
}

FlagCheck seed_number() {
  return [](const std::string& text) {
    return check_whole<uint64_t>(text, 0, std::numeric_limits<uint64_t>::max());
  };
}

FlagCheck number_in(const SamplingRange& range) {
  return [range](const std::string& text) -> std::string {
    float value = 0;
    if (parse_number(text, value) == std::errc{} && range.contains(value)) return "";
    return fmt::format("found '{}', expected {}", text, range.text());
  };
}

FlagCheck number_in(double min, double max) {
  return [min, max](const std::string& text) -> std::string {
    double value = 0;
    if (parse_number(text, value) == std::errc{} && value >= min && value <= max) return "";
    return fmt::format("found '{}', expected a number from {} to {}", text, min, max);
  };
}

FlagCheck byte_count() {
  return [](const std::string& text) -> std::string {
    const auto bytes = parse_bytes(text);
    return bytes ? "" : bytes.error().message;
  };
}

FlagCheck token_bias() {
  return [](const std::string& text) -> std::string {
    const auto bias = parse_token_bias(text);
    return bias ? "" : bias.error().message;
  };
}

Result<std::pair<int32_t, float>> parse_token_bias(const std::string& text) {
  const std::string_view all = text;
  const size_t colon = all.find(':');
  int32_t id = 0;
  float value = 0;
  if (colon == std::string_view::npos || parse_number(all.substr(0, colon), id) != std::errc{} ||
      parse_number(all.substr(colon + 1), value) != std::errc{} || id < 0) {
    return error("found '{}', expected ID:VALUE such as 42:-5.5", text);
  }
  if (!kLogitBiasRange.contains(value)) {
    return error("found '{}', expected ID:VALUE with a value from {}", text,
                 kLogitBiasRange.text());
  }
  return std::pair{id, value};
}

}  // namespace nereid::commands
