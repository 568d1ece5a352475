// Builds a model's device state and runs steps.
#include "src/engine/runner.h"

#include <algorithm>
#include <numeric>

#include "src/base/check.h"
#include "src/base/numbers.h"
#include "src/device/target.h"

namespace nereid {

namespace {

// Steps for a GPU: rows enough for its matrix instructions, programs enough for its processors.
// Rows and splits were the best of those tried on an H200 (docs/devices.md).
constexpr int32_t kGpuMaxRows = 8192, kGpuPrefillTileRows = 128, kGpuSplitTokens = 64;
const std::vector<SplitRule>& gpu_splits() {
  static const std::vector<SplitRule> rules = {{2, 32}, {16, 8}, {INT32_MAX, 4}};
  return rules;
}

// Rows are tokens of all heads of a group, or on CPUs those of one head.
std::vector<PrefillTile> prefill_tiles(int32_t group, bool gpu) {
  if (gpu) return {{.tokens = std::max(1, kGpuPrefillTileRows / group)}};
  return {{.tokens = std::max(1, Runner::kPrefillTileRows / group)},
          {.tokens = Runner::kPrefillTileRows, .programs = group}};
}

StepLimits step_limits(const RunnerOptions& options, const nn::DecoderSpec& spec, bool gpu) {
  const int32_t group = spec.attention.num_heads / spec.attention.num_kv_heads;
  const int32_t default_rows =
      gpu ? std::min(kGpuMaxRows, std::max(Runner::kMaxRows, options.max_context))
          : Runner::kMaxRows;
  return {.page_size = Runner::kPageSize,
          .max_rows =
              std::max(options.max_rows > 0 ? options.max_rows : default_rows, options.max_batch),
          .max_sequences = options.max_batch,
          .max_pages = (options.max_context + Runner::kPageSize - 1) / Runner::kPageSize,
          .prefill_tiles = prefill_tiles(group, gpu),
          .decode_splits =
              gpu ? gpu_splits() : std::vector<SplitRule>{{INT32_MAX, Runner::kDecodeSplits}},
          .split_pages = (gpu ? kGpuSplitTokens : Runner::kSplitTokens) / Runner::kPageSize};
}

}  // namespace

Runner::Runner(Launcher& launcher, nn::Decoder decoder, Sampler sampler, Staging staging,
               const StepLimits& limits)
    : launcher_(&launcher),
      decoder_(std::move(decoder)),
      sampler_(std::move(sampler)),
      limits_(limits),
      plan_(limits),
      staging_(std::move(staging)) {}

Result<std::unique_ptr<Runner>> Runner::create(Launcher& launcher, const ModelSource& source,
                                               nn::DecoderSpec spec, const RunnerOptions& options,
                                               const nn::LoadProgress& progress) {
  const bool gpu = target_is_gpu(launcher.device().info().target);
  const StepLimits limits = step_limits(options, spec, gpu);
  NEREID_CHECK(options.num_pages > 0, "a KV cache of {} pages", options.num_pages);
  const int32_t logit_rows = std::max(kMinLogitRows, options.max_batch);
  const nn::DecoderLimits decoder_limits = {.max_rows = limits.max_rows,
                                            .max_logit_rows = logit_rows,
                                            .max_decode_rows = options.max_batch,
                                            .max_context = options.max_context,
                                            .decode_split_rows = limits.max_split_rows(),
                                            .page_size = limits.page_size,
                                            .num_pages = options.num_pages};
  const int32_t vocab_size = spec.vocab_size;
  uint64_t weight_bytes = 0;
  for (const StoredTensor& tensor : source.tensors()) weight_bytes += stored_bytes(tensor);
  NEREID_TRY_CONTEXT(auto weights, nn::load_decoder_weights(launcher, source, spec, progress),
                     fmt::format("weights, {} in all", format_bytes(weight_bytes)));
  NEREID_TRY(auto decoder, nn::Decoder::create(launcher, std::move(spec), std::move(weights),
                                               options.types, decoder_limits));
  NEREID_TRY(auto sampler, Sampler::create(launcher, vocab_size, logit_rows));
  const uint64_t staging_bytes =
      Staging::section_bytes(StepPlan::max_bytes(limits), 1) + Sampler::staging_bytes(logit_rows);
  NEREID_TRY(auto staging, Staging::create(launcher.device(), staging_bytes));
  return std::unique_ptr<Runner>(
      new Runner(launcher, std::move(decoder), std::move(sampler), std::move(staging), limits));
}

void Runner::stage(const StepWork& work) {
  plan_.build(work.slices);
  staging_.clear();
  plan_words_ = staging_.add(DType::kI32, plan_.words());
  draws_ = !work.rows.empty();
  if (draws_) {
    NEREID_CHECK(static_cast<int32_t>(work.rows.size()) == plan_.draw_rows(), "{} rows, {} drawn",
                 work.rows.size(), plan_.draw_rows());
    sample_args_ = sampler_.stage(staging_, work.rows, work.masked);
  }
  if (!work.rest_targets.empty()) {
    rest_targets_ = staging_.add(DType::kI32, work.rest_targets);
  }
}

Status Runner::forward_staged() {
  NEREID_RETURN_IF_ERROR(staging_.upload());
  Device& device = launcher_->device();
  // Decode steps of as many rows are the same launches every time.
  const bool comes_again = plan_.all_decode();
  if (comes_again) NEREID_RETURN_IF_ERROR(device.begin_sequence());
  auto logits = decoder_.forward(plan_.inputs(plan_words_.ptr()));
  const Status ended = comes_again ? device.end_sequence() : Status();
  NEREID_TRY(logits_, std::move(logits));
  return ended;
}

Result<Tensor> Runner::forward(std::span<const SequenceSlice> slices) {
  stage({.slices = slices});
  NEREID_RETURN_IF_ERROR(forward_staged());
  return logits_;
}

Result<StepOutput> Runner::draw(const DrawOptions& options) {
  StepOutput output;
  Device& device = launcher_->device();
  const int32_t draw_rows = plan_.draw_rows(), rest_rows = plan_.logit_rows() - draw_rows;
  if (draws_) {
    const Tensor logits = logits_.rows(0, draw_rows);
    if (sample_args_.mask) NEREID_RETURN_IF_ERROR(sampler_.upload_masks(options.masks));
    NEREID_RETURN_IF_ERROR(sampler_.draw(sample_args_, logits));
    NEREID_TRY(output.ids, download_values<int32_t>(device, sample_args_.ids));
    if (options.top_n >= 0) {
      NEREID_TRY(output.drawn, sampler_.score(logits, sample_args_.ids, options.top_n));
    }
  }
  if (rest_rows > 0) {
    NEREID_TRY(output.rest, sampler_.score(logits_.rows(draw_rows, rest_rows), rest_targets_,
                                           options.rest_top_n));
  }
  return output;
}

Status Runner::exercise_sampling(const Tensor& logits) {
  const SamplingParams greedy;
  const SamplingParams random{.temperature = 1.0f};
  const SamplingParams all{
      .temperature = 1.0f, .repetition_penalty = 1.1f, .logit_bias = {{0, 1.0f}}};
  const int32_t prompt[] = {0};
  NEREID_RETURN_IF_ERROR(sampler_.begin(0, prompt, prompt));
  for (const SamplingParams* params : {&greedy, &random, &all}) {
    const SampleRow row{.params = params, .slot = 0, .position = 1};
    NEREID_TRY(auto ids, sampler_.sample(logits, {&row, 1}));
    NEREID_CHECK(ids.size() == 1, "{} ids", ids.size());
  }
  staging_.clear();
  const SampleRow row{.params = &all, .slot = 0, .position = 1};
  ops::SampleArgs masked = sampler_.stage(staging_, {&row, 1}, true);
  NEREID_RETURN_IF_ERROR(staging_.upload());
  NEREID_RETURN_IF_ERROR(sampler_.upload_masks(
      std::vector<uint32_t>(static_cast<size_t>(sampler_.mask_words()), ~0U)));
  NEREID_RETURN_IF_ERROR(sampler_.draw(masked, logits));
  const int32_t target[] = {0};
  for (const int32_t top_n : {0, 1}) {
    NEREID_TRY(auto scores, sampler_.score(logits, target, top_n));
    NEREID_CHECK(scores.targets.size() == 1, "{} scores", scores.targets.size());
  }
  return {};
}

Status Runner::exercise() {
  const int32_t context = std::min({2, limits_.max_pages * limits_.page_size, limits_.max_rows});
  const std::vector<int32_t> tokens(static_cast<size_t>(context), 0);
  const int32_t pages[] = {0};
  // A prefill of two tokens, if a step may have so many, then a decode step behind them.
  const SequenceSlice prefill{.tokens = tokens, .first_position = 0, .pages = pages};
  const SequenceSlice decode{.tokens = std::span(tokens).first(1),
                             .first_position = context - 1,
                             .pages = pages,
                             .decode = true};
  Tensor logits;
  for (const PrefillTile& tile : limits_.prefill_tiles) {
    plan_.force_prefill_tile(tile.tokens);
    NEREID_TRY(logits, forward({&prefill, 1}));
  }
  plan_.force_prefill_tile(0);
  // The last layer with several rows, of which it may take another form.
  const SequenceSlice all_wanted{
      .tokens = tokens, .first_position = 0, .pages = pages, .logits = LogitRows::kAll};
  NEREID_TRY(logits, forward({&all_wanted, 1}));
  for (const SplitRule& rule : limits_.decode_splits) {
    plan_.force_splits(rule.splits);
    NEREID_TRY(logits, forward({&decode, 1}));
  }
  plan_.force_splits(0);
  return exercise_sampling(logits);
}

}  // namespace nereid
