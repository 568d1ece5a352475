// Reads typed, range-checked fields from a JSON object (config.json, or the scalar metadata of a
// GGUF file turned into one). The first failure is kept; readers then return defaults, so that a
// config is read straight down and checked once with status().
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

struct IntRange {
  int64_t min, max;
};
struct NumberRange {
  double min, max;
};

class FieldReader {
 public:
  // `object` must outlive the reader. `prefix` is put before every key, for messages and look-ups.
  explicit FieldReader(const nlohmann::json& object, std::string prefix = "");

  // A key that is absent or null counts as absent.
  bool has(std::string_view key) const;
  const nlohmann::json* find(std::string_view key) const;  // nullptr when absent

  int32_t integer(std::string_view key, IntRange range);
  int32_t integer_or(std::string_view key, IntRange range, int32_t otherwise);
  float number(std::string_view key, NumberRange range);
  float number_or(std::string_view key, NumberRange range, float otherwise);
  bool boolean_or(std::string_view key, bool otherwise);
  std::string string(std::string_view key);
  std::string string_or(std::string_view key, std::string_view otherwise);

  // Records "field 'key': found ..., expected ..." unless something failed before.
  void fail(std::string_view key, const std::string& expected);
  void fail(Error failure);
  Status status() const;

 private:
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  const nlohmann::json& object_;
  std::string prefix_;
  bool failed_ = false;
  Error error_;
};

}  // namespace nereid
