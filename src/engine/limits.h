// What the machine can do at most, beside which speeds are put.
#pragma once

#include <string_view>

#include "src/device/dtype.h"

namespace nereid {

// Per second; 0: not measured. Operations: a multiplication and an addition are two.
struct MachineLimits {
  double read_bytes = 0;  // from memory, over a buffer far larger than the caches
  double f32_operations = 0, bf16_operations = 0, int8_operations = 0;
  double launch_seconds = 0;  // of a kernel that does nothing

  // Of products whose factors are of that type.
  double operations(DType products) const;
};

// Of each figure the better one. What else runs on a machine only makes limits look lower.
MachineLimits better_of(const MachineLimits& left, const MachineLimits& right);

// The least time that bytes and operations take by themselves, and which of the limits says so.
struct LeastTime {
  double seconds = 0;  // 0: the limits do not say
  std::string_view limit = "-";
};
LeastTime least_time(const MachineLimits& limits, double bytes, double operations, DType products);

}  // namespace nereid
