// JSON from files that nobody vouches for: size and depth limits, duplicate keys refused, and
// errors that say at which byte. Nothing here throws.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

struct JsonLimits {
  uint64_t max_bytes = uint64_t{64} << 20;
  int max_depth = 64;  // nested arrays and objects
};

// Errors: too large, too deep, not valid JSON, invalid UTF-8 in a string, a key twice in one
// object.
Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits = {});

// A short description of a value for error messages: "42", "'abc'", "an array", "nothing" for null.
std::string describe_json(const nlohmann::json& value);

// Text from a file made fit for a one-line message: control and non-ASCII bytes escaped, cut at
// `max_shown`.
std::string printable(std::string_view text, size_t max_shown = 64);

}  // namespace nereid
