// The table of architectures.
#include "src/models/registry.h"

#include <array>
#include <string_view>

namespace nereid::models {

namespace {

struct Architecture {
  std::string_view name;
  Result<nn::DecoderSpec> (*spec)(const ModelConfig&);
};

constexpr std::array kArchitectures = {
    Architecture{"llama", llama_family_spec},
    Architecture{"mistral", llama_family_spec},
    Architecture{"qwen2", llama_family_spec},
    Architecture{"qwen3", llama_family_spec},
};

}  // namespace

Result<nn::DecoderSpec> decoder_spec(const ModelConfig& config) {
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == config.architecture) return architecture.spec(config);
    known += known.empty() ? "" : ", ";
    known += architecture.name;
  }
  return error("architecture: found '{}', expected one of {}", config.architecture, known);
}

}  // namespace nereid::models
