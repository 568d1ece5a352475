// What is sent and when: prompts, lengths and gaps between arrivals, all from one seed.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid::loadgen {

enum class Endpoint : uint8_t { kCompletions, kChat };
std::string_view path_of(Endpoint endpoint);  // "/v1/completions"

// Tokens; min == max: fixed.
struct LengthRange {
  int32_t min = 128, max = 128;
};
// "128" or "64:256".
Result<LengthRange> parse_length_range(std::string_view text, std::string_view flag);

enum class LengthMix : uint8_t {
  kUniform,   // of the two ranges
  kShareGpt,  // log-normal, about as the chats of ShareGPT: medians 130 in and 115 out, sigma 1
};

enum class PromptKind : uint8_t {
  kWords,  // English words, about one token each: for any server
  kIds,    // token ids; completions only
  kFile,
};

struct FilePrompt {
  std::string json;  // of "prompt" (completions) or "messages" (chat), as it goes into the body
  std::optional<int32_t> max_tokens;
};
// JSONL, a line per prompt: {"prompt": "..."} or {"messages": [...]}, and perhaps "max_tokens".
// Each serves either endpoint; only messages of more than one entry are for chat alone.
Result<std::vector<FilePrompt>> read_prompts(const std::string& path, Endpoint endpoint);

struct WorkloadOptions {
  std::string model;
  Endpoint endpoint = Endpoint::kCompletions;
  PromptKind prompt_kind = PromptKind::kWords;
  LengthRange input, output{64, 64};
  LengthMix mix = LengthMix::kUniform;
  int32_t shared_prefix = 0;   // first tokens of every prompt that are the same
  int32_t vocab_size = 32000;  // of random ids
  std::vector<FilePrompt> prompts;
  bool ignore_eos = false;
  std::optional<double> temperature;
  std::string extra_body;  // members of a JSON object that go into every body: "a":1,"b":2
  uint64_t seed = 0;
};

struct PlannedRequest {
  std::string body;  // JSON
  int32_t output_len = 0;
};

// One thread at a time.
class Workload {
 public:
  explicit Workload(WorkloadOptions options);
  PlannedRequest next();
  // Seconds to the next arrival: gamma-distributed with this shape, mean 1 / rate. Shape 1 is
  // Poisson, less comes in bursts, more is even.
  double next_gap(double rate, double burstiness);
  const WorkloadOptions& options() const { return options_; }

 private:
  int32_t length(const LengthRange& range, double sharegpt_median);
  std::string prompt_json(int32_t input_len);
  std::string words(int32_t count, std::mt19937_64& random) const;

  WorkloadOptions options_;
  std::mt19937_64 random_;
  std::string prefix_;  // shared, as text or as ids with commas
  size_t next_prompt_ = 0;
};

}  // namespace nereid::loadgen
