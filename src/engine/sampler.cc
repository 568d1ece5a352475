// Uploads the sampling parameters of a step and launches the sampling kernels.
#include "src/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/check.h"
#include "src/ops/sampling.h"

namespace nereid {

namespace {

constexpr uint64_t kSection = 64;  // sections of the parameter buffer start at 64-byte borders
constexpr int32_t kMinPromptChunk = 512;

uint64_t aligned(uint64_t bytes) {
  return (bytes + kSection - 1) / kSection * kSection;
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f;
}

bool is_random(const SamplingParams& params) {
  return params.temperature > 0.0f;
}

Status check_range(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};  // false for NaN
  return error("{}: found {}, expected {} to {}", name, value, low, high);
}

}  // namespace

Status check_sampling(const SamplingParams& params, int32_t vocab_size) {
  NEREID_RETURN_IF_ERROR(check_range("temperature", params.temperature, 0.0f, 100.0f));
  NEREID_RETURN_IF_ERROR(check_range("top_p", params.top_p, 0.0f, 1.0f));
  NEREID_RETURN_IF_ERROR(check_range("min_p", params.min_p, 0.0f, 1.0f));
  NEREID_RETURN_IF_ERROR(
      check_range("repetition_penalty", params.repetition_penalty, 0.01f, 100.0f));
  NEREID_RETURN_IF_ERROR(check_range("presence_penalty", params.presence_penalty, -2.0f, 2.0f));
  NEREID_RETURN_IF_ERROR(check_range("frequency_penalty", params.frequency_penalty, -2.0f, 2.0f));
  if (params.top_p == 0.0f) return error("top_p: found 0, expected more than 0 and at most 1");
  if (params.top_k < 0) return error("top_k: found {}, expected 0 (off) or more", params.top_k);
  if (params.logit_bias.size() > static_cast<size_t>(Sampler::kMaxBias)) {
    return error("logit_bias: found {} entries, expected at most {}", params.logit_bias.size(),
                 Sampler::kMaxBias);
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab_size) {
      return error("logit_bias: found token id {}, expected 0 to {}", id, vocab_size - 1);
    }
    NEREID_RETURN_IF_ERROR(check_range("logit_bias", bias, -100.0f, 100.0f));
  }
  return {};
}

Result<Sampler> Sampler::create(Launcher& launcher, int32_t vocab_size, int32_t max_rows) {
  Sampler sampler(launcher, max_rows);
  Device& device = launcher.device();
  NEREID_TRY(
      sampler.work_,
      OwnedTensor::alloc(device, DType::kF32, {max_rows, 2 * vocab_size + (vocab_size + 31) / 32}));
  NEREID_TRY(sampler.counts_, OwnedTensor::alloc(device, DType::kI32, {max_rows, vocab_size}));
  NEREID_TRY(sampler.ids_, OwnedTensor::alloc(device, DType::kI32, {max_rows}));
  NEREID_TRY(sampler.best_ids_,
             OwnedTensor::alloc(device, DType::kI32, {max_rows, kMaxTopLogprobs}));
  NEREID_TRY(sampler.best_logprobs_,
             OwnedTensor::alloc(device, DType::kF32, {max_rows, kMaxTopLogprobs}));
  NEREID_TRY(sampler.target_logprobs_, OwnedTensor::alloc(device, DType::kF32, {max_rows}));
  const auto rows = static_cast<uint64_t>(std::max(max_rows, kMinPromptChunk));
  const uint64_t bytes = 16 * aligned(rows * sizeof(int64_t)) +
                         2 * aligned(static_cast<uint64_t>(max_rows) * kMaxBias * sizeof(float));
  NEREID_TRY(sampler.parameters_, Buffer::alloc(device, bytes));
  return sampler;
}

// Puts `values` into the next section of the parameter buffer.
template <typename T>
Result<Tensor> Sampler::upload_rows(DType dtype, std::span<const T> values) {
  const Tensor section(dtype, {static_cast<int64_t>(values.size())}, parameters_.ptr() + used_);
  used_ += aligned(values.size_bytes());
  NEREID_CHECK(used_ <= parameters_.bytes(), "{} of {} parameter bytes", used_,
               parameters_.bytes());
  NEREID_RETURN_IF_ERROR(launcher_->device().upload(section.ptr(), std::as_bytes(values)));
  return section;
}

Status Sampler::begin(int32_t slot, const SamplingParams& params,
                      std::span<const int32_t> prompt_ids) {
  if (!has_penalties(params)) return {};
  NEREID_RETURN_IF_ERROR(ops::clear_i32(*launcher_, counts_.tensor.rows(slot, 1)));
  for (size_t first = 0; first < prompt_ids.size(); first += kMinPromptChunk) {
    const auto chunk =
        prompt_ids.subspan(first, std::min<size_t>(kMinPromptChunk, prompt_ids.size() - first));
    const std::vector<int32_t> slots(chunk.size(), slot);
    used_ = 0;
    NEREID_TRY(const Tensor ids, upload_rows(DType::kI32, chunk));
    NEREID_TRY(const Tensor slot_rows, upload_rows(DType::kI32, std::span<const int32_t>(slots)));
    NEREID_RETURN_IF_ERROR(ops::count_tokens(
        *launcher_, {.counts = counts_.tensor, .ids = ids, .slots = slot_rows, .in_prompt = true}));
  }
  return {};
}

// Columns of per-row parameters, ready to upload.
struct SampleTensors {
  ops::SampleArgs args;
};

Status Sampler::add_random_part(std::span<const SampleRow> rows, SampleTensors& tensors) {
  const auto floats = [&](float SamplingParams::* field) -> Result<Tensor> {
    std::vector<float> values;
    for (const SampleRow& row : rows) values.push_back(row.params->*field);
    return upload_rows(DType::kF32, std::span<const float>(values));
  };
  ops::SampleArgs& args = tensors.args;
  std::vector<int32_t> top_ks, positions;
  std::vector<int64_t> seeds;
  for (const SampleRow& row : rows) {
    top_ks.push_back(row.params->top_k);
    positions.push_back(row.position);
    seeds.push_back(static_cast<int64_t>(row.params->seed));
  }
  NEREID_TRY(args.temperatures, floats(&SamplingParams::temperature));
  NEREID_TRY(args.top_ps, floats(&SamplingParams::top_p));
  NEREID_TRY(args.min_ps, floats(&SamplingParams::min_p));
  NEREID_TRY(args.top_ks, upload_rows(DType::kI32, std::span<const int32_t>(top_ks)));
  NEREID_TRY(args.positions, upload_rows(DType::kI32, std::span<const int32_t>(positions)));
  NEREID_TRY(args.seeds, upload_rows(DType::kI64, std::span<const int64_t>(seeds)));
  if (std::ranges::none_of(rows, [](const SampleRow& row) {
        return has_penalties(*row.params) || !row.params->logit_bias.empty();
      })) {
    return {};
  }

  std::vector<int32_t> slots, bias_ids, bias_counts;
  std::vector<float> bias_values;
  for (const SampleRow& row : rows) {
    const auto& bias = row.params->logit_bias;
    slots.push_back(row.slot);
    bias_counts.push_back(static_cast<int32_t>(bias.size()));
    for (const auto& [id, value] : bias) {
      bias_ids.push_back(id);
      bias_values.push_back(value);
    }
    bias_ids.resize(bias_counts.size() * kMaxBias, 0);
    bias_values.resize(bias_counts.size() * kMaxBias, 0.0f);
  }
  const auto matrix = [&](const Tensor& flat) {
    return flat.reshape({static_cast<int64_t>(rows.size()), kMaxBias});
  };
  NEREID_TRY(args.slots, upload_rows(DType::kI32, std::span<const int32_t>(slots)));
  NEREID_TRY(args.repetitions, floats(&SamplingParams::repetition_penalty));
  NEREID_TRY(args.presences, floats(&SamplingParams::presence_penalty));
  NEREID_TRY(args.frequencies, floats(&SamplingParams::frequency_penalty));
  NEREID_TRY(args.bias_counts, upload_rows(DType::kI32, std::span<const int32_t>(bias_counts)));
  NEREID_TRY(const Tensor ids, upload_rows(DType::kI32, std::span<const int32_t>(bias_ids)));
  NEREID_TRY(const Tensor values, upload_rows(DType::kF32, std::span<const float>(bias_values)));
  args.bias_ids = matrix(ids);
  args.bias_values = matrix(values);
  args.counts = counts_.tensor;
  return {};
}

Result<std::vector<int32_t>> Sampler::sample(const Tensor& logits,
                                             std::span<const SampleRow> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  NEREID_CHECK(count == logits.dim(0) && count <= max_rows_, "{} rows, logits {}, limit {}", count,
               logits.text(), max_rows_);
  SampleTensors tensors{
      {.logits = logits, .work = work_.tensor, .ids = ids_.tensor.rows(0, count)}};
  used_ = 0;
  // Rows are told apart by their temperature, so that one launch serves greedy and random ones
  // alike.
  const bool greedy = std::ranges::none_of(rows, [](const SampleRow& row) {
    return is_random(*row.params) || has_penalties(*row.params) || !row.params->logit_bias.empty();
  });
  if (!greedy) {
    NEREID_RETURN_IF_ERROR(add_random_part(rows, tensors));
  }
  NEREID_RETURN_IF_ERROR(ops::sample(*launcher_, tensors.args));
  return download_values<int32_t>(launcher_->device(), tensors.args.ids);
}

Result<Sampler::Scores> Sampler::score(const Tensor& logits, std::span<const int32_t> targets,
                                       int32_t top_n) {
  const int64_t rows = logits.dim(0);
  NEREID_CHECK(rows <= max_rows_ && top_n <= kMaxTopLogprobs, "{} rows, {} best", rows, top_n);
  used_ = 0;
  NEREID_TRY(const Tensor target_rows, upload_rows(DType::kI32, targets));
  ops::TopLogprobsArgs args{.logits = logits,
                            .targets = target_rows,
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
