// The table itself, and how a request finds its line.
#include "src/server/routes.h"

#include <algorithm>
#include <array>

#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

constexpr std::array kRoutes = {
    Route{.method = "GET", .path = "/", .handler = handle_page, .needs_key = false},
    Route{.method = "GET", .path = "/health", .handler = handle_health, .needs_key = false},
    Route{.method = "GET", .path = "/ready", .handler = handle_ready, .needs_key = false},
    Route{.method = "GET", .path = "/version", .handler = handle_version},
    Route{.method = "GET", .path = "/metrics", .handler = handle_metrics},
    Route{.method = "GET", .path = "/openapi.json", .handler = handle_openapi},
    Route{.method = "GET", .path = "/v1/models", .handler = handle_models},
    Route{.method = "GET", .path = "/v1/models/{model}", .handler = handle_model},
    Route{.method = "POST", .path = "/v1/completions", .handler = handle_completions},
    Route{.method = "POST", .path = "/v1/chat/completions", .handler = handle_chat_completions},
    Route{.method = "POST", .path = "/v1/responses", .handler = handle_responses},
    Route{.method = "POST", .path = "/tokenize", .handler = handle_tokenize},
    Route{.method = "POST", .path = "/detokenize", .handler = handle_detokenize},
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "%2F" becomes "/"; what is not a valid escape stays as it is.
std::string percent_decode(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool escape = text[at] == '%' && at + 2 < text.size();
    const int high = escape ? hex_digit(text[at + 1]) : -1;
    const int low = escape ? hex_digit(text[at + 2]) : -1;
    if (high < 0 || low < 0) {
      result += text[at];
    } else {
      result += static_cast<char>(high * 16 + low);
      at += 2;
    }
  }
  return result;
}

bool matches(const Route& route, std::string_view path, std::string& argument) {
  const size_t brace = route.path.find('{');
  if (brace == std::string_view::npos) return path == route.path;
  const std::string_view prefix = route.path.substr(0, brace);
  if (!path.starts_with(prefix) || path.size() == prefix.size()) return false;
  argument = percent_decode(path.substr(prefix.size()));
  return true;
}

}  // namespace

std::span<const Route> routes() {
  return kRoutes;
}

RouteMatch find_route(std::span<const Route> table, std::string_view method,
                      std::string_view path) {
  RouteMatch match;
  if (method == "HEAD") method = "GET";
  for (const Route& route : table) {
    if (!matches(route, path, match.argument)) continue;
    if (route.method == method) {
      match.route = &route;
      return match;
    }
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  return match;
}

}  // namespace nereid::server
