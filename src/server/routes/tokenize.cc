// POST /tokenize, as vLLM has it: a prompt or a conversation -> token ids.
#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/offload.h"
#include "src/server/openai/messages.h"
#include "src/server/openai/tools.h"
#include "src/server/routes/handlers.h"
#include "src/server/routes/text_request.h"

namespace nereid::server {
namespace {

using openai::ApiResult;
using openai::Json;

constexpr std::string_view kRead[] = {"model",
                                      "prompt",
                                      "messages",
                                      "tools",
                                      "add_special_tokens",
                                      "add_generation_prompt",
                                      "return_token_strs"};

struct TokenizeRequest {
  std::string text;  // with the template applied
  bool add_special_tokens = true, strings = false;
};

ApiResult<std::string> render_conversation(openai::Fields& body, const ServerContext& context,
                                           const openai::ApiModel& model) {
  Json conversation = {{"messages", Json::array()}};
  openai::read_messages(body, model, conversation["messages"]);
  openai::ToolRequest tools;
  openai::read_tools(body, model, tools);
  conversation["add_generation_prompt"] = body.boolean("add_generation_prompt").value_or(true);
  if (const auto& failure = body.failure()) return std::unexpected(*failure);
  for (const openai::Tool& tool : tools.tools) conversation["tools"].push_back(tool.definition);
  if (!context.chat_template || *context.chat_template == nullptr) {
    return std::unexpected(openai::invalid("messages", "no_chat_template", "{}",
                                           context.chat_template
                                               ? "the model has no chat template"
                                               : context.chat_template.error().message));
  }
  auto text = (*context.chat_template)->render(openai::dump(conversation));
  if (!text) {
    return std::unexpected(
        openai::invalid("messages", "template_error", "{}", text.error().message));
  }
  return *text;
}

ApiResult<TokenizeRequest> read(const std::string& text, const ServerContext& context) {
  const openai::ApiModel model = api_model(context);
  API_TRY(const Json document, openai::parse_body(text));
  std::optional<openai::ApiError> failure;
  openai::Fields body(document, "", failure);
  TokenizeRequest request;
  body.check_known(kRead, {});
  check_model(body, context);
  const std::string* prompt = body.string("prompt");
  const bool conversation = body.find("messages") != nullptr;
  if (prompt != nullptr && conversation) {
    body.fail("messages", "invalid_value", "prompt is there too, expected one of them");
  } else if (prompt == nullptr && !conversation) {
    body.fail("prompt", "missing_required_parameter", "missing, expected a string (or messages)");
  }
  request.add_special_tokens = body.boolean("add_special_tokens").value_or(!conversation);
  request.strings = body.boolean("return_token_strs").value_or(false);
  if (failure) return std::unexpected(*failure);
  if (conversation) {
    API_TRY(request.text, render_conversation(body, context, model));
  } else {
    request.text = *prompt;
  }
  return request;
}

ApiResult<std::string> tokenize(const std::string& body, const ServerContext& context) {
  API_TRY(const TokenizeRequest request, read(body, context));
  API_TRY(const auto tokenizer, tokenizer_of(context));
  const auto ids =
      tokenizer->encode(request.text, {.add_special_tokens = request.add_special_tokens});
  if (!ids) {
    return std::unexpected(openai::invalid("prompt", "invalid_value", "{}", ids.error().message));
  }
  Json answer = {{"count", ids->size()},
                 {"max_model_len", context.engine.max_context()},
                 {"tokens", *ids},
                 {"token_strs", nullptr}};
  if (request.strings) {
    Json strings = Json::array();
    for (const int32_t id : *ids) strings.push_back(tokenizer->id_to_token(id));
    answer["token_strs"] = std::move(strings);
  }
  return openai::dump(answer);
}

}  // namespace

Awaitable<> handle_tokenize(Exchange& exchange, ServerContext& context) {
  co_await answer_text(exchange, co_await offload(context.workers, [&] {
                         return tokenize(exchange.body(), context);
                       }));
}

}  // namespace nereid::server
