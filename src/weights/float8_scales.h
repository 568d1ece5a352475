// Scales of 8-bit weights lie in a safetensors file as tensors beside them; the rest of the program
// sees a weight with its scales.
#pragma once

#include <vector>

#include "src/base/result.h"
#include "src/weights/source.h"

namespace nereid {

// Takes `X.weight_scale` and `X.weight_scale_inv` out of `tensors` (any order) and gives them to
// `X.weight`, whose format becomes config.quantization's. Scales of activations and of the KV cache
// are taken out and dropped: activations get theirs from their values, the cache needs none. Errors
// name the tensor: scales of another type or shape, without their weight, two of them, or missing.
Status attach_float8_scales(const ModelConfig& config, std::vector<StoredTensor>& tensors);

}  // namespace nereid
