// What the architectures of the Llama family share.
#pragma once

#include "src/base/result.h"
#include "src/nn/decoder_spec.h"

namespace nereid::models {

// Pre-norm decoder with RMSNorm, RoPE, GQA and a gated MLP, every layer alike, no biases.
Result<nn::DecoderSpec> base_spec(const ModelConfig& config);

}  // namespace nereid::models
