// What every Exchange does alike: JSON answers, errors in OpenAI's shape, single events.
#include "src/server/exchange.h"

#include <nlohmann/json.hpp>

namespace nereid::server {
namespace {

std::string_view usual_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

}  // namespace

std::string error_body(int status, const ApiError& error) {
  nlohmann::ordered_json inner;
  inner["message"] = error.message;
  inner["type"] = error.type.empty() ? std::string(usual_type(status)) : error.type;
  inner["param"] = text_or_null(error.param);
  inner["code"] = text_or_null(error.code);
  const nlohmann::ordered_json outer = {{"error", std::move(inner)}};
  return outer.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Awaitable<bool> Exchange::respond_json(int status, std::string body, Headers headers) {
  return respond(status, "application/json", std::move(body), std::move(headers));
}

Awaitable<bool> Exchange::respond_error(int status, const ApiError& error, Headers headers) {
  return respond_json(status, error_body(status, error), std::move(headers));
}

Awaitable<bool> Exchange::send_event(std::string_view data, std::string_view name) {
  add_event(data, name);
  return flush_events();
}

}  // namespace nereid::server
