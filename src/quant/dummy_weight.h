// Weights that no file holds: the device fills the planes with numbers of a usual size, the same in
// every run. For measuring a model of which only the config is there.
#pragma once

#include <span>

#include "src/base/result.h"
#include "src/quant/weight.h"

namespace nereid::quant {

// Fills the planes of `weight`, which the tensors of `parts` make up.
Status fill_dummy_weight(Launcher& launcher, std::span<const StoredTensor* const> parts,
                         const Weight& weight);

// One where a norm multiplies, zero where a layer adds.
Result<Buffer> make_dummy_vector(Launcher& launcher, std::span<const StoredTensor* const> parts);

}  // namespace nereid::quant
