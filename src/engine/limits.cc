// See limits.h.
#include "src/engine/limits.h"

#include <algorithm>

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

MachineLimits better_of(const MachineLimits& left, const MachineLimits& right) {
  return {.read_bytes = std::max(left.read_bytes, right.read_bytes),
          .f32_operations = std::max(left.f32_operations, right.f32_operations),
          .bf16_operations = std::max(left.bf16_operations, right.bf16_operations),
          .int8_operations = std::max(left.int8_operations, right.int8_operations),
          .launch_seconds = std::min(left.launch_seconds, right.launch_seconds)};
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
