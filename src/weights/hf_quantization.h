// quantization_config of config.json: which 8-bit floats a Hugging Face folder may hold.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "src/base/result.h"
#include "src/weights/source.h"

namespace nereid::hf {

// Reads what transformers and vLLM write with quant_method "fp8" (weights e4m3, one scale of a
// tensor, or blocks as weight_block_size says) and "compressed-tensors" (format "float-quantized").
// Anything else is an error that names the field.
Result<WeightQuantization> read_quantization(const nlohmann::json& value);

}  // namespace nereid::hf
