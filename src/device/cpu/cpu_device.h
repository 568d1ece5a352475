// The cpu driver: native kernels on a pool of threads.
#pragma once

#include <memory>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/drivers.h"

namespace nereid {

// Launches run before launch() returns, those of a sequence before end_sequence() does, on the
// calling thread and the workers. Addresses are plain pointers of this process.
Result<std::unique_ptr<Device>> create_cpu_device(const DeviceOptions& options);

}  // namespace nereid
