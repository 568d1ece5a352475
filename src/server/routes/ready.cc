// GET /ready: whether new requests are taken; what a load balancer asks.
#include "src/server/context.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_ready(Exchange& exchange, ServerContext& context) {
  if (context.draining) {
    co_await exchange.respond_error(503, {.message = "the server is shutting down"});
    co_return;
  }
  co_await exchange.respond_json(200, R"({"status":"ready"})");
}

}  // namespace nereid::server
