// Llama 2, 3.x and the many models of the same shape (SmolLM2 among them).
#include "src/models/common.h"
#include "src/models/registry.h"

namespace nereid::models {

Result<nn::DecoderSpec> llama_spec(const ModelConfig& config) {
  NEREID_TRY(auto spec, base_spec(config));
  spec.attention.qkv_bias = config.attention_bias;
  spec.attention.out_bias = config.attention_bias;
  spec.mlp.bias = config.mlp_bias;
  return spec;
}

}  // namespace nereid::models
