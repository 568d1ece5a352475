// GET /v1/models and /v1/models/{model}: the one model that is served.
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/server/context.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

using Json = nlohmann::ordered_json;

Json describe_model(const ServerContext& context) {
  return {{"id", context.model_name},
          {"object", "model"},
          {"created", context.started_unix_s},
          {"owned_by", "nereid"},
          {"max_model_len", context.engine.max_context()}};
}

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Awaitable<> handle_models(Exchange& exchange, ServerContext& context) {
  const Json list = {{"object", "list"}, {"data", Json::array({describe_model(context)})}};
  co_await exchange.respond_json(200, to_text(list));
}

Awaitable<> handle_model(Exchange& exchange, ServerContext& context) {
  if (exchange.path_argument() == context.model_name) {
    co_await exchange.respond_json(200, to_text(describe_model(context)));
    co_return;
  }
  co_await exchange.respond_error(
      404, {.message = fmt::format("the model '{}' does not exist; this server has '{}'",
                                   printable(exchange.path_argument()), context.model_name),
            .param = "model",
            .code = "model_not_found"});
}

}  // namespace nereid::server
