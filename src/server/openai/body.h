// A request's body as a checked JSON document. Hostile bytes are the rule: size of nesting, number
// of members and duplicate keys are checked before or while parsing, and nothing throws.
//
// Objects keep their order: a JSON schema's properties, and what a chat template prints, come in
// the order in which the client wrote them.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "src/server/openai/api_error.h"

namespace nereid::openai {

using Json = nlohmann::ordered_json;

struct BodyLimits {
  int max_nesting = 64;                 // arrays and objects inside each other
  int max_members = 2048;               // of one object; a lookup in an ordered object is linear
  size_t max_values = size_t{1} << 20;  // in all; each takes many times its bytes once parsed
};

// The body must be one JSON object.
ApiResult<Json> parse_body(std::string_view text, const BodyLimits& limits = {});
// Any JSON value, for JSON inside of strings (a tool call's arguments).
ApiResult<Json> parse_json_text(std::string_view text, std::string_view param,
                                const BodyLimits& limits = {});

// Short, fit for a message: "'abc'", "42", "an array".
std::string describe(const Json& value);
// Compact text; always valid JSON.
std::string dump(const Json& value);

}  // namespace nereid::openai
