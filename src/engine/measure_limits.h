// Measures what a machine can do at most, by kernels of our own on the device itself.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/engine/limits.h"

namespace nereid {

// Takes about a second and half a gigabyte of the device's memory (less where there is less). The
// kernels have a pack of their own, which is built where the cache lacks it. An error where that is
// not possible, or where the device computes nothing. Other work on the machine makes limits look
// lower.
Result<MachineLimits> measure_limits(
    Device& device,
    const std::function<void(int done, int total, const std::string& what)>& on_pack_progress);

}  // namespace nereid
