// GET /version: {"version": "0.1.0"}.
#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_version(Exchange& exchange, ServerContext& context) {
  const nlohmann::json answer = {{"version", context.version}};
  co_await exchange.respond_json(200, answer.dump());
}

}  // namespace nereid::server
