// One model on one device, ready to run steps: the only owner of device memory in the engine.
//
// The same class runs on the null device, where `exercise` launches every kind of step once: what
// the launcher recorded then is the list of kernels that a pack must hold.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/engine/sampler.h"
#include "src/engine/staging.h"
#include "src/engine/step_plan.h"
#include "src/nn/decoder.h"
#include "src/weights/source.h"

namespace nereid {

struct RunnerOptions {
  nn::DecoderTypes types;
  int32_t max_context = 0;  // positions of a sequence
  int32_t max_batch = 1;    // sequences
  int32_t max_rows = 0;     // tokens of a step; 0: kMaxRows, more on GPUs
  int32_t num_pages = 0;    // of the KV cache
};

// What a step does; spans stay valid until it is drawn.
struct StepWork {
  std::span<const SequenceSlice> slices;
  // For each slice with LogitRows::kLast or kLastThenRest, in the order they are laid out (decode
  // slices first): how to draw its next token. Empty: nothing is drawn.
  std::span<const SampleRow> rows;
  bool masked = false;  // draw() will be given masks
  // Tokens that follow the other rows with logits, for their log-probabilities; -1: none.
  std::span<const int32_t> rest_targets;
};

struct DrawOptions {
  std::span<const uint32_t> masks;  // [rows, mask words], if the work is masked
  int32_t top_n = -1;      // log-probabilities of drawn tokens; -1: none; else and the N best
  int32_t rest_top_n = 0;  // best continuations of the rest rows
};

struct StepOutput {
  std::vector<int32_t> ids;  // [rows]; -1: no logit above -inf
  Sampler::Scores drawn;     // with top_n >= 0
  Sampler::Scores rest;      // if there are rest rows
};

class Runner {
 public:
  static constexpr int32_t kPageSize = 32;         // tokens
  static constexpr int32_t kMaxRows = 512;         // tokens of a step, by default
  static constexpr int32_t kMinLogitRows = 32;     // rows of a step whose logits can be had at once
  static constexpr int32_t kPrefillTileRows = 32;  // tokens x heads of a group, or of one
  static constexpr int32_t kDecodeSplits = 4;
  static constexpr int32_t kSplitTokens = 256;  // fewer are not worth a split

  static Result<std::unique_ptr<Runner>> create(Launcher& launcher, const ModelSource& source,
                                                nn::DecoderSpec spec, const RunnerOptions& options,
                                                const nn::LoadProgress& progress);

  // Runs one step over the slices. The result views f32 [logit rows, vocab], rows as StepPlan lays
  // them out, and is valid until the next step.
  Result<Tensor> forward(std::span<const SequenceSlice> slices);

  // The same in three parts, so that host work fits between them: stage() is host work only, the
  // other two use the device.
  void stage(const StepWork& work);
  Status forward_staged();
  Result<StepOutput> draw(const DrawOptions& options);

  // Launches every kernel variant that serving this model can need. Output is meaningless.
  Status exercise();

  const StepPlan& plan() const { return plan_; }
  Sampler& sampler() { return sampler_; }
  const nn::Decoder& decoder() const { return decoder_; }
  // The only buffers that uploads may change once the model is loaded: the integers, sampling
  // parameters and masks of a step.
  std::vector<const Buffer*> input_buffers() const {
    return {&staging_.buffer(), &sampler_.staging_buffer(), &sampler_.mask_buffer()};
  }
  const StepLimits& limits() const { return limits_; }
  int32_t num_pages() const { return decoder_.limits().num_pages; }
  int32_t max_logit_rows() const { return decoder_.limits().max_logit_rows; }

 private:
  Runner(Launcher& launcher, nn::Decoder decoder, Sampler sampler, Staging staging,
         const StepLimits& limits);
  Status exercise_sampling(const Tensor& logits);

  Launcher* launcher_;
  nn::Decoder decoder_;
  Sampler sampler_;
  StepLimits limits_;
  StepPlan plan_;
  // The step under way.
  Staging staging_;
  Tensor plan_words_, rest_targets_;
  ops::SampleArgs sample_args_;
  Tensor logits_;
  bool draws_ = false;
};

}  // namespace nereid
