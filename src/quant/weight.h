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

// Scales of two neighbouring groups in a word, and the units of rows, where rows are codes
// (kernels/scale_pairs.py). mins is empty without has_min.
struct ScalePairs {
  Buffer scales, mins;

  uint64_t bytes() const { return scales.bytes() + mins.bytes(); }
};

// A weight [n, k] in device memory, in panels (format.h) or row by row. Owns its planes.
struct Weight {
  PlaneFormat format;
  int64_t n = 0, k = 0;
  bool by_rows = false;        // as stored: codes are [n, k] of format.code_dtype
  Buffer codes, scales, mins;  // mins is empty without has_min, scales too when unquantised
  ScalePairs pairs;            // empty unless made by pair_scales

  bool paired() const { return static_cast<bool>(pairs.scales); }
  uint64_t bytes() const { return codes.bytes() + scales.bytes() + mins.bytes() + pairs.bytes(); }
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

// Whether layers over the weight, with rows as codes, are faster with its scales in pairs: the
// target multiplies signed bytes by unsigned ones (VNNI), and the weight has groups of 32 columns,
// an even number of them, and 4-bit codes, or 8-bit ones without minima.
bool takes_pairs(const Launcher& launcher, const Weight& weight);

// Makes the pairs of a weight that takes_pairs from its scales, which stay: the device may still be
// at work on return.
Status pair_scales(Launcher& launcher, Weight& weight);

// Vectors of one unquantised format (norm weights, biases), concatenated, as f32.
Result<Buffer> load_vector_f32(Launcher& launcher, const TensorPages& pages,
                               std::span<const StoredTensor* const> parts);

}  // namespace nereid::quant
