// Rows of activations: their shapes, and the launch that turns numbers into codes.
#include "src/ops/activation_rows.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

void check_activation_rows(const ActivationRows& rows) {
  const bool codes = rows.values.dtype() == DType::kI8;
  NEREID_CHECK(codes == static_cast<bool>(rows.scales) && codes == static_cast<bool>(rows.sums),
               "values {}, scales {}", rows.values.text(), rows.scales.text());
  if (!codes) return;
  NEREID_CHECK((rows.terms() == 1 || rows.terms() == 2) &&
                   rows.values.dim(1) == rows.terms() * rows.columns() &&
                   rows.sums.dim(1) == (1 + rows.terms()) * rows.scales.dim(1) &&
                   rows.scales.dim(0) >= rows.rows() && rows.sums.dim(0) >= rows.rows(),
               "codes {}, scales {}, sums {}", rows.values.text(), rows.scales.text(),
               rows.sums.text());
}

Status encode_rows(Launcher& launcher, const EncodeRowsArgs& args) {
  check_activation_rows(args.out);
  NEREID_CHECK(args.out.octaves && args.x.dim(1) == args.out.columns() &&
                   args.x.dim(0) == args.out.rows() && args.x.dense(),
               "x {}, codes {}", args.x.text(), args.out.values.text());
  return launcher.launch<kernels::EncodeRows>({.x_dtype = args.x.dtype(),
                                               .dim = args.x.dim(1),
                                               .terms = args.out.terms(),
                                               .out_stride = args.out.values.row_stride()},
                                              {.x = args.x.ptr(),
                                               .codes = args.out.values.ptr(),
                                               .scales = args.out.scales.ptr(),
                                               .sums = args.out.sums.ptr(),
                                               .rows = static_cast<int32_t>(args.x.dim(0))});
}

}  // namespace nereid::ops
