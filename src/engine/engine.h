// The engine as the commands see it: load a model, generate, score, measure.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/dtype.h"
#include "src/engine/limits.h"
#include "src/engine/memory_plan.h"
#include "src/engine/step_profile.h"
#include "src/text/chat_template.h"
#include "src/text/tokenizer.h"
#include "src/weights/source.h"

namespace nereid {

enum class ComputeType : uint8_t { kAuto, kF32, kBF16 };

inline constexpr int32_t kMaxTopLogprobs = 32;  // that Engine::score lists for a position

struct LoadOptions {
  std::string model_path;
  // Made-up weights of this format instead of the model's files, of which config.json is enough.
  std::optional<StorageFormat> dummy_format;
  std::string device = "auto";  // as create_device takes it: "auto", "cpu", "cuda:1", ...
  int threads = 0;              // 0: one per core this process may use
  ComputeType dtype = ComputeType::kAuto;
  // Of the KV cache: kF32, kBF16, kF16, kF8E4M3; none: kF32 if dtype is, else kBF16.
  std::optional<DType> cache_dtype;
  int32_t max_context = 0;      // tokens per sequence; 0: the model's limit, at most 4096
  int32_t max_batch = 1;        // sequences decoded together
  int32_t max_step_tokens = 0;  // computed in one step; 0: what suits the device
  // The KV cache serves requests that come and go: it may hold less than max_batch sequences of
  // max_context, and what it holds of ended ones is of use.
  bool shared_cache = false;
  int64_t cache_tokens = 0;  // positions of the KV cache, exactly; 0: what the memory plan gives
  MemoryOptions memory;
  std::string pack_path;   // take this pack of kernels; empty: from the cache, else built
  bool profile = false;    // for Engine::profile
  std::string trace_path;  // write a launch trace (Chrome trace JSON) here
  // Called while a missing pack is built: variants done, variants in all.
  std::function<void(int done, int total, const std::string& what)> on_pack_progress;
  // Called while weights are loaded: bytes done, bytes in all.
  std::function<void(uint64_t done, uint64_t total)> on_load_progress;
};

struct SamplingParams {
  float temperature = 0.0f;  // 0 = greedy
  float top_p = 1.0f, min_p = 0.0f;
  int32_t top_k = 0;  // 0 = off
  float repetition_penalty = 1.0f, presence_penalty = 0.0f, frequency_penalty = 0.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
};

struct GenerateParams {
  std::vector<int32_t> prompt_ids;
  int32_t max_tokens = 256;
  bool ignore_eos = false;
  SamplingParams sampling;
  const std::atomic<bool>* cancel = nullptr;  // polled once a step
  std::function<void(int32_t token_id)> on_token;
};

struct GenerateResult {
  std::vector<int32_t> token_ids;  // without the end-of-sequence token
  enum class Stop : uint8_t { kEos, kLength, kCancelled } stop = Stop::kLength;
  double prefill_seconds = 0, decode_seconds = 0;
};

struct ScoreParams {
  std::span<const int32_t> ids;
  int32_t top_n = 0;  // tokens to list for each position
  // Tokens from here on, 1 to their number, are computed one by one as generated ones are, which on
  // some devices rounds otherwise than a prompt.
  std::optional<int32_t> generated_from = {};
};

// What follows each position of a given token sequence.
struct ScoreResult {
  std::vector<float> logprobs;  // [n]: log-probability of ids[i] given ids[< i]; NaN for i = 0
  std::vector<std::vector<std::pair<int32_t, float>>>
      top;  // [n][top_n]: best continuations of ids[<= i]
};

struct BenchPoint {  // tokens per second over all sequences; 0 where not asked for
  double prefill = 0, decode = 0;
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> load(const LoadOptions& options);
  virtual ~Engine() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const GenerationDefaults& generation_defaults() const = 0;
  virtual const DeviceInfo& device_info() const = 0;
  virtual int32_t max_context() const = 0;
  virtual DType compute_dtype() const = 0;  // what ComputeType::kAuto became
  // A model whose tokenizer or template cannot be read loads all the same: token ids need neither.
  // The error is for whoever asks. A model without a chat template has null.
  virtual Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const = 0;
  virtual Result<std::shared_ptr<const text::ChatTemplate>> chat_template() const = 0;
  virtual double load_seconds() const = 0;
  virtual const MemoryPlan& memory_plan() const = 0;

  // Errors: empty prompt, id out of range, longer than max_context, sampling parameters out of
  // range.
  virtual Result<GenerateResult> generate(const GenerateParams& params) = 0;
  virtual Result<ScoreResult> score(const ScoreParams& params) = 0;
  // `batch` sequences: prefill of `prefill` tokens each, then `decode` steps starting at `context`
  // tokens.
  virtual Result<BenchPoint> bench(int32_t prefill, int32_t decode, int32_t context,
                                   int32_t batch) = 0;
  // What the device can do at most, see measure_limits.h.
  virtual Result<MachineLimits> limits() = 0;
  // Where the time of a step goes. The engine must have been loaded for it (LoadOptions::profile).
  virtual Result<StepProfile> profile(const StepChoice& choice) = 0;
  // Call it once, last: writes the trace, where one was asked for.
  virtual Status finish() = 0;
};

struct CompileOptions {
  LoadOptions load;      // model and dtype decide which variants are needed
  std::string target;    // "cpu:native", "cpu:znver4", ...; empty: what this machine runs best
  std::string out_path;  // empty: the pack cache, where Engine::load looks
};

// Records what the model launches on the null device and writes the pack with exactly those
// kernels. Needs the kernel toolchain (Python, Triton, nereid-cc). Returns the path of the pack.
Result<std::string> compile_pack(const CompileOptions& options);

}  // namespace nereid
