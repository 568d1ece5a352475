// Checks requests and keeps the per-choice rules: stop tokens, bans until min_tokens, seeds.
#include "src/engine/serving_request.h"

#include <algorithm>
#include <limits>

#include "src/engine/sampler.h"

namespace nereid {

namespace {

constexpr int32_t kMaxChoices = 128;

template <typename... Args>
std::unexpected<SubmitError> invalid(std::string_view parameter, fmt::format_string<Args...> text,
                                     Args&&... args) {
  return std::unexpected(SubmitError{.kind = SubmitError::Kind::kInvalid,
                                     .parameter = std::string(parameter),
                                     .message = fmt::format(text, std::forward<Args>(args)...)});
}

std::expected<void, SubmitError> check_ids(const char* parameter, std::span<const int32_t> ids,
                                           int32_t vocab_size) {
  for (size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < 0 || ids[position] >= vocab_size) {
      return invalid(parameter, "{}: found token id {} at position {}, expected 0 to {}", parameter,
                     ids[position], position, vocab_size - 1);
    }
  }
  return {};
}

std::expected<void, SubmitError> check_range(const char* parameter, int64_t value, int64_t low,
                                             int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid(parameter, "{}: found {}, expected {} to {}", parameter, value, low, high);
}

size_t num_banned(const Choice& choice) {
  return choice.sampling.logit_bias.size() - choice.request->params.sampling.logit_bias.size();
}

}  // namespace

#define NEREID_SUBMIT_TRY(expression)                   \
  if (auto checked = (expression); !checked) {          \
    return std::unexpected(std::move(checked.error())); \
  }

std::expected<ServeRequest, SubmitError> check_request(ServeRequest request,
                                                       const ModelLimits& limits) {
  if (request.prompt_ids.empty()) {
    return invalid("prompt", "prompt: found no tokens, expected at least one");
  }
  const auto size = static_cast<int64_t>(request.prompt_ids.size());
  if (size >= limits.max_context) {
    return invalid("prompt",
                   "prompt: found {} tokens, expected at most {} (the context of {} less "
                   "one to generate)",
                   size, limits.max_context - 1, limits.max_context);
  }
  NEREID_SUBMIT_TRY(check_ids("prompt", request.prompt_ids, limits.vocab_size));
  NEREID_SUBMIT_TRY(check_ids("stop_token_ids", request.stop_ids, limits.vocab_size));
  NEREID_SUBMIT_TRY(check_range("n", request.n, 1, kMaxChoices));
  NEREID_SUBMIT_TRY(
      check_range("max_tokens", request.max_tokens, 1, std::numeric_limits<int32_t>::max()));
  NEREID_SUBMIT_TRY(check_range("min_tokens", request.min_tokens, 0, request.max_tokens));
  NEREID_SUBMIT_TRY(check_range("top_logprobs", request.top_logprobs, -1, kMaxTopLogprobs));
  NEREID_SUBMIT_TRY(check_range("priority", request.priority, -100, 100));
  if (request.stop_ids.size() + limits.eos_ids.size() > Sampler::kMaxBanned) {
    return invalid("stop_token_ids", "stop_token_ids: found {}, expected at most {}",
                   request.stop_ids.size(), Sampler::kMaxBanned - limits.eos_ids.size());
  }
  if (const Status valid = check_sampling(request.sampling, limits.vocab_size); !valid) {
    const std::string& message = valid.error().message;
    return std::unexpected(
        SubmitError{.parameter = message.substr(0, message.find(':')), .message = message});
  }
  request.max_tokens =
      std::min(request.max_tokens, limits.max_context - static_cast<int32_t>(size));
  return request;
}

Status make_choices(ServingRequest& request, const ModelLimits& limits) {
  const ServeRequest& params = request.params;
  request.choices.resize(static_cast<size_t>(params.n));
  request.unfinished = params.n;
  for (size_t index = 0; index < request.choices.size(); ++index) {
    Choice& choice = request.choices[index];
    choice.request = &request;
    choice.index = static_cast<int32_t>(index);
    choice.sampling = params.sampling;
    choice.sampling.seed += index;
    if (params.grammar) {
      NEREID_TRY(choice.matcher, params.grammar->start());
    }
    if (params.min_tokens == 0) continue;
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    for (const int32_t id : params.stop_ids) choice.sampling.logit_bias.emplace_back(id, kNever);
    if (params.ignore_eos) continue;
    for (const int32_t id : limits.eos_ids) choice.sampling.logit_bias.emplace_back(id, kNever);
  }
  return {};
}

bool is_stop(const Choice& choice, int32_t id, const ModelLimits& limits) {
  const ServeRequest& params = choice.request->params;
  // Under a grammar, end of sequence is what the grammar allows where the output may end.
  const bool eos_counts = !params.ignore_eos || choice.matcher;
  return (eos_counts && std::ranges::find(limits.eos_ids, id) != limits.eos_ids.end()) ||
         std::ranges::find(params.stop_ids, id) != params.stop_ids.end();
}

void count_output(Choice& choice) {
  const ServeRequest& params = choice.request->params;
  if (++choice.num_outputs == params.min_tokens && num_banned(choice) > 0) {
    choice.sampling.logit_bias.resize(params.sampling.logit_bias.size());
  }
}

}  // namespace nereid
