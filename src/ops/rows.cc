// Rows by index: shape checks and the launch.
#include "src/ops/rows.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status take_rows(Launcher& launcher, const TakeRowsArgs& args) {
  const int64_t rows = args.out.dim(0), dim = args.out.dim(1);
  NEREID_CHECK(args.x.dim(1) == dim && args.x.dtype() == args.out.dtype() && args.x.dense() &&
                   args.out.dense() && args.index.dim(0) == rows &&
                   args.index.dtype() == DType::kI32,
               "x {}, index {}, out {}", args.x.text(), args.index.text(), args.out.text());
  return launcher.launch<kernels::TakeRows>({.dtype = args.x.dtype(), .dim = dim},
                                            {.x = args.x.ptr(),
                                             .index = args.index.ptr(),
                                             .out = args.out.ptr(),
                                             .rows = static_cast<int32_t>(rows)});
}

}  // namespace nereid::ops
