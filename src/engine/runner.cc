// Builds a model's device state and runs steps.
#include "src/engine/runner.h"

#include <algorithm>
#include <numeric>

#include "src/base/check.h"

namespace nereid {

namespace {

StepLimits step_limits(const RunnerOptions& options, const nn::DecoderSpec& spec) {
  const int32_t group = spec.attention.num_heads / spec.attention.num_kv_heads;
  return {.page_size = Runner::kPageSize,
          .max_rows = std::max(Runner::kMaxRows, options.max_batch),
          .max_sequences = options.max_batch,
          .max_pages = (options.max_context + Runner::kPageSize - 1) / Runner::kPageSize,
          .prefill_tile_tokens = std::max(1, Runner::kPrefillTileRows / group),
          .decode_splits = Runner::kDecodeSplits};
}

}  // namespace

Runner::Runner(Launcher& launcher, nn::Decoder decoder, Sampler sampler, Buffer step_buffer,
               const StepLimits& limits)
    : launcher_(&launcher),
      decoder_(std::move(decoder)),
      sampler_(std::move(sampler)),
      step_buffer_(std::move(step_buffer)),
      limits_(limits),
      plan_(limits) {}

Result<std::unique_ptr<Runner>> Runner::create(Launcher& launcher, const ModelSource& source,
                                               nn::DecoderSpec spec, const RunnerOptions& options,
                                               const nn::LoadProgress& progress) {
  const StepLimits limits = step_limits(options, spec);
  const int32_t logit_rows = std::max(kMinLogitRows, options.max_batch);
  const nn::DecoderLimits decoder_limits = {.max_rows = limits.max_rows,
                                            .max_logit_rows = logit_rows,
                                            .max_decode_rows = options.max_batch,
                                            .max_context = options.max_context,
                                            .decode_splits = limits.decode_splits,
                                            .page_size = limits.page_size,
                                            .num_pages = limits.max_pages * options.max_batch};
  const int32_t vocab_size = spec.vocab_size;
  NEREID_TRY(auto weights, nn::load_decoder_weights(launcher, source, spec, progress));
  NEREID_TRY(auto decoder, nn::Decoder::create(launcher, std::move(spec), std::move(weights),
                                               options.types, decoder_limits));
  NEREID_TRY(auto sampler, Sampler::create(launcher, vocab_size, logit_rows));
  NEREID_TRY(auto step_buffer, Buffer::alloc(launcher.device(), StepPlan::max_bytes(limits)));
  return std::unique_ptr<Runner>(
      new Runner(launcher, std::move(decoder), std::move(sampler), std::move(step_buffer), limits));
}

Result<Tensor> Runner::forward(std::span<const SequenceSlice> slices) {
  plan_.build(slices);
  NEREID_RETURN_IF_ERROR(
      launcher_->device().upload(step_buffer_.ptr(), std::as_bytes(plan_.words())));
  return decoder_.forward(plan_.inputs(step_buffer_.ptr()));
}

Status Runner::exercise_sampling(const Tensor& logits) {
  const SamplingParams greedy;
  const SamplingParams random{.temperature = 1.0f};
  const SamplingParams all{
      .temperature = 1.0f, .repetition_penalty = 1.1f, .logit_bias = {{0, 1.0f}}};
  const int32_t prompt[] = {0};
  NEREID_RETURN_IF_ERROR(sampler_.begin(0, all, prompt));
  for (const SamplingParams* params : {&greedy, &random, &all}) {
    const SampleRow row{.params = params, .slot = 0, .position = 1};
    NEREID_TRY(auto ids, sampler_.sample(logits, {&row, 1}));
    NEREID_CHECK(ids.size() == 1, "{} ids", ids.size());
  }
  const int32_t target[] = {0};
  for (const int32_t top_n : {0, 1}) {
    NEREID_TRY(auto scores, sampler_.score(logits, target, top_n));
    NEREID_CHECK(scores.targets.size() == 1, "{} scores", scores.targets.size());
  }
  return {};
}

Status Runner::exercise() {
  const int32_t context = std::min(2, limits_.max_pages * limits_.page_size);
  const std::vector<int32_t> tokens(static_cast<size_t>(context), 0);
  const int32_t pages[] = {0};
  // A prefill of two tokens, then a decode step behind them.
  const SequenceSlice prefill{.tokens = tokens, .first_position = 0, .pages = pages};
  const SequenceSlice decode{
      .tokens = std::span(tokens).first(1), .first_position = context - 1, .pages = pages};
  NEREID_TRY(Tensor logits, forward({&prefill, 1}));
  NEREID_TRY(logits, forward({&decode, 1}));
  return exercise_sampling(logits);
}

}  // namespace nereid
