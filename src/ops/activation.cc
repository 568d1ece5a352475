// Gated activations: shape checks and the launches.
#include "src/ops/activation.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status gated_product(Launcher& launcher, const GatedProductArgs& args) {
  const int64_t rows = args.out.dim(0), dim = args.out.dim(1);
  NEREID_CHECK(args.gate.dim(0) == rows && args.gate.dim(1) == dim && args.up.dim(0) == rows &&
                   args.up.dim(1) == dim && args.gate.dtype() == args.up.dtype(),
               "gate {}, up {}, out {}", args.gate.text(), args.up.text(), args.out.text());
  const auto launch = [&]<class K>(const typename K::Key& key) {
    return launcher.launch<K>(key, {.gate = args.gate.ptr(),
                                    .up = args.up.ptr(),
                                    .out = args.out.ptr(),
                                    .rows = static_cast<int32_t>(rows),
                                    .gate_stride = static_cast<int32_t>(args.gate.row_stride()),
                                    .up_stride = static_cast<int32_t>(args.up.row_stride())});
  };
  if (args.activation == Gate::kSilu) {
    return launch.operator()<kernels::SiluMul>(
        {.x_dtype = args.gate.dtype(), .out_dtype = args.out.dtype(), .dim = dim});
  }
  NEREID_CHECK(args.activation != Gate::kNone, "a gated product without its activation");
  return launch.operator()<kernels::GeluMul>({.x_dtype = args.gate.dtype(),
                                              .out_dtype = args.out.dtype(),
                                              .dim = dim,
                                              .exact = args.activation == Gate::kGeluErf});
}

}  // namespace nereid::ops
