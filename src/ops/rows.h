// Rows of a tensor by their index.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

struct TakeRowsArgs {
  Tensor x;      // [source rows, dim]
  Tensor index;  // i32 [rows]: which rows of x
  Tensor out;    // [rows, dim], of x's type; does not overlap x
};

// out[r] = x[index[r]]
Status take_rows(Launcher& launcher, const TakeRowsArgs& args);

}  // namespace nereid::ops
