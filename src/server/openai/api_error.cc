// See api_error.h.
#include "src/server/openai/api_error.h"

#include "src/base/json.h"
#include "src/server/openai/json_text.h"

namespace nereid::openai {

ApiError model_not_found(std::string_view model) {
  return {.status = 404,
          .message = fmt::format("The model '{}' does not exist.", printable(model)),
          .param = "model",
          .code = "model_not_found"};
}

ApiError server_error(std::string message) {
  return {.status = 500,
          .message = std::move(message),
          .type = "server_error",
          .param = {},
          .code = "internal_error"};
}

ApiError from_submit_error(const SubmitError& error) {
  switch (error.kind) {
    case SubmitError::Kind::kQueueFull:
      return {.status = 429,
              .message = "The server's queue is full: try again later.",
              .type = "rate_limit_error",
              .param = {},
              .code = "queue_full"};
    case SubmitError::Kind::kShuttingDown:
      return {.status = 503,
              .message = "The server is shutting down.",
              .type = "service_unavailable_error",
              .param = {},
              .code = "shutting_down"};
    case SubmitError::Kind::kInvalid:
      break;
  }
  return invalid(error.parameter, "invalid_value", "{}", error.message);
}

std::string error_body(const ApiError& error) {
  std::string out = R"({"error":{"message":)";
  append_json_string(out, error.message);
  out += R"(,"type":)";
  append_json_string(out, error.type);
  out += R"(,"param":)";
  append_json_string_or_null(out, error.param);
  out += R"(,"code":)";
  append_json_string_or_null(out, error.code);
  out += "}}";
  return out;
}

}  // namespace nereid::openai
