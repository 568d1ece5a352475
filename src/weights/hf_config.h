// config.json and generation_config.json of Hugging Face models -> ModelConfig, GenerationDefaults.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "src/base/result.h"
#include "src/weights/source.h"

namespace nereid::hf {

// The values of single fields are checked; check_config() has yet to be called.
Result<ModelConfig> read_config(const nlohmann::json& config);

// `generation`: generation_config.json, or an empty object. Token ids fall back to config.json.
// Errors begin with the name of the file.
Result<GenerationDefaults> read_generation_defaults(const nlohmann::json& config,
                                                    const nlohmann::json& generation,
                                                    int32_t vocab_size);

}  // namespace nereid::hf
