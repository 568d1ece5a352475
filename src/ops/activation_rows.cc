// Rows of activations: their shapes, and the launch that turns numbers into codes.
#include "src/ops/activation_rows.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

void check_activation_rows(const ActivationRows& rows) {
  const bool codes = rows.values.dtype() == DType::kI8;
  NEREID_CHECK(codes == static_cast<bool>(rows.scales) && codes == static_cast<bool>(rows.sums),
               "values {}, scales {}", rows.values.text(), rows.scales.text());
  NEREID_CHECK(static_cast<bool>(rows.pairs) == (rows.pair_bits != 0), "pairs {} for {} bits",
               rows.pairs.text(), rows.pair_bits);
  NEREID_CHECK(codes || !rows.pairs, "pairs {} of numbers", rows.pairs.text());
  if (!codes) return;
  NEREID_CHECK(!rows.pairs || (rows.scales.dim(1) % 2 == 0 && rows.pairs.dim(0) >= rows.rows() &&
                               rows.pairs.dim(1) == pair_words(rows.scales.dim(1), rows.terms())),
               "codes {}, pairs {}", rows.values.text(), rows.pairs.text());
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
                                               .paired = args.out.pair_bits,
                                               .out_stride = args.out.values.row_stride()},
                                              {.x = args.x.ptr(),
                                               .codes = args.out.values.ptr(),
                                               .scales = args.out.scales.ptr(),
                                               .sums = args.out.sums.ptr(),
                                               .pairs = args.out.pairs.ptr(),
                                               .rows = static_cast<int32_t>(args.x.dim(0))});
}

Status pair_rows(Launcher& launcher, const ActivationRows& rows) {
  check_activation_rows(rows);
  NEREID_CHECK(rows.pairs && !rows.octaves && rows.terms() == 1, "codes {}, pairs {}",
               rows.values.text(), rows.pairs.text());
  return launcher.launch<kernels::PairRows>({.dim = rows.columns(), .bits = rows.pair_bits},
                                            {.scales = rows.scales.ptr(),
                                             .pairs = rows.pairs.ptr(),
                                             .rows = static_cast<int32_t>(rows.rows())});
}

}  // namespace nereid::ops
