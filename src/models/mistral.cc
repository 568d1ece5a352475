// Mistral: Llama's layers with a sliding window in every layer when the config names one.
#include "src/models/common.h"
#include "src/models/registry.h"

namespace nereid::models {

Result<nn::DecoderSpec> mistral_spec(const ModelConfig& config) {
  NEREID_TRY(auto spec, base_spec(config));
  for (auto& layer : spec.layers) layer.sliding_window = config.sliding_window;
  return spec;
}

}  // namespace nereid::models
