// What every driver checks of a launch before it runs it.
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/device/device.h"

namespace nereid {

// Programs of the grid, 0 for an empty one. More than 2^31 - 1 are an error; no kernel, or a wrong
// number of arguments, is a bug (CHECK).
Result<uint64_t> count_programs(const LaunchParams& params);

}  // namespace nereid
