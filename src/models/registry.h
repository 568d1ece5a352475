// The architectures Nereid knows: one function each from the model's config to a DecoderSpec.
#pragma once

#include "src/base/result.h"
#include "src/nn/decoder_spec.h"

namespace nereid::models {

// Fails with the list of known architectures for an unknown one.
Result<nn::DecoderSpec> decoder_spec(const ModelConfig& config);

// One per file; the config has been checked by the model source.
Result<nn::DecoderSpec> llama_spec(const ModelConfig& config);
Result<nn::DecoderSpec> mistral_spec(const ModelConfig& config);
Result<nn::DecoderSpec> qwen2_spec(const ModelConfig& config);
Result<nn::DecoderSpec> qwen3_spec(const ModelConfig& config);

}  // namespace nereid::models
