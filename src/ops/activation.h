// The gated activation as an operator of its own, for weights that cannot be fused (linear.h does
// the rest).
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/ops/linear.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

struct GatedProductArgs {
  Tensor gate, up;  // [rows, dim]
  Tensor out;       // [rows, dim]
  Gate activation = Gate::kSilu;
};

// out = activation(gate) * up
Status gated_product(Launcher& launcher, const GatedProductArgs& args);

}  // namespace nereid::ops
