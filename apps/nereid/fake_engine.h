// An engine without a model, for tests of the commands: it replies with what it was asked.
#pragma once

#include <memory>
#include <vector>

#include "src/engine/engine.h"

namespace nereid::commands {

struct FakeEngineOptions {
  bool with_chat_template = true;
  bool broken_tokenizer = false, broken_chat_template = false;  // asking for it is an error
  int32_t max_context = 256;
  Status finish;  // what finish() returns
  GenerationDefaults defaults;
  Result<MachineLimits> limits = MachineLimits{.read_bytes = 10e9,
                                               .f32_operations = 100e9,
                                               .bf16_operations = 1e12,
                                               .int8_operations = 4e12,
                                               .launch_seconds = 1e-6};
};

// Tokens are the 256 byte values (ids 0 to 255) and <s>, </s>, <|user|>, <|assistant|> (256 to
// 259).
//   generate: the prompt's byte tokens again, then end of sequence; kLength when cut short
//   score:    log-probability of ids[i] = -(i % 10) - ids[i] / 1000; top: ids 0..n-1 at -1, -2, ...
//   bench:    prefill * batch and decode * batch
//   profile:  one launch of 8 ms with 40 MB and 4 GFLOP in bf16, and one without a cost of 2 ms
class FakeEngine : public Engine {
 public:
  explicit FakeEngine(const FakeEngineOptions& options);

  const ModelConfig& config() const override { return config_; }
  const GenerationDefaults& generation_defaults() const override { return options_.defaults; }
  const DeviceInfo& device_info() const override { return device_; }
  int32_t max_context() const override { return options_.max_context; }
  DType compute_dtype() const override { return DType::kBF16; }
  Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const override;
  Result<std::shared_ptr<const text::ChatTemplate>> chat_template() const override;
  double load_seconds() const override { return 0.25; }
  const MemoryPlan& memory_plan() const override { return memory_plan_; }
  Result<GenerateResult> generate(const GenerateParams& params) override;
  Result<ScoreResult> score(const ScoreParams& params) override;
  Result<BenchPoint> bench(int32_t prefill, int32_t decode, int32_t context,
                           int32_t batch) override;
  Result<MachineLimits> limits() override { return options_.limits; }
  Result<StepProfile> profile(const StepChoice& choice) override;
  Status finish() override { return options_.finish; }

  std::vector<GenerateParams> generated;     // every call of generate
  std::vector<std::vector<int32_t>> scored;  // every call of score

 private:
  FakeEngineOptions options_;
  ModelConfig config_;
  DeviceInfo device_;
  MemoryPlan memory_plan_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::ChatTemplate> template_;
};

}  // namespace nereid::commands
