// The handlers of the table in ../routes.cc, one file each.
#pragma once

#include "src/server/exchange.h"

namespace nereid::server {

struct ServerContext;

Awaitable<> handle_page(Exchange& exchange, ServerContext& context);
Awaitable<> handle_health(Exchange& exchange, ServerContext& context);
Awaitable<> handle_ready(Exchange& exchange, ServerContext& context);
Awaitable<> handle_version(Exchange& exchange, ServerContext& context);
Awaitable<> handle_metrics(Exchange& exchange, ServerContext& context);
Awaitable<> handle_openapi(Exchange& exchange, ServerContext& context);
Awaitable<> handle_models(Exchange& exchange, ServerContext& context);
Awaitable<> handle_model(Exchange& exchange, ServerContext& context);
Awaitable<> handle_completions(Exchange& exchange, ServerContext& context);
Awaitable<> handle_chat_completions(Exchange& exchange, ServerContext& context);
Awaitable<> handle_responses(Exchange& exchange, ServerContext& context);
Awaitable<> handle_tokenize(Exchange& exchange, ServerContext& context);
Awaitable<> handle_detokenize(Exchange& exchange, ServerContext& context);

}  // namespace nereid::server
