// A conversation as clients send it, made into what chat templates take.
#pragma once

#include <optional>

#include "src/server/openai/fields.h"
#include "src/server/openai/request.h"

namespace nereid::openai {

// Appends to `out`, which templates read: role (developer becomes system), content as one string
// (text parts joined by line breaks), tool calls with their arguments as JSON values, tool_call_id,
// name and reasoning_content.
void read_messages(Fields& body, const ApiModel& model, Json& out);

// Text, or an array of parts of one of the given types, each with a "text"; what it says joined by
// line breaks. Other kinds of parts (images, sound, files) are refused by name.
std::optional<std::string> read_content(Fields& message, std::string_view name,
                                        std::span<const std::string_view> part_types);

// "arguments" of a call: JSON text of an object, as a JSON value.
Json read_arguments(Fields& call, std::string_view name, const ApiModel& model);

}  // namespace nereid::openai
