// Llama 2, 3.x and the many models of the same shape (SmolLM2 among them).
#include "src/models/common.h"
#include "src/models/registry.h"

namespace nereid::models {

Result<nn::DecoderSpec> llama_spec(const ModelConfig& config) {
  return base_spec(config);
}

}  // namespace nereid::models
