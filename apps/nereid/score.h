// Log-probabilities of given tokens: the parts of `nereid eval`.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/engine/engine.h"

namespace nereid::commands {

// One request of the input of `eval` -> one object of its output.
//   in:  {"prompt": text} or {"messages": [...]} or {"token_ids": [...]}, and "id"? (given back)
//        and "generated_from"? (ScoreParams)
//   out: {"id"?, "token_ids": [n], "logprobs": [null, ...n-1 numbers],
//         "top_logprobs"?: [n][top_n][id, logprob]}
Result<nlohmann::ordered_json> score_request(Engine& engine, const nlohmann::ordered_json& request,
                                             int32_t top_n);

struct PerplexityOptions {
  int32_t window = 0;  // tokens seen at once; 0: what the engine allows, at most 2048
  int32_t stride = 0;  // tokens scored per window after the first; 0: half a window
};
struct Perplexity {
  int64_t tokens = 0, scored_tokens = 0;
  int32_t window = 0, stride = 0;
  double mean_negative_logprob = 0, perplexity = 0;
};
// Every token but the first is scored once, and, where the text has them, with at least
// window - stride tokens before it:
//   window 0: ids[0, window)                    scores [1, window)
//   window w: ids[w*stride, w*stride + window)  scores its last `stride` tokens (fewer at the end)
Result<Perplexity> measure_perplexity(Engine& engine, std::span<const int32_t> ids,
                                      const PerplexityOptions& options);

}  // namespace nereid::commands
