// GET /openapi.json: the description of all routes, with what this server knows filled in: its
// version and the name of its model.
#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/embedded.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_openapi(Exchange& exchange, ServerContext& context) {
  auto document = nlohmann::ordered_json::parse(embedded::openapi_json);
  document["info"]["version"] = context.version;
  auto& schemas = document["components"]["schemas"];
  for (const char* request : {"CompletionRequest", "ChatCompletionRequest", "ResponseRequest"}) {
    schemas[request]["properties"]["model"]["enum"] = {context.model_name};
  }
  co_await exchange.respond_json(200, document.dump());
}

}  // namespace nereid::server
