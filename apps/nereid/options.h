// Flags that several commands share, and what they become for the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/nereid/command.h"
#include "src/base/result.h"
#include "src/engine/engine.h"

namespace nereid::commands {

struct ModelOptions {
  std::string model;
  std::string device = "auto";
  std::string dtype = "auto", kv_cache_dtype = "auto";
  std::string load_format = "auto", dummy_format = "BF16";
  int threads = 0;
  int32_t max_model_len = 0;
  double memory_utilization = 0;
  std::string kv_cache_memory;
  std::string pack, trace;
};
void add_model_option(CLI::App& command, ModelOptions& options);
void add_dtype_option(CLI::App& command, ModelOptions& options);
void add_load_format_options(CLI::App& command, ModelOptions& options);
// The above and --device, --threads, --max-model-len, --kv-cache-memory, --memory-utilization,
// --pack, --trace.
void add_model_options(CLI::App& command, ModelOptions& options);

// What a command itself asks of the engine; 0 = nothing special.
struct LoadNeeds {
  int32_t max_batch = 1;
  int32_t min_context = 0;
  int32_t max_step_tokens = 0;
  bool profile = false;  // Engine::profile will be called
};
Result<LoadOptions> load_options(const ModelOptions& options, const LoadNeeds& needs);
// Loads with progress bars on the terminal, does the work, which returns the exit code, and
// finishes the engine. Where both the work and the end fail, the error is the work's.
Result<int> with_engine(const Environment& environment, const ModelOptions& options,
                        const LoadNeeds& needs, const std::function<Result<int>(Engine&)>& work);

// Unset flags leave the model's own defaults; a model without any is sampled greedily.
struct SamplingOptions {
  std::optional<float> temperature, top_p, min_p;
  std::optional<int32_t> top_k;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::vector<std::string> logit_bias;  // "ID:VALUE"
  uint64_t seed = 0;
  int32_t max_tokens = 256;
  bool ignore_eos = false;
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);
Result<SamplingParams> sampling_params(const SamplingOptions& options,
                                       const GenerationDefaults& defaults);

}  // namespace nereid::commands
