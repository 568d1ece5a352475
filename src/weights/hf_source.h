// A Hugging Face model directory as a ModelSource: config.json, *.safetensors (one file or shards
// with an index), generation_config.json, tokenizer.json, tokenizer_config.json,
// chat_template.jinja.
#pragma once

#include <memory>
#include <string>

#include "src/weights/source.h"

namespace nereid {

Result<std::unique_ptr<ModelSource>> open_hf(const std::string& directory,
                                             const OpenOptions& options);

}  // namespace nereid
