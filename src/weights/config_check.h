// A config is believed only after this: values in range and in agreement with each other, and every
// tensor that follows from them present in the file with the right shape.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/weights/field_reader.h"
#include "src/weights/source.h"

namespace nereid {

// Largest values accepted; they keep every product of two of them far inside 64 bits.
struct ConfigLimits {
  static constexpr int32_t kVocab = 1 << 22, kHidden = 1 << 17, kIntermediate = 1 << 20,
                           kLayers = 1024, kHeads = 1024, kHeadDim = 1024, kPositions = 1 << 28;
};

inline constexpr NumberRange kRopeThetaRange{2, 1e12};

// Ranges of single fields are the readers' business; this checks what ties fields together.
Status check_config(const ModelConfig& config);

// `tensors` sorted by name, canonical names. Names the first tensor that is missing, has another
// shape, is stored in a format its role cannot have, or is not known. `file_name` turns a canonical
// name into the one that the file uses, for messages.
Status check_tensors(const ModelConfig& config, std::span<const StoredTensor> tensors,
                     const std::function<std::string(const std::string&)>& file_name);

// "[576, 1536]"
std::string shape_text(std::span<const int64_t> shape);

}  // namespace nereid
