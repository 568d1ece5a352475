// Linear layers over e4m3 weights: which kernel, and in what form it takes x.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/ops/linear.h"

namespace nereid::ops {

// As linear(), which has checked the arguments.
Status linear_float8(Launcher& launcher, const LinearArgs& args);

}  // namespace nereid::ops
