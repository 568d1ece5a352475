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
#include "src/engine/step_plan.h"
#include "src/nn/decoder.h"
#include "src/weights/source.h"

namespace nereid {

struct RunnerOptions {
  nn::DecoderTypes types;
  int32_t max_context = 0;  // positions of a sequence
  int32_t max_batch = 1;    // sequences
};

class Runner {
 public:
  static constexpr int32_t kPageSize = 32;         // tokens
  static constexpr int32_t kMaxRows = 512;         // tokens of a step
  static constexpr int32_t kMinLogitRows = 32;     // rows of a step whose logits can be had at once
  static constexpr int32_t kPrefillTileRows = 64;  // tokens x heads of a group
  static constexpr int32_t kDecodeSplits = 4;

  static Result<std::unique_ptr<Runner>> create(Launcher& launcher, const ModelSource& source,
                                                nn::DecoderSpec spec, const RunnerOptions& options,
                                                const nn::LoadProgress& progress);

  // Runs one step over the slices. The result views f32 [logit rows, vocab], rows in the order of
  // plan().order(), and is valid until the next step.
  Result<Tensor> forward(std::span<const SequenceSlice> slices);

  // Launches every kernel variant that serving this model can need. Output is meaningless.
  Status exercise();

  const StepPlan& plan() const { return plan_; }
  Sampler& sampler() { return sampler_; }
  const nn::Decoder& decoder() const { return decoder_; }
  // The only buffers that uploads may change once the model is loaded: the integers and sampling
  // parameters of a step.
  std::vector<const Buffer*> input_buffers() const {
    return {&step_buffer_, &sampler_.parameters()};
  }
  const StepLimits& limits() const { return limits_; }
  int32_t num_pages() const { return decoder_.limits().num_pages; }
  int32_t max_logit_rows() const { return decoder_.limits().max_logit_rows; }

 private:
  Runner(Launcher& launcher, nn::Decoder decoder, Sampler sampler, Buffer step_buffer,
         const StepLimits& limits);
  Status exercise_sampling(const Tensor& logits);

  Launcher* launcher_;
  nn::Decoder decoder_;
  Sampler sampler_;
  Buffer step_buffer_;  // the integers of a step, as StepPlan lays them out
  StepLimits limits_;
  StepPlan plan_;
};

}  // namespace nereid
