// RMSNorm.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/ops/activation_rows.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

struct RmsNormArgs {
  Tensor x;            // [source rows, dim]
  Tensor index;        // i32 [rows]: which rows of x; empty: rows 0.. in order
  Tensor weight;       // [dim]
  ActivationRows out;  // [rows, dim]
  float eps = 1e-5f;
};

// out[r] = x[index[r]] / sqrt(mean(x[index[r]]^2) + eps) * weight   (arXiv 1910.07467)
Status rms_norm(Launcher& launcher, const RmsNormArgs& args);

}  // namespace nereid::ops
