// The driver for NVIDIA GPUs: libcuda, loaded at run time. See src/device/gpu/gpu_device.h.
#pragma once

#include "src/device/drivers.h"

namespace nereid {

Result<std::unique_ptr<Device>> create_cuda_device(const DeviceOptions& options);
Result<int> count_cuda_devices();

}  // namespace nereid
