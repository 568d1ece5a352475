// The body of /v1/completions.
#include "src/server/openai/generation.h"
#include "src/server/openai/parse.h"

namespace nereid::openai {
namespace {

constexpr KnownField kOtherCompletionFields[] = {
    {"user", Unread::kAccepted},
    {"store", Unread::kOnlyDefault, "false"},
    {"suffix"},
};

void read_token_list(Fields& body, const ApiModel& model, const Json& list,
                     std::vector<Prompt>& out) {
  if (list.empty()) {
    body.fail("prompt", "invalid_value", "found an empty prompt, expected at least one token");
    return;
  }
  if (list.size() > static_cast<size_t>(model.max_context)) {
    body.fail("prompt", "context_length_exceeded",
              "found {} tokens, but the model's context is {} tokens", list.size(),
              model.max_context);
    return;
  }
  std::vector<int32_t> ids;
  read_token_ids(body, "prompt", list, model.vocab_size, ids);
  out.emplace_back(std::move(ids));
}

// string | [string, ...] | [id, ...] | [[id, ...], ...]
void read_prompts(Fields& body, const ApiModel& model, std::vector<Prompt>& out) {
  const Json* prompt = body.find("prompt");
  if (!prompt) {
    body.fail("prompt", "missing_required_parameter",
              "missing, expected a string, an array of strings, or token ids");
    return;
  }
  if (prompt->is_string()) {
    out.emplace_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array() || prompt->empty()) {
    body.expect("prompt", *prompt, "a string, an array of strings, or token ids");
    return;
  }
  if (prompt->front().is_number()) {
    read_token_list(body, model, *prompt, out);
    return;
  }
  if (prompt->size() > static_cast<size_t>(model.limits.max_prompts)) {
    body.fail("prompt", "invalid_value", "found {} prompts, expected at most {}", prompt->size(),
              model.limits.max_prompts);
    return;
  }
  for (const Json& entry : *prompt) {
    if (!body.ok()) return;
    if (entry.is_string()) {
      out.emplace_back(entry.get<std::string>());
    } else if (entry.is_array()) {
      read_token_list(body, model, entry, out);
    } else {
      body.expect("prompt", entry, "a string, an array of strings, or token ids");
    }
  }
}

void read_counts(Fields& body, const ApiModel& model, CompletionRequest& out) {
  GenerationRequest& generation = out.generation;
  // 0 only together with echo: the prompt's own log-probabilities.
  generation.max_tokens = static_cast<int32_t>(
      body.integer("max_tokens", out.echo ? 0 : 1, model.max_context).value_or(16));
  if (const auto logprobs = body.integer("logprobs", 0, model.limits.max_logprobs)) {
    generation.top_logprobs = static_cast<int32_t>(*logprobs);
  }
  if (const auto best_of = body.integer("best_of", 1, INT32_MAX);
      best_of && *best_of != generation.n) {
    body.fail("best_of", "unsupported_value", "found {}, expected the same as n ({})", *best_of,
              generation.n);
  }
  const auto choices = out.prompts.size() * static_cast<size_t>(generation.n);
  if (body.ok() && choices > static_cast<size_t>(model.limits.max_choices)) {
    body.fail("n", "invalid_value", "found {} choices for {} prompts, expected at most {} in all",
              generation.n, out.prompts.size(), model.limits.max_choices);
  }
}

}  // namespace

ApiResult<CompletionRequest> parse_completion(std::string_view text, const ApiModel& model) {
  API_TRY(const Json document, parse_body(text, {.max_nesting = model.limits.max_nesting}));
  std::optional<ApiError> failure;
  Fields body(document, "", failure);
  std::vector<std::string_view> read(generation_names().begin(), generation_names().end());
  read.insert(read.end(), {"prompt", "echo", "logprobs", "max_tokens", "best_of"});
  body.check_known(read, kOtherCompletionFields);
  CompletionRequest out;
  read_generation(body, model, out.generation);
  read_prompts(body, model, out.prompts);
  out.echo = body.boolean("echo").value_or(false);
  read_counts(body, model, out);
  if (failure) return std::unexpected(std::move(*failure));
  return out;
}

}  // namespace nereid::openai
