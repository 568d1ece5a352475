// See limits.h.
#include "src/engine/limits.h"

namespace nereid {

double MachineLimits::operations(DType products) const {
  switch (products) {
    case DType::kF32:
      return f32_operations;
    case DType::kBF16:
      return bf16_operations;
    case DType::kI8:
      return int8_operations;
    default:
      return 0;
  }
}

LeastTime least_time(const MachineLimits& limits, double bytes, double operations, DType products) {
  LeastTime least;
  if (limits.read_bytes > 0 && bytes > 0) least = {bytes / limits.read_bytes, "memory"};
  const double peak = limits.operations(products);
  if (peak > 0 && operations / peak > least.seconds) {
    least = {operations / peak, dtype_name(products)};
  }
  return least;
}

}  // namespace nereid
