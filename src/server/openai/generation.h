// The parameters that all routes share: sampling, stopping, streaming, and what the output must
// look like.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "src/server/openai/fields.h"
#include "src/server/openai/request.h"

namespace nereid::openai {

// Names that read_generation() and read_constraint() read; each route's list of known names begins
// with them.
std::span<const std::string_view> generation_names();

// `model` is checked: 404 when the model is another. Reads everything but the limits on tokens and
// log-probabilities, which each route names differently.
void read_generation(Fields& body, const ApiModel& model, GenerationRequest& out);

// response_format, guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs: at
// most one of them.
void read_constraint(Fields& body, const ApiModel& model, GenerationRequest& out);

// {"type": "text" | "json_object" | "json_schema", ...}. The schema of a json_schema is in
// "json_schema" (chat) or beside the type (responses: `flat`).
void read_format(const Json& format, std::string_view path, bool flat, const ApiModel& model,
                 std::optional<ApiError>& failure, std::optional<Constraint>& out);

// An array of token ids, all of them in the vocabulary.
void read_token_ids(Fields& body, std::string_view name, const Json& array, int32_t vocab_size,
                    std::vector<int32_t>& out);

}  // namespace nereid::openai
