// Typed access to the members of one JSON object of a request. The first thing that is wrong is
// kept and everything after it is "absent", so that a parser reads straight on and asks once, at
// its end. Null counts as absent, as in OpenAI's API.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/server/openai/body.h"

namespace nereid::openai {

// How a parameter is treated that a route's parser does not read.
enum class Unread : uint8_t {
  kAccepted,      // without effect here, by OpenAI's own definition harmless: user, metadata, ...
  kOnlyDefault,   // accepted only with the value that asks for nothing (see KnownField::only)
  kNotSupported,  // refused by name
};

struct KnownField {
  std::string_view name;
  Unread treatment = Unread::kNotSupported;
  std::string_view only =
      {};  // of kOnlyDefault: JSON texts, separated by '|': "false", "1|\"auto\""
};

struct Range {
  double min, max;
  bool min_excluded = false;
};

class Fields {
 public:
  // `object` and `failure` outlive it. `path` comes before names in errors: "messages[0].".
  Fields(const Json& object, std::string path, std::optional<ApiError>& failure)
      : object_(object), path_(std::move(path)), failure_(failure) {}

  bool ok() const { return !failure_; }
  std::string name_of(std::string_view name) const { return path_ + std::string(name); }

  // Null for what is absent, and after a failure.
  const Json* find(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max);
  std::optional<double> number(std::string_view name, const Range& range);
  std::optional<bool> boolean(std::string_view name);
  const std::string* string(std::string_view name);
  const Json* object(std::string_view name);
  const Json* array(std::string_view name, size_t max_size);
  // One of the given texts.
  std::optional<std::string> choice(std::string_view name,
                                    std::span<const std::string_view> choices);
  const std::string& required_string(std::string_view name);  // "" after a failure

  // Refuses members that are neither among `read` nor among `others`; what is among `others` is
  // treated as it says.
  void check_known(std::span<const std::string_view> read, std::span<const KnownField> others);

  // Keeps the error unless there is one already.
  template <typename... Args>
  void fail(std::string_view name, std::string_view code, fmt::format_string<Args...> format,
            Args&&... args) {
    if (!failure_) {
      failure_ = invalid(name_of(name), code, format, std::forward<Args>(args)...);
    }
  }
  void fail(ApiError error) {
    if (!failure_) failure_ = std::move(error);
  }
  void expect(std::string_view name, const Json& found, std::string_view expected);
  std::optional<ApiError>& failure() const { return failure_; }

 private:
  const Json& object_;
  std::string path_;
  std::optional<ApiError>& failure_;
};

// A whole number, also written as 16.0; absent for all else.
std::optional<int64_t> as_integer(const Json& value);

}  // namespace nereid::openai
