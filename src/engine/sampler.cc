// Uploads the sampling parameters of a step and launches the sampling kernels.
#include "src/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/check.h"
#include "src/engine/sampling_ranges.h"
#include "src/ops/sampling.h"

namespace nereid {

namespace {

constexpr int32_t kCountChunk = 512;  // tokens counted by one launch

bool is_random(const SamplingParams& params) {
  return params.temperature > 0.0f;
}

Status check_range(const char* name, float value, const SamplingRange& range) {
  if (range.contains(value)) return {};
  return error("{}: found {}, expected {}", name, value, range.text());
}

// Writes one value per row.
struct Columns {
  Staging& staging;
  std::span<const SampleRow> rows;

  template <typename T, typename F>
  Tensor each(DType dtype, F value_of) const {
    const auto section = staging.add<T>(dtype, rows.size());
    std::ranges::transform(rows, section.host.begin(), value_of);
    return section.tensor;
  }
  Tensor floats(float SamplingParams::* field) const {
    return each<float>(DType::kF32, [field](const SampleRow& row) { return row.params->*field; });
  }
};

}  // namespace

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f;
}

Status check_sampling(const SamplingParams& params, int32_t vocab_size) {
  NEREID_RETURN_IF_ERROR(check_range("temperature", params.temperature, kTemperatureRange));
  NEREID_RETURN_IF_ERROR(check_range("top_p", params.top_p, kTopPRange));
  NEREID_RETURN_IF_ERROR(check_range("min_p", params.min_p, kMinPRange));
  NEREID_RETURN_IF_ERROR(
      check_range("repetition_penalty", params.repetition_penalty, kRepetitionPenaltyRange));
  NEREID_RETURN_IF_ERROR(check_range("presence_penalty", params.presence_penalty, kPenaltyRange));
  NEREID_RETURN_IF_ERROR(check_range("frequency_penalty", params.frequency_penalty, kPenaltyRange));
  if (params.top_k < 0) return error("top_k: found {}, expected 0 (off) or more", params.top_k);
  if (params.logit_bias.size() > static_cast<size_t>(Sampler::kMaxBias)) {
    return error("logit_bias: found {} entries, expected at most {}", params.logit_bias.size(),
                 Sampler::kMaxBias);
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab_size) {
      return error("logit_bias: found token id {}, expected 0 to {}", id, vocab_size - 1);
    }
    NEREID_RETURN_IF_ERROR(check_range("logit_bias", bias, kLogitBiasRange));
  }
  return {};
}

Result<Sampler> Sampler::create(Launcher& launcher, int32_t vocab_size, int32_t max_rows) {
  Sampler sampler(launcher, max_rows);
  Device& device = launcher.device();
  const int32_t words = (vocab_size + 31) / 32;
  const auto make = [&](OwnedTensor& tensor, DType dtype, const Shape& shape) -> Status {
    NEREID_TRY(tensor, OwnedTensor::alloc(device, dtype, shape));
    return {};
  };
  NEREID_RETURN_IF_ERROR(make(sampler.work_, DType::kF32, {max_rows, 2 * vocab_size + words}));
  NEREID_RETURN_IF_ERROR(make(sampler.counts_, DType::kI32, {max_rows, vocab_size}));
  NEREID_RETURN_IF_ERROR(make(sampler.masks_, DType::kI32, {max_rows, words}));
  NEREID_RETURN_IF_ERROR(make(sampler.ids_, DType::kI32, {max_rows}));
  NEREID_RETURN_IF_ERROR(make(sampler.best_ids_, DType::kI32, {max_rows, kMaxTopLogprobs}));
  NEREID_RETURN_IF_ERROR(make(sampler.best_logprobs_, DType::kF32, {max_rows, kMaxTopLogprobs}));
  NEREID_RETURN_IF_ERROR(make(sampler.target_logprobs_, DType::kF32, {max_rows}));
  NEREID_TRY(sampler.staging_, Staging::create(device, staging_bytes(max_rows)));
  return sampler;
}

uint64_t Sampler::staging_bytes(int32_t max_rows) {
  const auto rows = static_cast<uint64_t>(std::max(max_rows, kCountChunk));
  return 16 * Staging::section_bytes(rows, sizeof(int64_t)) +
         2 * Staging::section_bytes(rows * (kMaxBias + kMaxBanned), sizeof(float));
}

Status Sampler::count_tokens(int32_t slot, std::span<const int32_t> ids, bool in_prompt) {
  for (size_t first = 0; first < ids.size(); first += kCountChunk) {
    const auto chunk = ids.subspan(first, std::min<size_t>(kCountChunk, ids.size() - first));
    staging_.clear();
    const Tensor tokens = staging_.add(DType::kI32, chunk);
    const auto slots = staging_.add<int32_t>(DType::kI32, chunk.size());
    std::ranges::fill(slots.host, slot);
    NEREID_RETURN_IF_ERROR(staging_.upload());
    NEREID_RETURN_IF_ERROR(ops::count_tokens(
        *launcher_,
        {.counts = counts_.tensor, .ids = tokens, .slots = slots.tensor, .in_prompt = in_prompt}));
  }
  return {};
}

Status Sampler::begin(int32_t slot, std::span<const int32_t> prompt_ids,
                      std::span<const int32_t> output_ids) {
  NEREID_RETURN_IF_ERROR(ops::clear_i32(*launcher_, counts_.tensor.rows(slot, 1)));
  NEREID_RETURN_IF_ERROR(count_tokens(slot, prompt_ids, true));
  return count_tokens(slot, output_ids, false);
}

void Sampler::stage_random_part(Staging& staging, std::span<const SampleRow> rows,
                                ops::SampleArgs& args) {
  const Columns columns{staging, rows};
  args.temperatures = columns.floats(&SamplingParams::temperature);
  args.top_ps = columns.floats(&SamplingParams::top_p);
  args.min_ps = columns.floats(&SamplingParams::min_p);
  args.top_ks =
      columns.each<int32_t>(DType::kI32, [](const SampleRow& row) { return row.params->top_k; });
  args.positions =
      columns.each<int32_t>(DType::kI32, [](const SampleRow& row) { return row.position; });
  args.seeds = columns.each<int64_t>(
      DType::kI64, [](const SampleRow& row) { return static_cast<int64_t>(row.params->seed); });
}

void Sampler::stage_all_parts(Staging& staging, std::span<const SampleRow> rows,
                              ops::SampleArgs& args) {
  const Columns columns{staging, rows};
  args.counts = counts_.tensor;
  args.slots = columns.each<int32_t>(DType::kI32, [](const SampleRow& row) { return row.slot; });
  args.repetitions = columns.floats(&SamplingParams::repetition_penalty);
  args.presences = columns.floats(&SamplingParams::presence_penalty);
  args.frequencies = columns.floats(&SamplingParams::frequency_penalty);
  args.bias_counts = columns.each<int32_t>(DType::kI32, [](const SampleRow& row) {
    return static_cast<int32_t>(row.params->logit_bias.size());
  });
  size_t width = 1;
  for (const SampleRow& row : rows) width = std::max(width, row.params->logit_bias.size());
  NEREID_CHECK(width <= kMaxBias + kMaxBanned, "{} entries of logit bias", width);
  const auto matrix = [&](const Tensor& flat) {
    return flat.reshape({static_cast<int64_t>(rows.size()), static_cast<int64_t>(width)});
  };
  const auto ids = staging.add<int32_t>(DType::kI32, rows.size() * width);
  for (size_t row = 0; row < rows.size(); ++row) {
    size_t at = row * width;
    for (const auto& [id, value] : rows[row].params->logit_bias) ids.host[at++] = id;
  }
  args.bias_ids = matrix(ids.tensor);
  const auto values = staging.add<float>(DType::kF32, rows.size() * width);
  for (size_t row = 0; row < rows.size(); ++row) {
    size_t at = row * width;
    for (const auto& [id, value] : rows[row].params->logit_bias) values.host[at++] = value;
  }
  args.bias_values = matrix(values.tensor);
}

// Rows are told apart by their parameters, so one launch serves all of them. Which of the four
// forms of the kernel runs makes no difference to a row: parts it does not use leave its logits as
// they are.
ops::SampleArgs Sampler::stage(Staging& staging, std::span<const SampleRow> rows, bool masked) {
  const auto count = static_cast<int64_t>(rows.size());
  NEREID_CHECK(count > 0 && count <= max_rows_, "{} rows, limit {}", count, max_rows_);
  ops::SampleArgs args{.work = work_.tensor, .ids = ids_.tensor.rows(0, count)};
  const bool all = masked || std::ranges::any_of(rows, [](const SampleRow& row) {
                     return has_penalties(*row.params) || !row.params->logit_bias.empty();
                   });
  if (all ||
      std::ranges::any_of(rows, [](const SampleRow& row) { return is_random(*row.params); })) {
    stage_random_part(staging, rows, args);
  }
  if (all) stage_all_parts(staging, rows, args);
  if (masked) args.mask = masks_.tensor.rows(0, count);
  return args;
}

Status Sampler::upload_masks(std::span<const uint32_t> masks) {
  const int64_t rows = static_cast<int64_t>(masks.size()) / mask_words();
  return upload_values(launcher_->device(), masks_.tensor.rows(0, rows), masks);
}

Status Sampler::draw(ops::SampleArgs& args, const Tensor& logits) {
  launcher_->set_role("sample");
  NEREID_CHECK(args.ids.dim(0) == logits.dim(0), "{} rows, logits {}", args.ids.dim(0),
               logits.text());
  args.logits = logits;
  return ops::sample(*launcher_, args);
}

Result<std::vector<int32_t>> Sampler::sample(const Tensor& logits,
                                             std::span<const SampleRow> rows) {
  staging_.clear();
  ops::SampleArgs args = stage(staging_, rows, false);
  NEREID_RETURN_IF_ERROR(staging_.upload());
  NEREID_RETURN_IF_ERROR(draw(args, logits));
  return download_values<int32_t>(launcher_->device(), args.ids);
}

Result<Sampler::Scores> Sampler::score(const Tensor& logits, std::span<const int32_t> targets,
                                       int32_t top_n) {
  staging_.clear();
  const Tensor on_device = staging_.add(DType::kI32, targets);
  NEREID_RETURN_IF_ERROR(staging_.upload());
  return score(logits, on_device, top_n);
}

Result<Sampler::Scores> Sampler::score(const Tensor& logits, const Tensor& targets, int32_t top_n) {
  const int64_t rows = logits.dim(0);
  NEREID_CHECK(rows <= max_rows_ && top_n <= kMaxTopLogprobs, "{} rows, {} best", rows, top_n);
  ops::TopLogprobsArgs args{.logits = logits,
                            .targets = targets,
                            .target_logprobs = target_logprobs_.tensor.rows(0, rows)};
  if (top_n > 0) {
    args.ids = best_ids_.tensor.rows(0, rows);
    args.logprobs = best_logprobs_.tensor.rows(0, rows);
  }
  NEREID_RETURN_IF_ERROR(ops::top_logprobs(*launcher_, args));
  Device& device = launcher_->device();
  Scores scores;
  NEREID_TRY(scores.targets, download_values<float>(device, args.target_logprobs));
  scores.best.resize(static_cast<size_t>(rows));
  if (top_n == 0) return scores;
  NEREID_TRY(const auto ids, download_values<int32_t>(device, args.ids));
  NEREID_TRY(const auto logprobs, download_values<float>(device, args.logprobs));
  for (size_t row = 0; row < scores.best.size(); ++row) {
    for (size_t rank = 0; rank < static_cast<size_t>(top_n); ++rank) {
      const size_t at = row * kMaxTopLogprobs + rank;
      if (ids[at] >= 0) scores.best[row].emplace_back(ids[at], logprobs[at]);
    }
  }
  return scores;
}

}  // namespace nereid
