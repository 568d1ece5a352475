// GET /metrics: Prometheus' text format.
#include "src/server/metrics.h"

#include "src/server/context.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {

Awaitable<> handle_metrics(Exchange& exchange, ServerContext& context) {
  co_await exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8",
                            context.metrics.text());
}

}  // namespace nereid::server
