// The architectures Nereid knows, and how each becomes a DecoderSpec.
#pragma once

#include "src/base/result.h"
#include "src/nn/decoder_spec.h"

namespace nereid::models {

// Fails with the list of known architectures for an unknown one.
Result<nn::DecoderSpec> decoder_spec(const ModelConfig& config);

// One per file; the source has checked the config and that the tensors it speaks of are there.
Result<nn::DecoderSpec> llama_family_spec(const ModelConfig& config);

}  // namespace nereid::models
