// The body of /v1/chat/completions.
#include "src/base/json.h"
#include "src/server/openai/generation.h"
#include "src/server/openai/messages.h"
#include "src/server/openai/parse.h"
#include "src/server/openai/tools.h"

namespace nereid::openai {
namespace {

constexpr KnownField kOtherChatFields[] = {
    {"user", Unread::kAccepted},
    {"metadata", Unread::kAccepted},
    {"safety_identifier", Unread::kAccepted},
    {"prompt_cache_key", Unread::kAccepted},
    {"store", Unread::kOnlyDefault, "false"},
    {"service_tier", Unread::kOnlyDefault, "\"auto\"|\"default\""},
    {"modalities", Unread::kOnlyDefault, "[\"text\"]"},
    {"audio"},
    {"prediction"},
    {"web_search_options"},
    {"reasoning_effort"},
    {"verbosity"},
    {"functions"},
    {"function_call"},
    {"prompt_cache_retention"},
    {"chat_template"},
    {"continue_final_message"},
    {"add_special_tokens"},
    {"documents"},
    {"best_of"},
    {"echo"},
    {"suffix"},
};

void read_logprobs(Fields& body, const ApiModel& model, GenerationRequest& out) {
  const bool wanted = body.boolean("logprobs").value_or(false);
  const auto top = body.integer("top_logprobs", 0, model.limits.max_logprobs);
  if (top && !wanted) {
    body.fail("top_logprobs", "invalid_value", "only allowed with \"logprobs\": true");
  }
  if (wanted) out.top_logprobs = static_cast<int32_t>(top.value_or(0));
}

void read_max_tokens(Fields& body, const ApiModel& model, GenerationRequest& out) {
  const auto older = body.integer("max_tokens", 1, model.max_context);
  const auto newer = body.integer("max_completion_tokens", 1, model.max_context);
  if (older && newer && *older != *newer) {
    body.fail("max_tokens", "invalid_value", "found {}, but max_completion_tokens is {}", *older,
              *newer);
  }
  if (const auto given = newer ? newer : older) out.max_tokens = static_cast<int32_t>(*given);
}

void read_template_variables(Fields& body, ChatRequest& out) {
  out.add_generation_prompt = body.boolean("add_generation_prompt").value_or(true);
  const Json* variables = body.object("chat_template_kwargs");
  if (!variables) return;
  for (const std::string_view name : {"messages", "tools", "add_generation_prompt"}) {
    if (variables->contains(name)) {
      body.fail(fmt::format("chat_template_kwargs.{}", name), "invalid_value",
                "is a parameter of its own");
    }
  }
  out.template_variables = *variables;
}

// Calls of tools that the model may make are text, which a constraint on the text would forbid.
void check_chat_combination(Fields& body, const ChatRequest& out) {
  const auto& constraint = out.generation.constraint;
  if (!constraint || out.tools.choice == ToolChoice::kNone) return;
  const bool json = constraint->kind == text::GrammarKind::kJsonObject ||
                    constraint->kind == text::GrammarKind::kJsonSchema;
  if (out.tools.choice != ToolChoice::kAuto) {
    body.fail(invalid(constraint->param, "invalid_value",
                      "cannot be combined with a tool_choice that demands a call"));
  } else if (!json) {
    body.fail(invalid(constraint->param, "invalid_value",
                      "cannot be combined with tools, unless tool_choice is none"));
  }
}

}  // namespace

ApiResult<ChatRequest> parse_chat(std::string_view text, const ApiModel& model) {
  API_TRY(const Json document, parse_body(text, {.max_nesting = model.limits.max_nesting}));
  std::optional<ApiError> failure;
  Fields body(document, "", failure);
  std::vector<std::string_view> read(generation_names().begin(), generation_names().end());
  read.insert(read.end(), {"messages", "logprobs", "top_logprobs", "max_tokens",
                           "max_completion_tokens", "add_generation_prompt", "chat_template_kwargs",
                           "tools", "tool_choice", "parallel_tool_calls"});
  body.check_known(read, kOtherChatFields);
  ChatRequest out;
  read_generation(body, model, out.generation);
  read_messages(body, model, out.messages);
  read_logprobs(body, model, out.generation);
  read_max_tokens(body, model, out.generation);
  read_template_variables(body, out);
  read_tools(body, model, out.tools);
  check_chat_combination(body, out);
  if (failure) return std::unexpected(std::move(*failure));
  return out;
}

}  // namespace nereid::openai
