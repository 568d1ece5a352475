// Engine::bench: prefill and decode speed of a batch, as `nereid bench` reports it.
#include <algorithm>

#include "src/base/check.h"
#include "src/base/stopwatch.h"
#include "src/engine/measure_limits.h"
#include "src/engine/model_engine.h"

namespace nereid {

namespace {

// Spread over the vocabulary, the same in every run.
std::vector<int32_t> bench_tokens(int32_t count, int32_t vocab_size) {
  std::vector<int32_t> ids;
  for (int64_t index = 0; index < count; ++index) {
    ids.push_back(static_cast<int32_t>((index * 7919 + 100) % vocab_size));
  }
  return ids;
}

std::vector<SampleRow> greedy_rows(const SamplingParams& greedy, std::span<const int32_t> order) {
  std::vector<SampleRow> rows;
  for (const int32_t slot : order) rows.push_back({.params = &greedy, .slot = slot, .position = 0});
  return rows;
}

}  // namespace

// Seconds to compute `tokens` tokens of every sequence and to choose one token after each.
Result<double> ModelEngine::bench_prefill(std::vector<Sequence>& sequences, int32_t tokens) {
  const auto ids = bench_tokens(tokens, config().vocab_size);
  const SamplingParams greedy;
  for (Sequence& sequence : sequences) sequence.append(ids);
  const Stopwatch watch;
  for (Sequence& sequence : sequences) {
    NEREID_TRY(const Tensor logits, prefill(sequence, nullptr));
    NEREID_TRY(const auto chosen,
               runner_->sampler().sample(logits, greedy_rows(greedy, std::vector<int32_t>{0})));
    NEREID_CHECK(chosen.size() == 1, "{} tokens", chosen.size());
  }
  return watch.seconds();
}

// Seconds of `steps` steps, each computing and choosing one token of every sequence.
Result<double> ModelEngine::bench_decode(std::vector<Sequence>& sequences, int32_t steps) {
  const SamplingParams greedy;
  std::vector<int32_t> next(sequences.size(), 1);
  const Stopwatch watch;
  for (int32_t step = 0; step < steps; ++step) {
    std::vector<SequenceSlice> slices;
    for (size_t index = 0; index < sequences.size(); ++index) {
      sequences[index].append(next[index]);
      NEREID_RETURN_IF_ERROR(sequences[index].reserve(runner_->limits().page_size));
      slices.push_back(sequences[index].slice(1, LogitRows::kLast));
    }
    profile_.set_step({.sequences = static_cast<int32_t>(sequences.size()),
                       .queries = 1,
                       .context = sequences.front().size()});
    NEREID_TRY(const Tensor logits, runner_->forward(slices));
    const auto order = runner_->plan().order();
    NEREID_TRY(const auto chosen, runner_->sampler().sample(logits, greedy_rows(greedy, order)));
    for (size_t row = 0; row < chosen.size(); ++row) {
      const auto index = static_cast<size_t>(order[row]);
      next[index] = std::max(chosen[row], 0);
      sequences[index].advance(1);
    }
  }
  return watch.seconds();
}

Result<BenchPoint> ModelEngine::bench(int32_t prefill, int32_t decode, int32_t context,
                                      int32_t batch) {
  if (batch < 1 || batch > runner_->limits().max_sequences) {
    return error("batch: found {}, expected 1 to {}", batch, runner_->limits().max_sequences);
  }
  if (prefill < 0 || decode < 0 || context < 0 || prefill > max_context_ ||
      int64_t{context} + decode > max_context_) {
    return error("bench: found prefill {}, decode {} at context {}, expected at most {} tokens",
                 prefill, decode, context, max_context_);
  }
  BenchPoint point;
  std::vector<Sequence> sequences;
  for (int32_t index = 0; index < batch; ++index) sequences.emplace_back(*pages_);
  if (prefill > 0) {
    NEREID_TRY(const double seconds, bench_prefill(sequences, prefill));
    point.prefill = double{1} * batch * prefill / seconds;
    for (Sequence& sequence : sequences) sequence.clear();
  }
  if (decode > 0) {
    if (context > 0) {
      NEREID_RETURN_IF_ERROR(bench_prefill(sequences, context));
    }
    NEREID_TRY(const double seconds, bench_decode(sequences, decode));
    point.decode = double{1} * batch * decode / seconds;
  }
  return point;
}

Result<MachineLimits> ModelEngine::limits() {
  return measure_limits(*device_, on_pack_progress_);
}

// Seconds of the step, from the same state every time.
Result<double> ModelEngine::profile_once(const StepChoice& choice,
                                         std::vector<Sequence>& sequences) {
  if (choice.prefill == 0) return bench_decode(sequences, 1);
  sequences.front().clear();
  return bench_prefill(sequences, choice.prefill);
}

Result<StepProfile> ModelEngine::profile(const StepChoice& choice) {
  NEREID_CHECK(profiled_device_ != nullptr, "loaded without LoadOptions::profile");
  const bool decode = choice.prefill == 0;
  const int32_t batch = decode ? choice.batch : 1;
  if (batch < 1 || batch > runner_->limits().max_sequences) {
    return error("batch: found {}, expected 1 to {}", batch, runner_->limits().max_sequences);
  }
  // A decode step lengthens its sequences by one.
  const int32_t repeat = choice.costs_only ? 1 : choice.repeat;
  const int64_t steps = choice.costs_only ? 1 : 2 * int64_t{repeat} + 1;
  if (repeat < 1 || choice.prefill < 0 || choice.prefill > max_context_ ||
      (decode && (choice.context < 1 || choice.context + steps > max_context_))) {
    return error(
        "profile: found prefill {}, or {} decode steps at context {}, expected at most {} tokens",
        choice.prefill, steps, choice.context, max_context_);
  }
  std::vector<Sequence> sequences;
  for (int32_t index = 0; index < batch; ++index) sequences.emplace_back(*pages_);
  if (decode) NEREID_RETURN_IF_ERROR(bench_prefill(sequences, choice.context));
  if (!choice.costs_only) NEREID_RETURN_IF_ERROR(profile_once(choice, sequences));  // warms up
  StepProfiler profiler;
  for (int32_t round = 0; round < repeat; ++round) {
    if (!choice.costs_only) {
      NEREID_TRY(const double plain, profile_once(choice, sequences));
      profiler.add_plain(plain);
    }
    profile_.start();
    const auto profiled = profile_once(choice, sequences);
    profile_.stop();
    NEREID_RETURN_IF_ERROR(profiled);
    profiler.add_profiled(profile_, *profiled);
  }
  return profiler.result();
}

}  // namespace nereid
