// Choosing the next token on the device, and log-probabilities of what could follow.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

// Per-row parameters; a group whose first tensor is empty is left out of the computation.
struct SampleArgs {
  Tensor logits;  // f32 [rows, vocab]
  // f32 [rows, 2 vocab + ceil(vocab / 32)]; may be empty when greedy without penalties, bias and
  // mask
  Tensor work;
  Tensor temperatures, top_ps, min_ps;         // f32 [rows]; empty temperatures: greedy
  Tensor top_ks, positions;                    // i32 [rows]
  Tensor seeds;                                // i64 [rows]
  Tensor counts;                               // i32 [slots, vocab]; empty: no penalties
  Tensor slots;                                // i32 [rows], no two the same
  Tensor repetitions, presences, frequencies;  // f32 [rows]
  Tensor bias_ids, bias_values, bias_counts;   // i32/f32 [rows, most], i32 [rows]; empty: no bias
  Tensor mask;                                 // i32 [rows, ceil(vocab / 32)]; empty: all allowed
  Tensor ids;                                  // i32 [rows]: result; -1 when nothing is allowed
  Tensor logprobs;  // f32 [rows]: of the unprocessed logits at ids; empty: not wanted
};

// Order: penalties, bias, mask, temperature, top-k, top-p, min-p, seeded draw (Philox,
// doi 10.1145/2063384.2063405).
Status sample(Launcher& launcher, const SampleArgs& args);

struct TopLogprobsArgs {
  Tensor logits;           // f32 [rows, vocab]
  Tensor targets;          // i32 [rows]; -1: none
  Tensor ids, logprobs;    // i32/f32 [rows, n], best first; empty: only targets
  Tensor target_logprobs;  // f32 [rows]
};

Status top_logprobs(Launcher& launcher, const TopLogprobsArgs& args);

struct CountTokensArgs {
  Tensor counts;           // i32 [slots, vocab]
  Tensor ids, slots;       // i32 [count]
  bool in_prompt = false;  // tokens of a prompt: penalised by repetition only
};

Status count_tokens(Launcher& launcher, const CountTokensArgs& args);

// Every element of a dense i32 tensor becomes 0.
Status clear_i32(Launcher& launcher, const Tensor& tensor);

}  // namespace nereid::ops
