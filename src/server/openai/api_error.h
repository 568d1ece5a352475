// Errors in the shape that OpenAI's clients know: an HTTP status and
// {"error": {"message", "type", "param", "code"}}. What a client sent is an ApiError, never a
// CHECK.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "src/engine/serving.h"

namespace nereid::openai {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  // the parameter's path: "messages[2].content"; empty: null in the JSON
  std::string code;   // for programs: "invalid_type"; empty: null in the JSON
};

template <typename T>
using ApiResult = std::expected<T, ApiError>;
using ApiStatus = std::expected<void, ApiError>;

// 400 about one parameter: invalid("n", "invalid_value", "found {}, expected {}", ...); the
// parameter's name is put before the message.
template <typename... Args>
ApiError invalid(std::string_view param, std::string_view code, fmt::format_string<Args...> format,
                 Args&&... args) {
  std::string message = fmt::format(format, std::forward<Args>(args)...);
  if (!param.empty()) message = fmt::format("{}: {}", param, message);
  return {.message = std::move(message), .param = std::string(param), .code = std::string(code)};
}

ApiError model_not_found(std::string_view model);
// 500: the engine could not go on with a request, or a bug outside of any request's content.
ApiError server_error(std::string message);
// kInvalid: 400, kQueueFull: 429, kShuttingDown: 503.
ApiError from_submit_error(const SubmitError& error);

// The body of the response, or the data of a stream's error event.
std::string error_body(const ApiError& error);

}  // namespace nereid::openai

// API_TRY(auto x, expr): x = value of the ApiResult, or return its error from this function.
#define API_TRY(decl, expr) API_TRY_IMPL(NEREID_CONCAT(api_try_, __COUNTER__), decl, expr)
#define API_TRY_IMPL(tmp, decl, expr)                       \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp.error())); \
  decl = std::move(*tmp)
#define API_RETURN_IF_ERROR(expr)                                           \
  do {                                                                      \
    auto api_status = (expr);                                               \
    if (!api_status) return std::unexpected(std::move(api_status.error())); \
  } while (0)
