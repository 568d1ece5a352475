// GET /openapi.json: the description of all routes, with the server's version filled in.
#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/embedded.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_openapi(Exchange& exchange, ServerContext& context) {
  auto document = nlohmann::ordered_json::parse(embedded::openapi_json);
  document["info"]["version"] = context.version;
  co_await exchange.respond_json(200, document.dump());
}

}  // namespace nereid::server
