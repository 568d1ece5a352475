// Zeros into a buffer, by a kernel.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

// The buffer's size is a multiple of 4 bytes.
Status clear(Launcher& launcher, const Buffer& buffer);

}  // namespace nereid::ops
