// Shape checks and launches of kernels/limits.py.
#include "src/ops/limits.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status fill_ones(Launcher& launcher, const Tensor& tensor) {
  NEREID_CHECK(tensor.dense(), "{}", tensor.text());
  const bool bytes = dtype_size(tensor.dtype()) == 1;
  return launcher.launch<kernels::Fill>(
      {.dtype = bytes ? DType::kU8 : tensor.dtype()},
      {.out = tensor.ptr(), .count = tensor.shape().elements(), .value = 1});
}

Status nothing(Launcher& launcher, int32_t programs) {
  return launcher.launch<kernels::Nothing>({}, {.programs = programs});
}

Status read_words(Launcher& launcher, const ReadWordsArgs& args) {
  NEREID_CHECK(args.words.dim(0) == args.sums.dim(0) * kReadWords, "words {}, sums {}",
               args.words.text(), args.sums.text());
  return launcher.launch<kernels::ReadWords>(
      {}, {.words = args.words.ptr(), .sums = args.sums.ptr(), .count = args.words.dim(0)});
}

Status repeated_dot(Launcher& launcher, const RepeatedDotArgs& args) {
  const int64_t m = args.x.dim(0), k = args.x.dim(1), n = args.w.dim(1);
  NEREID_CHECK(args.w.dim(0) * args.w.dim(2) == k && args.out.dim(1) == m && args.out.dim(2) == n,
               "x {}, w {}, out {}", args.x.text(), args.w.text(), args.out.text());
  const int64_t mask = args.x.dtype() == DType::kI8 ? args.mask : 0;
  return launcher.launch<kernels::RepeatedDot>({.dtype = args.x.dtype(),
                                                .out_dtype = args.out.dtype(),
                                                .m = m,
                                                .n = n,
                                                .k = k,
                                                .mask = mask},
                                               {.x = args.x.ptr(),
                                                .w = args.w.ptr(),
                                                .out = args.out.ptr(),
                                                .programs = static_cast<int32_t>(args.out.dim(0)),
                                                .rounds = args.rounds});
}

}  // namespace nereid::ops
