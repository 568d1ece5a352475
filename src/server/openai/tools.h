// Tools of a request, and the grammar that makes the model call them where the client demands it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "src/server/openai/fields.h"
#include "src/server/openai/request.h"
#include "src/server/openai/tool_format.h"

namespace nereid::openai {

// tools, tool_choice, parallel_tool_calls as chat sends them.
void read_tools(Fields& body, const ApiModel& model, ToolRequest& out);
// The same in the flatter shape of /v1/responses.
void read_flat_tools(Fields& body, const ApiModel& model, ToolRequest& out);

// Whether the vocabulary has this marker as a special token, which no constrained output can have.
using IsSpecial = std::function<bool(std::string_view)>;

// A Lark grammar that admits exactly calls of the request's tools as the format writes them, with
// arguments after each tool's schema; with `answer`, also what that constraint (JSON) admits. The
// caller checks its size.
std::string tool_call_grammar(const ToolRequest& request, const ToolFormat& format,
                              const IsSpecial& is_special, const std::optional<Constraint>& answer);

}  // namespace nereid::openai
