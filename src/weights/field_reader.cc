// Typed reading of configuration fields; see field_reader.h.
#include "src/weights/field_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/json.h"

namespace nereid {

using nlohmann::json;

FieldReader::FieldReader(const json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {
  if (!object_.is_object()) fail(Error{"found " + describe_json(object_) + ", expected an object"});
}

const json* FieldReader::find(std::string_view key) const {
  if (!object_.is_object()) return nullptr;
  const auto at = object_.find(full(key));
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

bool FieldReader::has(std::string_view key) const {
  return find(key) != nullptr;
}

void FieldReader::fail(Error failure) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(failure);
}

void FieldReader::fail(std::string_view key, const std::string& expected) {
  const json* value = find(key);
  fail(Error{fmt::format("field '{}': found {}, expected {}", full(key),
                         value == nullptr ? "nothing" : describe_json(*value), expected)});
}

Status FieldReader::status() const {
  if (failed_) return std::unexpected(error_);
  return {};
}

int32_t FieldReader::integer(std::string_view key, IntRange range) {
  const json* value = find(key);
  const bool whole = value != nullptr && value->is_number_integer();
  // An unsigned number past 2^63 would wrap.
  const bool fits = whole && !(value->is_number_unsigned() &&
                               value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  if (fits) {
    const auto number = value->get<int64_t>();
    if (number >= range.min && number <= range.max) return static_cast<int32_t>(number);
  }
  fail(key, fmt::format("an integer from {} to {}", range.min, range.max));
  return static_cast<int32_t>(range.min);
}

int32_t FieldReader::integer_or(std::string_view key, IntRange range, int32_t otherwise) {
  return has(key) ? integer(key, range) : otherwise;
}

float FieldReader::number(std::string_view key, NumberRange range) {
  const json* value = find(key);
  if (value != nullptr && value->is_number()) {
    const auto number = value->get<double>();
    if (std::isfinite(number) && number >= range.min && number <= range.max) {
      return static_cast<float>(number);
    }
  }
  fail(key, fmt::format("a number from {} to {}", range.min, range.max));
  return static_cast<float>(range.min);
}

float FieldReader::number_or(std::string_view key, NumberRange range, float otherwise) {
  return has(key) ? number(key, range) : otherwise;
}

bool FieldReader::boolean_or(std::string_view key, bool otherwise) {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  fail(key, "true or false");
  return otherwise;
}

std::string FieldReader::string(std::string_view key) {
  const json* value = find(key);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  fail(key, "a string");
  return "";
}

std::string FieldReader::string_or(std::string_view key, std::string_view otherwise) {
  return has(key) ? string(key) : std::string(otherwise);
}

}  // namespace nereid
