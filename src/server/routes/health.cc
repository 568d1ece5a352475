// GET /health: the process lives and its HTTP threads answer.
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_health(Exchange& exchange, ServerContext&) {
  co_await exchange.respond_json(200, R"({"status":"ok"})");
}

}  // namespace nereid::server
