// One step of the serving engine: from the scheduler's batch to the runner, and from its output to
// tokens.
#include <algorithm>
#include <limits>

#include "src/base/check.h"
#include "src/engine/serving_engine.h"

namespace nereid {

bool ServingModelEngine::start_step() {
  const StepBatch& batch = scheduler_.schedule();
  if (batch.empty()) return false;
  note_admitted(batch);
  stage(batch);
  ++counts_.steps;
  counts_.step_tokens_sum += static_cast<uint64_t>(batch.num_tokens);
  for (auto& [bound, count] : counts_.step_tokens) {
    if (batch.num_tokens <= bound) {
      ++count;
      break;
    }
  }
  worker_->start(counted_);
  return true;
}

void ServingModelEngine::note_admitted(const StepBatch& batch) {
  counted_.clear();
  for (const SequenceId id : batch.admitted) {
    const SequenceState& state = scheduler_.state(id);
    Choice& choice = *by_sequence_[id];
    ServingRequest& request = *choice.request;
    if (has_penalties(choice.sampling)) {
      const auto prompt = static_cast<size_t>(state.prompt_size);
      counted_.push_back({.slot = state.slot,
                          .prompt = std::span(state.tokens).first(prompt),
                          .outputs = std::span(state.tokens).subspan(prompt)});
    }
    if (!request.queued) continue;
    request.queued = false;
    request.usage.scheduled = ServeClock::now();
    request.usage.cached_tokens = state.cached_tokens;
    counts_.prompt_tokens += static_cast<uint64_t>(request.usage.prompt_tokens);
    const std::lock_guard lock(mutex_);
    --num_queued_;
  }
}

void ServingModelEngine::stage(const StepBatch& batch) {
  slices_.clear();
  laid_out_.clear();
  drawn_.clear();
  rows_.clear();
  rest_.clear();
  rest_targets_.clear();
  draw_ = {};
  masked_ = false;
  for (const bool decode : {true, false}) {
    for (const StepSlice& slice : batch.slices) {
      if (slice.decode == decode) add_slice(slice);
    }
  }
  model_->runner().stage(
      {.slices = slices_, .rows = rows_, .masked = masked_, .rest_targets = rest_targets_});
}

void ServingModelEngine::add_slice(const StepSlice& slice) {
  const SequenceState& state = scheduler_.state(slice.sequence);
  Choice& choice = *by_sequence_[slice.sequence];
  const ServingRequest& request = *choice.request;
  const bool scores_prompt =
      state.all_logits && !request.prompt_delivered && slice.first < state.prompt_size;
  LogitRows logits = slice.sample ? LogitRows::kLast : LogitRows::kNone;
  if (scores_prompt) logits = slice.sample ? LogitRows::kLastThenRest : LogitRows::kAll;
  slices_.push_back(
      {.tokens = std::span(state.tokens)
                     .subspan(static_cast<size_t>(slice.first), static_cast<size_t>(slice.count)),
       .first_position = slice.first,
       .pages = state.pages,
       .logits = logits,
       .decode = slice.decode});
  laid_out_.push_back(slice);
  if (scores_prompt) {
    const int32_t count = slice.count - int32_t{slice.sample};
    for (int32_t at = slice.first + 1; at <= slice.first + count; ++at) {
      rest_targets_.push_back(state.tokens[static_cast<size_t>(at)]);
    }
    if (count > 0) rest_.push_back({.choice = &choice, .first = slice.first, .count = count});
    draw_.rest_top_n = std::max(draw_.rest_top_n, request.params.top_logprobs);
  }
  if (!slice.sample) return;
  drawn_.push_back(&choice);
  rows_.push_back({.params = &choice.sampling, .slot = state.slot, .position = state.size()});
  draw_.top_n = std::max(draw_.top_n, request.params.top_logprobs);
  masked_ |= choice.matcher != nullptr;
}

// While the device computes the logits.
void ServingModelEngine::compute_masks() {
  if (!masked_) return;
  const auto words = static_cast<size_t>(model_->runner().sampler().mask_words());
  masks_.assign(drawn_.size() * words, ~0U);
  for (size_t row = 0; row < drawn_.size(); ++row) {
    if (!drawn_[row]->matcher) continue;
    const auto mask = std::span(masks_).subspan(row * words, words);
    // An error leaves nothing allowed, and that ends the choice.
    if (!drawn_[row]->matcher->allowed(mask)) std::ranges::fill(mask, 0U);
  }
  draw_.masks = masks_;
}

void ServingModelEngine::finish_step(Result<StepOutput> output) {
  if (!output) {
    cancel_all({.reason = FinishReason::kError, .message = output.error().message});
    return;
  }
  scheduler_.commit();
  take_prompt_scores(*output);
  for (size_t row = 0; row < drawn_.size(); ++row) {
    OutputToken token{.id = output->ids[row], .logprob = std::numeric_limits<float>::quiet_NaN()};
    const int32_t top_n = drawn_[row]->request->params.top_logprobs;
    if (top_n >= 0) {
      token.logprob = output->drawn.targets[row];
      if (top_n > 0) {
        token.top = std::move(output->drawn.best[row]);
        token.top.resize(std::min(token.top.size(), static_cast<size_t>(top_n)));
      }
    }
    take_token(*drawn_[row], output->ids[row], std::move(token));
  }
}

void ServingModelEngine::take_prompt_scores(const StepOutput& output) {
  for (const StepSlice& slice : laid_out_) {
    Choice& choice = *by_sequence_[slice.sequence];
    ServingRequest& request = *choice.request;
    const SequenceState& state = scheduler_.state(slice.sequence);
    if (!state.all_logits || request.prompt_delivered || slice.first != 0) continue;
    request.prompt_tokens.resize(1);  // the first token has no value
    request.prompt_tokens[0] = {.id = state.tokens[0],
                                .logprob = std::numeric_limits<float>::quiet_NaN()};
  }
  size_t row = 0;
  for (const RestRows& rest : rest_) {
    ServingRequest& request = *rest.choice->request;
    const auto top_n = static_cast<size_t>(std::max(request.params.top_logprobs, 0));
    for (int32_t index = 0; index < rest.count; ++index, ++row) {
      OutputToken token{.id = rest_targets_[row], .logprob = output.rest.targets[row]};
      if (top_n > 0) {
        token.top = output.rest.best[row];
        token.top.resize(std::min(token.top.size(), top_n));
      }
      request.prompt_tokens.push_back(std::move(token));
    }
  }
  for (const StepSlice& slice : laid_out_) {
    Choice& choice = *by_sequence_[slice.sequence];
    ServingRequest& request = *choice.request;
    const SequenceState& state = scheduler_.state(slice.sequence);
    if (!state.all_logits || request.prompt_delivered || !slice.sample) continue;
    request.prompt_tokens.resize(static_cast<size_t>(state.prompt_size));
    request.prompt_delivered = true;
    events_.push_back({.kind = Event::Kind::kPrompt, .request = &request});
  }
}

void ServingModelEngine::take_token(Choice& choice, int32_t id, OutputToken token) {
  ServingRequest& request = *choice.request;
  if (id < 0) {
    finish_choice(
        choice, {.reason = FinishReason::kError,
                 .message = choice.matcher ? "the grammar allows no token here"
                                           : "logits: found no number above -inf; the model or its "
                                             "input is broken"});
    return;
  }
  if (is_stop(choice, id, limits_)) {
    finish_choice(choice, {.reason = FinishReason::kStop, .stop_id = id});
    return;
  }
  if (request.usage.output_tokens++ == 0) request.usage.first_token = ServeClock::now();
  ++counts_.generation_tokens;
  events_.push_back({.kind = Event::Kind::kToken,
                     .request = &request,
                     .choice = choice.index,
                     .token = std::move(token)});
  count_output(choice);
  if (choice.matcher) {
    if (const Status taken = choice.matcher->accept(id); !taken) {
      finish_choice(choice, {.reason = FinishReason::kError, .message = taken.error().message});
      return;
    }
    if (choice.matcher->is_complete()) {
      finish_choice(choice, {.reason = FinishReason::kStop});
      return;
    }
  }
  if (choice.num_outputs >= request.params.max_tokens) {
    finish_choice(choice, {.reason = FinishReason::kLength});
    return;
  }
  scheduler_.append(choice.sequence, id);
}

void ServingModelEngine::finish_choice(Choice& choice, const FinishInfo& info) {
  ServingRequest& request = *choice.request;
  NEREID_CHECK(choice.live, "choice {} of request {} has ended", choice.index, request.id);
  request.usage.preemptions += scheduler_.state(choice.sequence).preemptions;
  scheduler_.remove(choice.sequence);
  by_sequence_[choice.sequence] = nullptr;
  choice.live = false;
  events_.push_back(
      {.kind = Event::Kind::kFinish, .request = &request, .choice = choice.index, .finish = info});
  switch (info.reason) {
    case FinishReason::kStop:
      ++counts_.finished_stop;
      break;
    case FinishReason::kLength:
      ++counts_.finished_length;
      break;
    case FinishReason::kCancelled:
      ++counts_.finished_cancelled;
      break;
    case FinishReason::kError:
      ++counts_.finished_error;
      break;
  }
  if (--request.unfinished > 0) return;
  request.usage.finished = ServeClock::now();
  if (request.queued) {
    const std::lock_guard lock(mutex_);
    --num_queued_;
  }
  events_.push_back({.kind = Event::Kind::kDone, .request = &request});
  const auto entry = requests_.find(request.id);
  finished_.push_back(std::move(entry->second));
  requests_.erase(entry);
}

}  // namespace nereid
