// What the metadata of a GGUF file says of the model: config, generation defaults, vocabulary.
#pragma once

#include <memory>

#include "src/base/result.h"
#include "src/text/tokenizer.h"
#include "src/weights/gguf_reader.h"
#include "src/weights/source.h"

namespace nereid::gguf {

// The values of single fields are checked; check_config() has yet to be called.
Result<ModelConfig> read_config(const File& file);
Result<GenerationDefaults> read_generation_defaults(const File& file, int32_t vocab_size);
Result<text::GgufVocabulary> read_vocabulary(const File& file);

}  // namespace nereid::gguf
