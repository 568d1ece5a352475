// The engine over a real model: what Engine::load returns.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>

#include "src/device/launch_profile.h"
#include "src/device/trace.h"
#include "src/engine/engine.h"
#include "src/engine/runner.h"
#include "src/engine/sequence.h"
#include "src/kv/page_pool.h"
#include "src/pack/pack.h"

namespace nereid {

class ModelEngine final : public Engine {
 public:
  static Result<std::unique_ptr<ModelEngine>> load(const LoadOptions& options);

  const ModelConfig& config() const override { return source_->config(); }
  const GenerationDefaults& generation_defaults() const override { return source_->generation(); }
  const DeviceInfo& device_info() const override { return device_info_; }
  int32_t max_context() const override { return max_context_; }
  DType compute_dtype() const override { return compute_dtype_; }
  Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const override {
    return text_.tokenizer;
  }
  Result<std::shared_ptr<const text::ChatTemplate>> chat_template() const override {
    return text_.chat_template;
  }
  double load_seconds() const override { return load_seconds_; }
  const MemoryPlan& memory_plan() const override { return memory_plan_; }

  Result<GenerateResult> generate(const GenerateParams& params) override;
  Result<ScoreResult> score(const ScoreParams& params) override;
  Result<BenchPoint> bench(int32_t prefill, int32_t decode, int32_t context,
                           int32_t batch) override;
  Result<MachineLimits> limits() override;
  Result<StepProfile> profile(const StepChoice& choice) override;
  Status finish() override;

  // For tests: the parts, and the launches so far (null without a trace).
  Runner& runner() { return *runner_; }
  Device& device() { return *active_device_; }
  const Trace* trace() const { return trace_.get(); }
  Trace* mutable_trace() { return trace_.get(); }
  const Pack* pack() const { return pack_ ? &*pack_ : nullptr; }

 private:
  // What became of the text part of the model, for those who ask for it.
  struct Text {
    Result<std::shared_ptr<text::Tokenizer>> tokenizer;
    Result<std::shared_ptr<text::ChatTemplate>> chat_template;
  };

  ModelEngine() = default;
  Status open_device(const LoadOptions& options);
  // What loading needs to know of the model, and has found out with the null device.
  Result<MemoryNeeds> open_kernels(const LoadOptions& options);
  Status plan(const MemoryNeeds& needs, const LoadOptions& options, RunnerOptions& runner);

  Status check_ids(std::span<const int32_t> ids, int64_t extra_tokens) const;
  // Computes all pending tokens but those of the last step, whose logits it returns.
  Result<Tensor> prefill(Sequence& sequence, const std::atomic<bool>* cancel);
  Result<double> bench_prefill(std::vector<Sequence>& sequences, int32_t tokens);
  Result<double> bench_decode(std::vector<Sequence>& sequences, int32_t steps);
  Result<double> profile_once(const StepChoice& choice, std::vector<Sequence>& sequences);

  // Order matters: what is declared later uses what is declared earlier and goes first.
  std::unique_ptr<ModelSource> source_;
  Text text_;
  std::unique_ptr<Device> device_;
  std::function<void(int done, int total, const std::string& what)> on_pack_progress_;
  std::string trace_path_;
  LaunchProfile profile_;
  std::unique_ptr<Device> profiled_device_;
  std::unique_ptr<Trace> trace_;
  std::unique_ptr<Device> traced_device_;
  Device* active_device_ = nullptr;  // the outermost of the three
  DeviceInfo device_info_;           // the device's, with the target of the pack
  std::optional<Pack> pack_;
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<PagePool> pages_;
  DType compute_dtype_ = DType::kF32;
  int32_t max_context_ = 0;
  MemoryPlan memory_plan_;
  double load_seconds_ = 0;
};

}  // namespace nereid
