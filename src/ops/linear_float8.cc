// See linear_float8.h.
#include "src/ops/linear_float8.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {
namespace {

// One row is multiplied in registers at the speed its weights come, whatever its type is: x stays
// as it is, and the launch that rounds it is saved.
constexpr int64_t kRowsForFloat8 = 2;

// Columns that share a scale. One group is written as the whole row.
int64_t group_of(const quant::Weight& weight) {
  const int64_t group = weight.format.group;
  return group == 0 || group > weight.k ? weight.k : group;
}

Status over_panels(Launcher& launcher, const LinearArgs& args) {
  const quant::Weight &weight = *args.weight, *up = args.up;
  return launcher.launch<kernels::LinearF8Panels>(
      {.x_dtype = args.x.values.dtype(),
       .out_dtype = args.out.values.dtype(),
       .n = weight.n,
       .k = weight.k,
       .scale_rows = weight.format.scale_rows,
       .group = group_of(weight),
       .out_stride = args.out.values.row_stride(),
       .has_bias = args.bias != 0,
       .residual = args.residual,
       .gate = static_cast<int64_t>(args.gate)},
      {.x = args.x.values.ptr(),
       .codes = weight.codes.ptr(),
       .scales = weight.scales.ptr(),
       .codes2 = up ? up->codes.ptr() : 0,
       .scales2 = up ? up->scales.ptr() : 0,
       .bias = args.bias,
       .out = args.out.values.ptr(),
       .rows = static_cast<int32_t>(args.x.values.dim(0))});
}

Status over_rows(Launcher& launcher, const LinearArgs& args, DType x_dtype, DevicePtr x,
                 DevicePtr x_scales) {
  const quant::Weight &weight = *args.weight, *up = args.up;
  return launcher.launch<kernels::LinearF8>({.x_dtype = x_dtype,
                                             .out_dtype = args.out.values.dtype(),
                                             .n = weight.n,
                                             .k = weight.k,
                                             .scale_rows = weight.format.scale_rows,
                                             .group = group_of(weight),
                                             .out_stride = args.out.values.row_stride(),
                                             .has_bias = args.bias != 0,
                                             .residual = args.residual,
                                             .gate = static_cast<int64_t>(args.gate)},
                                            {.x = x,
                                             .x_scales = x_scales,
                                             .weights = weight.codes.ptr(),
                                             .scales = weight.scales.ptr(),
                                             .weights2 = up ? up->codes.ptr() : 0,
                                             .scales2 = up ? up->scales.ptr() : 0,
                                             .bias = args.bias,
                                             .out = args.out.values.ptr(),
                                             .rows = static_cast<int32_t>(args.x.values.dim(0))});
}

}  // namespace

Status linear_float8(Launcher& launcher, const LinearArgs& args) {
  const quant::Weight& weight = *args.weight;
  const Tensor& x = args.x.values;
  NEREID_CHECK(args.up == nullptr || args.up->by_rows == weight.by_rows,
               "gate and up lie differently");
  if (!weight.by_rows) return over_panels(launcher, args);
  if (args.float8.codes == 0 || x.dim(0) < kRowsForFloat8) {
    return over_rows(launcher, args, x.dtype(), x.ptr(), 0);
  }
  NEREID_RETURN_IF_ERROR(launcher.launch<kernels::EncodeF8>(
      {.x_dtype = x.dtype(), .k = weight.k, .group = group_of(weight)},
      {.x = x.ptr(),
       .codes = args.float8.codes,
       .scales = args.float8.scales,
       .rows = static_cast<int32_t>(x.dim(0))}));
  return over_rows(launcher, args, DType::kF8E4M3, args.float8.codes, args.float8.scales);
}

}  // namespace nereid::ops
