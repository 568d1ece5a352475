// Matrix products with weights in any format, and rows of an embedding table.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/ops/activation_rows.h"
#include "src/quant/weight.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

// What a linear layer does with its product. Values as kernels/linear.py's `gate` key field has
// them.
enum class Gate : uint8_t { kNone = 0, kSilu = 1, kGeluTanh = 2, kGeluErf = 3 };

// Room for x as e4m3 codes (kernels/float8.py), for layers of so many rows and columns.
struct Float8Rows {
  DevicePtr codes = 0;   // f8e4m3 [rows, k]
  DevicePtr scales = 0;  // f32 [ceil(k / group of the weight), rows]
};

struct LinearArgs {
  ActivationRows x;                       // [rows, k], dense; codes need a quantised weight
  const quant::Weight* weight = nullptr;  // [n, k]
  const quant::Weight* up =
      nullptr;              // gated: out = gate(x weight^T) * (x up^T); same format as weight
  int64_t second_from = 0;  // of two terms: columns before it, a multiple of 32, take the first
  Gate gate = Gate::kNone;
  DevicePtr bias = 0;     // f32 [n]; 0: none
  ActivationRows out;     // [rows, n]; numbers may be a column slice of a wider matrix
  bool residual = false;  // out += product instead of out = product; out is f32
  // Given: the layer multiplies e4m3 weights with x in e4m3 too, unless there is one row.
  Float8Rows float8;
};

// Whether x may be codes.
bool takes_codes(const quant::Weight& weight);

// out = x weight^T (+ bias), gated or added to out.
Status linear(Launcher& launcher, const LinearArgs& args);

struct EmbedArgs {
  Tensor ids;                            // i32 [rows]
  const quant::Weight* table = nullptr;  // [vocab, dim]
  Tensor out;                            // f32 [rows, dim]
};

// out[r] = table[ids[r]]; an id out of range gives a row of zeros.
Status embed(Launcher& launcher, const EmbedArgs& args);

}  // namespace nereid::ops
