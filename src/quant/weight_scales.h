// Scales of e4m3 weights: from the file into the f32 plane that kernels/linear_f8.py reads.
#pragma once

#include <span>

#include "src/base/result.h"
#include "src/quant/weight.h"

namespace nereid::quant {

// Fills weight.scales, f32 [ceil(n / scale_rows), ceil(k / group)], with the scales of `parts`. One
// scale of a whole tensor becomes one for each of its rows. Errors name the tensor.
Status load_scales(Launcher& launcher, std::span<const StoredTensor* const> parts,
                   const Weight& weight);

}  // namespace nereid::quant
