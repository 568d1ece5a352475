// What /tokenize and /detokenize have in common.
#pragma once

#include <memory>
#include <string>

#include "src/server/context.h"
#include "src/server/exchange.h"
#include "src/server/openai/fields.h"
#include "src/server/openai/request.h"

namespace nereid::server {

openai::ApiModel api_model(const ServerContext& context);
// "model" may be absent; another model's name is an error.
void check_model(openai::Fields& body, const ServerContext& context);
openai::ApiResult<std::shared_ptr<const text::Tokenizer>> tokenizer_of(
    const ServerContext& context);
// The JSON, or the error with its status.
Awaitable<> answer_text(Exchange& exchange, openai::ApiResult<std::string> answer);

}  // namespace nereid::server
