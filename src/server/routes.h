// The table of routes: what the server answers, and by whom. A new endpoint is a file in routes/
// and a line in routes.cc.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "src/server/exchange.h"

namespace nereid::server {

struct ServerContext;

// Both arguments outlive the coroutine.
using Handler = Awaitable<void> (*)(Exchange& exchange, ServerContext& context);

struct Route {
  std::string_view method;  // "GET" (which also answers HEAD) or "POST" (whose body is JSON)
  // Matches exactly; one that ends in "/{name}" matches any non-empty rest, see
  // Exchange::path_argument().
  std::string_view path;
  Handler handler;
  bool needs_key = true;
};

std::span<const Route> routes();

struct RouteMatch {
  const Route* route = nullptr;  // null: no such path, or not with this method
  std::string argument;          // percent-decoded rest; for routes that take one
  std::string allow;             // methods that the path has; empty: no such path
};
RouteMatch find_route(std::span<const Route> table, std::string_view method, std::string_view path);

}  // namespace nereid::server
