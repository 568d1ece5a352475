// Rows of activations as linear layers take them: numbers, or 8-bit codes with a scale and sums
// for each 32 columns (kernels/activation_codes.py).
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

inline constexpr int64_t kCodeGroup = 32;  // columns that share a scale

// Bytes from row to row of `bytes` codes each. A line more where rows would lie a multiple of 2 KiB
// apart: as many rows as a tile has would share few places of a CPU's first cache.
constexpr int64_t code_stride(int64_t bytes) {
  constexpr int64_t kLine = 64, kPeriod = 2048;
  return bytes % kPeriod == 0 ? bytes + kLine : bytes;
}

// Words of a row of pairs of so many groups, an even number.
constexpr int64_t pair_words(int64_t groups, int64_t terms) {
  return (groups * 3 + 1) * terms;
}

struct ActivationRows {
  Tensor values;  // f32/bf16/f16 [rows, k], or i8 codes [rows, terms * k], rows a stride apart
  Tensor scales;  // f32 [rows, k / 32] with codes, else empty
  Tensor sums;    // f32 [rows, (1 + terms) * k / 32] with codes, else empty
  // i32 [rows, pair_words]: for weights whose scales lie in pairs (quant/weight.h); else empty.
  Tensor pairs;
  int64_t pair_bits = 0;  // of the weights' codes, 4 or 8, that pairs are for; 0 without pairs
  // Scales of a row are whole octaves apart: what norms and encode_rows write, and linear layers
  // do not.
  bool octaves = false;

  ActivationRows() = default;
  ActivationRows(const Tensor& numbers) : values(numbers) {}  // NOLINT: numbers are such rows
  int64_t rows() const { return values.dim(0); }
  int64_t columns() const { return scales ? scales.dim(1) * kCodeGroup : values.dim(1); }
  int64_t terms() const { return values.dim(1) / columns(); }

  ActivationRows(const Tensor& codes, const Tensor& code_scales, const Tensor& code_sums,
                 const Tensor& code_pairs, int64_t bits)
      : values(codes),
        scales(code_scales),
        sums(code_sums),
        pairs(code_pairs),
        pair_bits(bits),
        octaves(true) {}
};

struct EncodeRowsArgs {
  Tensor x;            // f32/bf16/f16 [rows, k], k a multiple of 32
  ActivationRows out;  // codes [rows, k]
};

Status encode_rows(Launcher& launcher, const EncodeRowsArgs& args);

// Fills the pairs of rows of one term whose scales are exact.
Status pair_rows(Launcher& launcher, const ActivationRows& rows);

// Codes have their planes, numbers have none, and shapes agree.
void check_activation_rows(const ActivationRows& rows);

}  // namespace nereid::ops
