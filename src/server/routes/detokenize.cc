// POST /detokenize, as vLLM has it: token ids -> text.
#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/offload.h"
#include "src/server/openai/generation.h"
#include "src/server/routes/handlers.h"
#include "src/server/routes/text_request.h"

namespace nereid::server {
namespace {

using openai::ApiResult;
using openai::Json;

constexpr std::string_view kRead[] = {"model", "tokens"};

ApiResult<std::string> detokenize(const std::string& text, const ServerContext& context) {
  API_TRY(const Json document, openai::parse_body(text));
  std::optional<openai::ApiError> failure;
  openai::Fields body(document, "", failure);
  body.check_known(kRead, {});
  check_model(body, context);
  std::vector<int32_t> ids;
  if (const Json* tokens = body.array("tokens", SIZE_MAX)) {
    openai::read_token_ids(body, "tokens", *tokens, api_model(context).vocab_size, ids);
  } else {
    body.fail("tokens", "missing_required_parameter", "missing, expected an array of token ids");
  }
  if (failure) return std::unexpected(*failure);
  API_TRY(const auto tokenizer, tokenizer_of(context));
  const auto prompt = tokenizer->decode(ids, /*skip_special_tokens=*/false);
  if (!prompt) {
    return std::unexpected(
        openai::invalid("tokens", "invalid_value", "{}", prompt.error().message));
  }
  return openai::dump({{"prompt", *prompt}});
}

}  // namespace

Awaitable<> handle_detokenize(Exchange& exchange, ServerContext& context) {
  co_await answer_text(exchange, co_await offload(context.workers, [&] {
                         return detokenize(exchange.body(), context);
                       }));
}

}  // namespace nereid::server
