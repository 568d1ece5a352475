// Generating and scoring, one sequence at a time.
#include "src/engine/model_engine.h"

#include <algorithm>
#include <limits>

#include "src/base/check.h"
#include "src/base/stopwatch.h"

namespace nereid {

namespace {

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

}  // namespace

Status ModelEngine::check_ids(std::span<const int32_t> ids, int64_t extra_tokens) const {
  if (ids.empty()) return error("prompt: found no tokens, expected at least one");
  const int32_t vocab_size = config().vocab_size;
  for (size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < 0 || ids[position] >= vocab_size) {
      return error("prompt: found token id {} at position {}, expected 0 to {}", ids[position],
                   position, vocab_size - 1);
    }
  }
  const auto total = static_cast<int64_t>(ids.size()) + extra_tokens;
  if (total > max_context_) {
    return error("prompt: found {} tokens, expected at most {} (--max-model-len)", ids.size(),
                 max_context_ - extra_tokens);
  }
  return {};
}

Result<Tensor> ModelEngine::prefill(Sequence& sequence, const std::atomic<bool>* cancel) {
  const StepLimits& limits = runner_->limits();
  NEREID_RETURN_IF_ERROR(sequence.reserve(limits.page_size));
  Tensor logits;
  while (sequence.pending() > 0 && !is_set(cancel)) {
    const int32_t count = std::min(sequence.pending(), limits.max_rows);
    const bool last = count == sequence.pending();
    const SequenceSlice slice = sequence.slice(count, last ? LogitRows::kLast : LogitRows::kNone);
    profile_.set_step({.sequences = 1, .queries = count, .context = sequence.cached() + count});
    NEREID_TRY(logits, runner_->forward({&slice, 1}));
    sequence.advance(count);
  }
  return logits;
}

Result<GenerateResult> ModelEngine::generate(const GenerateParams& params) {
  NEREID_RETURN_IF_ERROR(check_ids(params.prompt_ids, 1));
  NEREID_RETURN_IF_ERROR(check_sampling(params.sampling, config().vocab_size));
  if (params.max_tokens < 1) {
    return error("max_tokens: found {}, expected at least 1", params.max_tokens);
  }
  Sequence sequence(*pages_);
  sequence.append(params.prompt_ids);
  if (has_penalties(params.sampling)) {
    NEREID_RETURN_IF_ERROR(runner_->sampler().begin(0, params.prompt_ids));
  }

  GenerateResult result;
  const auto& eos_ids = generation_defaults().eos_ids;
  Stopwatch watch;
  for (bool first = true;; first = false) {
    NEREID_TRY(const Tensor logits, prefill(sequence, params.cancel));
    if (is_set(params.cancel)) {
      result.stop = GenerateResult::Stop::kCancelled;
      break;
    }
    const SampleRow row{.params = &params.sampling, .slot = 0, .position = sequence.size()};
    NEREID_TRY(const auto ids, runner_->sampler().sample(logits, {&row, 1}));
    if (first) result.prefill_seconds = watch.restart();
    if (ids[0] < 0)
      return error("logits: found no number above -inf; the model or its input is broken");
    if (!params.ignore_eos && std::ranges::find(eos_ids, ids[0]) != eos_ids.end()) {
      result.stop = GenerateResult::Stop::kEos;
      break;
    }
    result.token_ids.push_back(ids[0]);
    if (params.on_token) params.on_token(ids[0]);
    const bool full = sequence.size() + 1 >= max_context_;
    if (full || static_cast<int32_t>(result.token_ids.size()) >= params.max_tokens) break;
    sequence.append(ids[0]);
  }
  result.decode_seconds = watch.seconds();
  return result;
}

Result<ScoreResult> ModelEngine::score(const ScoreParams& params) {
  const auto& [ids, top_n, generated_from] = params;
  NEREID_RETURN_IF_ERROR(check_ids(ids, 0));
  if (top_n < 0 || top_n > kMaxTopLogprobs) {
    return error("top logprobs: found {}, expected 0 to {}", top_n, kMaxTopLogprobs);
  }
  const auto all = static_cast<int32_t>(ids.size()), given = generated_from.value_or(all);
  if (given < 1 || given > all) {
    return error("generated_from: found {}, expected 1 to {}", given, all);
  }
  Sequence sequence(*pages_);
  sequence.append(ids.first(static_cast<size_t>(given)));
  for (const int32_t id : ids.subspan(static_cast<size_t>(given))) sequence.append(id);
  NEREID_RETURN_IF_ERROR(sequence.reserve(runner_->limits().page_size));
  ScoreResult result;
  result.logprobs.push_back(std::numeric_limits<float>::quiet_NaN());
  while (sequence.pending() > 0) {
    const int32_t first = sequence.cached();
    const int32_t count =
        first < given ? std::min(given - first, runner_->max_logit_rows()) : int32_t{1};
    const SequenceSlice slice = sequence.slice(count, LogitRows::kAll);
    NEREID_TRY(const Tensor logits, runner_->forward({&slice, 1}));
    std::vector<int32_t> targets;
    for (int32_t position = first + 1; position <= first + count; ++position) {
      targets.push_back(position < sequence.size() ? ids[static_cast<size_t>(position)] : -1);
    }
    NEREID_TRY(auto scores, runner_->sampler().score(logits, targets, top_n));
    result.logprobs.insert(result.logprobs.end(), scores.targets.begin(), scores.targets.end());
    std::ranges::move(scores.best, std::back_inserter(result.top));
    sequence.advance(count);
  }
  result.logprobs.pop_back();  // what follows the last token has no target
  return result;
}

}  // namespace nereid
