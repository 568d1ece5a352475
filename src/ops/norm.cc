// RMSNorm: shape checks and the launch.
#include "src/ops/norm.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status rms_norm(Launcher& launcher, const RmsNormArgs& args) {
  const Tensor& out = args.out.values;
  const int64_t rows = out.dim(0), dim = args.out.columns();
  check_activation_rows(args.out);
  NEREID_CHECK(args.out.octaves == static_cast<bool>(args.out.scales), "out {}", out.text());
  NEREID_CHECK(args.x.dim(1) == dim && args.weight.dim(0) == dim, "x {}, weight {}, out {}",
               args.x.text(), args.weight.text(), out.text());
  NEREID_CHECK(!args.index ? args.x.dim(0) >= rows : args.index.dim(0) >= rows,
               "x {}, index {}, out {}", args.x.text(), args.index.text(), out.text());
  return launcher.launch<kernels::RmsNorm>({.x_dtype = args.x.dtype(),
                                            .weight_dtype = args.weight.dtype(),
                                            .out_dtype = out.dtype(),
                                            .dim = dim,
                                            .terms = args.out.terms(),
                                            .paired = args.out.pair_bits,
                                            .out_stride = out.row_stride(),
                                            .has_index = static_cast<bool>(args.index)},
                                           {.x = args.x.ptr(),
                                            .weight = args.weight.ptr(),
                                            .index = args.index.ptr(),
                                            .out = out.ptr(),
                                            .out_scales = args.out.scales.ptr(),
                                            .out_sums = args.out.sums.ptr(),
                                            .out_pairs = args.out.pairs.ptr(),
                                            .rows = static_cast<int32_t>(rows),
                                            .eps = args.eps});
}

}  // namespace nereid::ops
