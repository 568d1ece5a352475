// Per-sequence sampling parameters to device tensors, and the sampling launches of a step.
//
// Owns the token counts that penalties need: one slot per sequence, cleared when a sequence begins.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/engine/engine.h"
#include "src/engine/staging.h"
#include "src/ops/sampling.h"
#include "src/tensor/tensor.h"

namespace nereid {

// Errors name the parameter and its range.
Status check_sampling(const SamplingParams& params, int32_t vocab_size);

// Whether a sequence needs Sampler::begin.
bool has_penalties(const SamplingParams& params);

struct SampleRow {
  const SamplingParams* params = nullptr;
  int32_t slot = 0;      // of the sequence, below max_rows; no two rows share one
  int32_t position = 0;  // of the token to be drawn
};

class Sampler {
 public:
  static constexpr int32_t kMaxBias = 300;  // entries of logit_bias, as the OpenAI API has it
  // Entries that the engine adds: tokens that may not be drawn yet.
  static constexpr int32_t kMaxBanned = 64;

  static Result<Sampler> create(Launcher& launcher, int32_t vocab_size, int32_t max_rows);
  // Bytes that stage() and the targets of score() can take.
  static uint64_t staging_bytes(int32_t max_rows);

  // A sequence begins in `slot`: `prompt_ids` count for the repetition penalty, `output_ids` for
  // all. Needed only with penalties.
  Status begin(int32_t slot, std::span<const int32_t> prompt_ids,
               std::span<const int32_t> output_ids = {});

  // Puts the parameters of `rows` into the staging memory; draw() needs them on the device. With
  // `masked`, upload_masks() has to come before draw() too.
  ops::SampleArgs stage(Staging& staging, std::span<const SampleRow> rows, bool masked);
  // [rows, mask_words()]: bit i % 32 of word i / 32 allows token i.
  Status upload_masks(std::span<const uint32_t> masks);
  int32_t mask_words() const { return static_cast<int32_t>(masks_.tensor.dim(1)); }
  // Launches: one token per row of logits [rows, vocab], into args.ids on the device.
  Status draw(ops::SampleArgs& args, const Tensor& logits);

  // stage, upload, draw and download: one token per row of logits [rows, vocab].
  Result<std::vector<int32_t>> sample(const Tensor& logits, std::span<const SampleRow> rows);

  // What uploads change: for the test that nothing else does.
  const Buffer& staging_buffer() const { return staging_.buffer(); }
  const Buffer& mask_buffer() const { return masks_.buffer; }

  struct Scores {
    std::vector<float> targets;                                // [rows]
    std::vector<std::vector<std::pair<int32_t, float>>> best;  // [rows][top_n], best first
  };
  // Log-probability of targets[r] (-1: none) and the top_n best continuations of each row.
  Result<Scores> score(const Tensor& logits, std::span<const int32_t> targets, int32_t top_n);
  // The same for targets on the device, i32 [rows].
  Result<Scores> score(const Tensor& logits, const Tensor& targets, int32_t top_n);

 private:
  Sampler(Launcher& launcher, int32_t max_rows) : launcher_(&launcher), max_rows_(max_rows) {}

  void stage_random_part(Staging& staging, std::span<const SampleRow> rows, ops::SampleArgs& args);
  void stage_all_parts(Staging& staging, std::span<const SampleRow> rows, ops::SampleArgs& args);
  Status count_tokens(int32_t slot, std::span<const int32_t> ids, bool in_prompt);

  Launcher* launcher_;
  int32_t max_rows_;
  OwnedTensor work_;                             // f32 [max_rows, 2 vocab + ceil(vocab / 32)]
  OwnedTensor counts_;                           // i32 [max_rows, vocab]
  OwnedTensor masks_;                            // i32 [max_rows, ceil(vocab / 32)]
  OwnedTensor ids_;                              // i32 [max_rows]
  OwnedTensor best_ids_;                         // i32 [max_rows, kMaxTopLogprobs]
  OwnedTensor best_logprobs_, target_logprobs_;  // f32 [max_rows, kMaxTopLogprobs], [max_rows]
  Staging staging_;                              // of begin(), sample() and score()
};

}  // namespace nereid
