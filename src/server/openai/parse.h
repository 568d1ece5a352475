// Bodies of the three routes, checked. Pure functions, for use by many threads at once.
//
// A parameter that is neither read nor on the route's list of harmless ones is refused by name.
#pragma once

#include <string_view>

#include "src/server/openai/request.h"

namespace nereid::openai {

ApiResult<CompletionRequest> parse_completion(std::string_view body, const ApiModel& model);
ApiResult<ChatRequest> parse_chat(std::string_view body, const ApiModel& model);
ApiResult<ResponsesRequest> parse_response(std::string_view body, const ApiModel& model);

}  // namespace nereid::openai
