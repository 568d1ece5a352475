// The safetensors container: 8-byte header length, JSON header, tensor data.
//
// Accepts what the reference implementation accepts: tensors cover the data exactly, without holes
// or overlaps. Everything returned points into the span given.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/quant/storage.h"

namespace nereid::safetensors {

// In the order of the header's keys. Names are unique.
Result<std::vector<StoredTensor>> parse(std::span<const std::byte> file);

}  // namespace nereid::safetensors
