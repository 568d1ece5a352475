// Per-sequence sampling parameters to device tensors, and the sampling launch of a step.
//
// Owns the token counts that penalties need: one slot per sequence, cleared when a sequence begins.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/engine/engine.h"
#include "src/tensor/tensor.h"

namespace nereid {

// Errors name the parameter and its range.
Status check_sampling(const SamplingParams& params, int32_t vocab_size);

struct SampleRow {
  const SamplingParams* params = nullptr;
  int32_t slot = 0;      // of the sequence, below max_rows; no two rows share one
  int32_t position = 0;  // of the token to be drawn
};

class Sampler {
 public:
  static constexpr int32_t kMaxBias = 300;  // entries of logit_bias, as the OpenAI API has it

  static Result<Sampler> create(Launcher& launcher, int32_t vocab_size, int32_t max_rows);

  // A sequence begins in `slot`: its prompt counts for the repetition penalty. Needed only with
  // penalties.
  Status begin(int32_t slot, const SamplingParams& params, std::span<const int32_t> prompt_ids);

  // One token per row of logits [rows, vocab].
  Result<std::vector<int32_t>> sample(const Tensor& logits, std::span<const SampleRow> rows);

  struct Scores {
    std::vector<float> targets;                                // [rows]
    std::vector<std::vector<std::pair<int32_t, float>>> best;  // [rows][top_n], best first
  };
  // Log-probability of targets[r] (-1: none) and the top_n best continuations of each row.
  Result<Scores> score(const Tensor& logits, std::span<const int32_t> targets, int32_t top_n);

  // Where the parameters of a step are uploaded to.
  const Buffer& parameters() const { return parameters_; }

 private:
  Sampler(Launcher& launcher, int32_t max_rows) : launcher_(&launcher), max_rows_(max_rows) {}

  template <typename T>
  Result<Tensor> upload_rows(DType dtype, std::span<const T> values);
  Status add_random_part(std::span<const SampleRow> rows, struct SampleTensors& tensors);

  Launcher* launcher_;
  int32_t max_rows_;
  OwnedTensor work_;                             // f32 [max_rows, 2 vocab + ceil(vocab / 32)]
  OwnedTensor counts_;                           // i32 [max_rows, vocab]
  OwnedTensor ids_;                              // i32 [max_rows]
  OwnedTensor best_ids_;                         // i32 [max_rows, kMaxTopLogprobs]
  OwnedTensor best_logprobs_, target_logprobs_;  // f32 [max_rows, kMaxTopLogprobs], [max_rows]
  Buffer parameters_;                            // per-row parameters of the step, in sections
  uint64_t used_ = 0;                            // bytes of parameters_ in use
};

}  // namespace nereid
