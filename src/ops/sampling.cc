// Sampling, log-probabilities, token counts: shape checks and the launches.
#include "src/ops/sampling.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status sample(Launcher& launcher, const SampleArgs& args) {
  const int64_t rows = args.logits.dim(0), vocab = args.logits.dim(1);
  const bool greedy = !args.temperatures;
  const bool plain = greedy && !args.counts && !args.bias_ids && !args.mask;
  NEREID_CHECK(args.ids.dim(0) >= rows, "ids {}, logits {}", args.ids.text(), args.logits.text());
  const int64_t work_size = 2 * vocab + (vocab + 31) / 32;
  NEREID_CHECK(plain || (args.work && args.work.dim(0) >= rows && args.work.dim(1) >= work_size),
               "work {}, logits {}", args.work.text(), args.logits.text());
  NEREID_CHECK(!args.counts || args.counts.dim(1) == vocab, "counts {}, logits {}",
               args.counts.text(), args.logits.text());
  return launcher.launch<kernels::Sample>(
      {.vocab = vocab,
       .greedy = greedy,
       .has_penalties = static_cast<bool>(args.counts),
       .has_bias = static_cast<bool>(args.bias_ids),
       .has_mask = static_cast<bool>(args.mask),
       .has_logprob = static_cast<bool>(args.logprobs)},
      {.logits = args.logits.ptr(),
       .work = plain ? 0 : args.work.ptr(),
       .temperatures = args.temperatures.ptr(),
       .top_ks = greedy ? 0 : args.top_ks.ptr(),
       .top_ps = greedy ? 0 : args.top_ps.ptr(),
       .min_ps = greedy ? 0 : args.min_ps.ptr(),
       .seeds = greedy ? 0 : args.seeds.ptr(),
       .positions = greedy ? 0 : args.positions.ptr(),
       .counts = args.counts.ptr(),
       .slots = args.counts ? args.slots.ptr() : 0,
       .repetitions = args.counts ? args.repetitions.ptr() : 0,
       .presences = args.counts ? args.presences.ptr() : 0,
       .frequencies = args.counts ? args.frequencies.ptr() : 0,
       .bias_ids = args.bias_ids.ptr(),
       .bias_values = args.bias_ids ? args.bias_values.ptr() : 0,
       .bias_counts = args.bias_ids ? args.bias_counts.ptr() : 0,
       .mask = args.mask.ptr(),
       .ids = args.ids.ptr(),
       .logprobs = args.logprobs.ptr(),
       .rows = static_cast<int32_t>(rows),
       .bias_stride = args.bias_ids ? static_cast<int32_t>(args.bias_ids.row_stride()) : 0});
}

Status top_logprobs(Launcher& launcher, const TopLogprobsArgs& args) {
  const int64_t rows = args.logits.dim(0);
  const int64_t count = args.ids ? args.ids.dim(1) : 0;
  NEREID_CHECK(args.targets.dim(0) >= rows && args.target_logprobs.dim(0) >= rows,
               "targets {}, logits {}", args.targets.text(), args.logits.text());
  NEREID_CHECK(count == 0 || (args.ids.dim(0) >= rows && args.logprobs.dim(1) == count),
               "ids {}, logprobs {}, logits {}", args.ids.text(), args.logprobs.text(),
               args.logits.text());
  return launcher.launch<kernels::TopLogprobs>({.vocab = args.logits.dim(1), .n = count},
                                               {.logits = args.logits.ptr(),
                                                .targets = args.targets.ptr(),
                                                .ids = args.ids.ptr(),
                                                .logprobs = args.logprobs.ptr(),
                                                .target_logprobs = args.target_logprobs.ptr(),
                                                .rows = static_cast<int32_t>(rows)});
}

Status count_tokens(Launcher& launcher, const CountTokensArgs& args) {
  NEREID_CHECK(args.ids.dim(0) == args.slots.dim(0), "ids {}, slots {}", args.ids.text(),
               args.slots.text());
  return launcher.launch<kernels::CountTokens>({.vocab = args.counts.dim(1)},
                                               {.counts = args.counts.ptr(),
                                                .ids = args.ids.ptr(),
                                                .slots = args.slots.ptr(),
                                                .count = static_cast<int32_t>(args.ids.dim(0)),
                                                .in_prompt = args.in_prompt ? 1 : 0});
}

Status clear_i32(Launcher& launcher, const Tensor& tensor) {
  NEREID_CHECK(tensor.dtype() == DType::kI32 && tensor.dense(), "{}", tensor.text());
  return launcher.launch<kernels::Fill>(
      {.dtype = DType::kI32},
      {.out = tensor.ptr(), .count = tensor.shape().elements(), .value = 0.0f});
}

}  // namespace nereid::ops
