// See text_request.h.
#include "src/server/routes/text_request.h"

namespace nereid::server {

openai::ApiModel api_model(const ServerContext& context) {
  return {.name = context.model_name,
          .vocab_size = context.engine.config().vocab_size,
          .max_context = context.engine.max_context(),
          .defaults = context.engine.generation_defaults(),
          .limits = context.options.request};
}

void check_model(openai::Fields& body, const ServerContext& context) {
  const std::string* model = body.string("model");
  if (model != nullptr && *model != context.model_name) {
    body.fail(openai::model_not_found(*model));
  }
}

openai::ApiResult<std::shared_ptr<const text::Tokenizer>> tokenizer_of(
    const ServerContext& context) {
  if (context.tokenizer) return *context.tokenizer;
  return std::unexpected(openai::ApiError{
      .status = 501, .message = context.tokenizer.error().message, .type = "server_error"});
}

Awaitable<> answer_text(Exchange& exchange, openai::ApiResult<std::string> answer) {
  if (answer) {
    co_await exchange.respond_json(200, std::move(*answer));
  } else {
    co_await exchange.respond_json(answer.error().status, openai::error_body(answer.error()));
  }
}

}  // namespace nereid::server
