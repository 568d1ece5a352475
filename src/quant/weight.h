// Stored tensors -> device memory in the layout that kernels read.
#pragma once

#include <cstdint>
#include <span>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/quant/format.h"
#include "src/quant/storage.h"
#include "src/tensor/tensor.h"

namespace nereid::quant {

// A weight [n, k] in device memory, in panels (format.h) or row by row. Owns its planes.
struct Weight {
  PlaneFormat format;
  int64_t n = 0, k = 0;
  bool by_rows = false;        // as stored: codes are [n, k] of format.code_dtype
  Buffer codes, scales, mins;  // mins is empty without has_min, scales too when unquantised

  uint64_t bytes() const { return codes.bytes() + scales.bytes() + mins.bytes(); }
};

// Whether load_weight may make one weight of `parts`: they are stored alike, and e4m3 codes have
// scales that lie alike and end with their part.
bool can_fuse(std::span<const StoredTensor* const> parts);

// Uploads the stored rows of `parts` through `staging`, a buffer of bounded size that is made or
// grown where needed and serves the next weight too, and repacks them with kernels; for a GPU a
// weight whose elements are whole bytes is uploaded to its place, as its matrix instructions want
// it. The device may still be at work on return. `parts`: matrices [n_i, k] that can_fuse; n is the
// sum of n_i (q, k and v fused). Errors name the tensor: a NaN or infinite scale or element, no
// memory. On the null device nothing is read from the file.
Result<Weight> load_weight(Launcher& launcher, const TensorPages& pages,
                           std::span<const StoredTensor* const> parts, Buffer& staging);

// Vectors of one unquantised format (norm weights, biases), concatenated, as f32.
Result<Buffer> load_vector_f32(Launcher& launcher, const TensorPages& pages,
                               std::span<const StoredTensor* const> parts);

}  // namespace nereid::quant
