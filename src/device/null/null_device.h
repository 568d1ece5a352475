// The null driver: hands out addresses, checks every launch, runs nothing.
#pragma once

#include <memory>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/drivers.h"

namespace nereid {

// A model built on it shows which kernels it launches, without memory or a processor of that kind.
// Launches that carry their declaration are checked: number of arguments, pointers inside live
// allocations (or null where allowed), alignment.
Result<std::unique_ptr<Device>> create_null_device(const DeviceOptions& options);

}  // namespace nereid
