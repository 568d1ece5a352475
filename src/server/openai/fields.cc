// See fields.h.
#include "src/server/openai/fields.h"

#include <algorithm>
#include <cmath>

#include "src/base/json.h"

namespace nereid::openai {
namespace {

// Whether `value` is one of the '|'-separated JSON texts.
bool is_one_of(const Json& value, std::string_view texts) {
  const std::string found = dump(value);
  while (!texts.empty()) {
    const size_t bar = texts.find('|');
    if (texts.substr(0, bar) == found) return true;
    texts = bar == std::string_view::npos ? std::string_view{} : texts.substr(bar + 1);
  }
  return false;
}

}  // namespace

std::optional<int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::floor(number) == number && std::abs(number) < 9e15) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

const Json* Fields::find(std::string_view name) const {
  if (failure_) return nullptr;
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

void Fields::expect(std::string_view name, const Json& found, std::string_view expected) {
  fail(name, "invalid_type", "found {}, expected {}", describe(found), expected);
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t min, int64_t max) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  const auto number = as_integer(*value);
  if (!number && !value->is_number()) {
    expect(name, *value, fmt::format("a whole number from {} to {}", min, max));
  } else if (!number || *number < min || *number > max) {
    fail(name, "invalid_value", "found {}, expected a whole number from {} to {}", describe(*value),
         min, max);
  } else {
    return number;
  }
  return std::nullopt;
}

std::optional<double> Fields::number(std::string_view name, const Range& range) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  const std::string expected =
      range.min_excluded ? fmt::format("a number above {}, at most {}", range.min, range.max)
                         : fmt::format("a number from {} to {}", range.min, range.max);
  if (!value->is_number()) {
    expect(name, *value, expected);
    return std::nullopt;
  }
  const auto number = value->get<double>();
  const bool fits = std::isfinite(number) && number <= range.max &&
                    (range.min_excluded ? number > range.min : number >= range.min);
  if (!fits) {
    fail(name, "invalid_value", "found {}, expected {}", describe(*value), expected);
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) {
    expect(name, *value, "true or false");
    return std::nullopt;
  }
  return value->get<bool>();
}

const std::string* Fields::string(std::string_view name) {
  const Json* value = find(name);
  if (!value) return nullptr;
  if (!value->is_string()) {
    expect(name, *value, "a string");
    return nullptr;
  }
  return value->get_ptr<const std::string*>();
}

const Json* Fields::object(std::string_view name) {
  const Json* value = find(name);
  if (value && !value->is_object()) {
    expect(name, *value, "an object");
    return nullptr;
  }
  return value;
}

const Json* Fields::array(std::string_view name, size_t max_size) {
  const Json* value = find(name);
  if (!value) return nullptr;
  if (!value->is_array()) {
    expect(name, *value, "an array");
    return nullptr;
  }
  if (value->size() > max_size) {
    fail(name, "invalid_value", "found {} entries, expected at most {}", value->size(), max_size);
    return nullptr;
  }
  return value;
}

std::optional<std::string> Fields::choice(std::string_view name,
                                          std::span<const std::string_view> choices) {
  const std::string* value = string(name);
  if (!value) return std::nullopt;
  if (std::ranges::find(choices, std::string_view(*value)) == choices.end()) {
    fail(name, "invalid_value", "found '{}', expected one of {}", printable(*value),
         fmt::join(choices, ", "));
    return std::nullopt;
  }
  return *value;
}

const std::string& Fields::required_string(std::string_view name) {
  static const std::string kNothing;
  const std::string* value = string(name);
  if (!value) {
    fail(name, "missing_required_parameter", "missing, expected a string");
    return kNothing;
  }
  return *value;
}

void Fields::check_known(std::span<const std::string_view> read,
                         std::span<const KnownField> others) {
  for (const auto& [key, value] : object_.items()) {
    if (failure_) return;
    if (std::ranges::find(read, std::string_view(key)) != read.end()) continue;
    const auto known = std::ranges::find(others, std::string_view(key), &KnownField::name);
    const std::string shown = printable(key);
    if (known == others.end()) {
      fail(shown, "unknown_parameter", "unknown parameter");
    } else if (value.is_null() || known->treatment == Unread::kAccepted) {
      continue;
    } else if (known->treatment == Unread::kNotSupported) {
      fail(shown, "unsupported_parameter", "this parameter is not supported");
    } else if (!is_one_of(value, known->only)) {
      fail(shown, "unsupported_value", "found {}, expected {}: nothing else is supported",
           describe(value), known->only);
    }
  }
}

}  // namespace nereid::openai
