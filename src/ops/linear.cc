// Linear layers and embedding rows: shape checks and the launches.
#include "src/ops/linear.h"

#include "kernels/kernels.h"
#include "src/base/check.h"
#include "src/ops/linear_float8.h"

namespace nereid::ops {

namespace {

void check_linear(const LinearArgs& args) {
  const quant::Weight& weight = *args.weight;
  const Tensor &x = args.x.values, &out = args.out.values;
  check_activation_rows(args.x);
  check_activation_rows(args.out);
  NEREID_CHECK(args.x.columns() == weight.k && (args.x.scales || x.dense()),
               "x {}, weight [{}, {}]", x.text(), weight.n, weight.k);
  NEREID_CHECK(args.out.terms() == 1 && out.dim(1) == weight.n && out.dim(0) == x.dim(0),
               "x {}, weight [{}, {}], out {}", x.text(), weight.n, weight.k, out.text());
  NEREID_CHECK(!args.x.scales || takes_codes(weight), "codes for a weight without groups");
  NEREID_CHECK(!args.out.scales || (args.x.scales && !args.out.octaves), "codes out of x {}",
               x.text());
  NEREID_CHECK(!args.x.scales || !weight.paired() || args.x.pair_bits == weight.format.bits,
               "x {} with pairs for {} bits, weights of {}", x.text(), args.x.pair_bits,
               weight.format.bits);
  NEREID_CHECK((args.gate == Gate::kNone) == (args.up == nullptr), "gate {} without its weight",
               static_cast<int>(args.gate));
  NEREID_CHECK(args.up == nullptr ||
                   (args.up->n == weight.n && args.up->k == weight.k &&
                    args.up->format == weight.format && args.up->paired() == weight.paired()),
               "gate and up differ in shape or format");
  NEREID_CHECK(!args.residual || out.dtype() == DType::kF32, "residual out {}", out.text());
  NEREID_CHECK(args.second_from % 32 == 0 && (args.second_from == 0 || args.x.terms() == 2),
               "second terms from column {}, x {}", args.second_from, x.text());
}

struct ScalePlanes {
  DevicePtr scales = 0, mins = 0;
};

ScalePlanes planes_of(const quant::Weight* weight, bool paired) {
  if (!weight) return {};
  return paired ? ScalePlanes{weight->pairs.scales.ptr(), weight->pairs.mins.ptr()}
                : ScalePlanes{weight->scales.ptr(), weight->mins.ptr()};
}

Status linear_panels(Launcher& launcher, const LinearArgs& args) {
  const quant::Weight& weight = *args.weight;
  const quant::Weight* up = args.up;
  const bool paired = weight.paired() && args.x.scales;  // numbers take scales as they were
  const ScalePlanes planes = planes_of(&weight, paired), up_planes = planes_of(up, paired);
  return launcher.launch<kernels::Linear>(
      {.x_dtype = args.x.values.dtype(),
       .out_dtype = args.out.values.dtype(),
       .paired_out = static_cast<bool>(args.out.pairs),
       .terms = args.x.terms(),
       .second_from = args.second_from,
       .octaves = args.x.octaves,
       .bits = weight.format.bits,
       .code_dtype = weight.format.code_dtype,
       .zero = weight.format.zero,
       .group = weight.format.group,
       .scale_dtype = paired ? DType::kI32 : weight.format.scale_dtype,
       .has_min = weight.format.has_min,
       .n = weight.n,
       .k = weight.k,
       .x_stride = args.x.values.row_stride(),
       .out_stride = args.out.values.row_stride(),
       .has_bias = args.bias != 0,
       .residual = args.residual,
       .gate = static_cast<int64_t>(args.gate)},
      {.x = args.x.values.ptr(),
       .x_scales = args.x.scales.ptr(),
       .x_sums = args.x.sums.ptr(),
       .x_pairs = args.x.pairs.ptr(),
       .codes = weight.codes.ptr(),
       .scales = planes.scales,
       .mins = planes.mins,
       .codes2 = up ? up->codes.ptr() : 0,
       .scales2 = up_planes.scales,
       .mins2 = up_planes.mins,
       .bias = args.bias,
       .out = args.out.values.ptr(),
       .out_scales = args.out.scales.ptr(),
       .out_sums = args.out.sums.ptr(),
       .out_pairs = args.out.pairs.ptr(),
       .rows = static_cast<int32_t>(args.x.values.dim(0))});
}

Status linear_rows(Launcher& launcher, const LinearArgs& args) {
  const quant::Weight& weight = *args.weight;
  NEREID_CHECK(args.up == nullptr || args.up->by_rows, "gate and up lie differently");
  return launcher.launch<kernels::LinearRows>({.x_dtype = args.x.values.dtype(),
                                               .weight_dtype = weight.format.code_dtype,
                                               .out_dtype = args.out.values.dtype(),
                                               .n = weight.n,
                                               .k = weight.k,
                                               .out_stride = args.out.values.row_stride(),
                                               .has_bias = args.bias != 0,
                                               .residual = args.residual,
                                               .gate = static_cast<int64_t>(args.gate)},
                                              {.x = args.x.values.ptr(),
                                               .weights = weight.codes.ptr(),
                                               .weights2 = args.up ? args.up->codes.ptr() : 0,
                                               .bias = args.bias,
                                               .out = args.out.values.ptr(),
                                               .rows = static_cast<int32_t>(args.x.values.dim(0))});
}

}  // namespace

bool takes_codes(const quant::Weight& weight) {
  return weight.format.has_integer_codes() && weight.k % kCodeGroup == 0;
}

Status linear(Launcher& launcher, const LinearArgs& args) {
  check_linear(args);
  if (args.weight->format.is_float8()) return linear_float8(launcher, args);
  if (args.weight->by_rows) return linear_rows(launcher, args);
  return linear_panels(launcher, args);
}

Status embed(Launcher& launcher, const EmbedArgs& args) {
  const quant::Weight& table = *args.table;
  NEREID_CHECK(args.out.dim(1) == table.k && args.out.dim(0) == args.ids.dim(0) &&
                   args.ids.dtype() == DType::kI32,
               "ids {}, table [{}, {}], out {}", args.ids.text(), table.n, table.k,
               args.out.text());
  if (table.by_rows) {
    NEREID_CHECK(args.out.dtype() == DType::kF32, "out {}", args.out.text());
    return launcher.launch<kernels::Embedding>(
        {.table_dtype = table.format.code_dtype, .vocab = table.n, .dim = table.k},
        {.table = table.codes.ptr(),
         .ids = args.ids.ptr(),
         .out = args.out.ptr(),
         .rows = static_cast<int32_t>(args.ids.dim(0))});
  }
  return launcher.launch<kernels::EmbeddingQuant>({.out_dtype = args.out.dtype(),
                                                   .bits = table.format.bits,
                                                   .code_dtype = table.format.code_dtype,
                                                   .zero = table.format.zero,
                                                   .group = table.format.group,
                                                   .scale_dtype = table.format.scale_dtype,
                                                   .has_min = table.format.has_min,
                                                   .n = table.n,
                                                   .k = table.k},
                                                  {.ids = args.ids.ptr(),
                                                   .codes = table.codes.ptr(),
                                                   .scales = table.scales.ptr(),
                                                   .mins = table.mins.ptr(),
                                                   .out = args.out.ptr(),
                                                   .rows = static_cast<int32_t>(args.ids.dim(0))});
}

}  // namespace nereid::ops
