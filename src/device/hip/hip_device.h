// The driver for AMD GPUs: libamdhip64, loaded at run time. See src/device/gpu/gpu_device.h.
#pragma once

#include "src/device/drivers.h"

namespace nereid {

Result<std::unique_ptr<Device>> create_hip_device(const DeviceOptions& options);
Result<int> count_hip_devices();

}  // namespace nereid
