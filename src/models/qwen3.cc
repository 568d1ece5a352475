// Qwen3 (dense): RMSNorm on every q and k head before RoPE, no biases unless the config asks.
#include "src/models/common.h"
#include "src/models/registry.h"

namespace nereid::models {

Result<nn::DecoderSpec> qwen3_spec(const ModelConfig& config) {
  NEREID_TRY(auto spec, base_spec(config));
  for (size_t i = static_cast<size_t>(config.sliding_window_first_layer); i < spec.layers.size();
       ++i) {
    spec.layers[i].sliding_window = config.sliding_window;
  }
  return spec;
}

}  // namespace nereid::models
