// How one tt.dot is computed; shared by dot.cc (decisions), dot_pack.cc (operands into the layout
// that the inner loop wants) and dot_kernel.cc (the inner loops).
#pragma once

#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

// The instruction at the heart of the inner loop.
enum class DotKind {
  kFloat,   // f32 or f64 multiply-add
  kBf16,    // vdpbf16ps: pairs along k
  kInt8,    // vpdpbusd: quads along k, of unsigned and signed bytes
  kInteger  // multiply and add in the accumulator's type
};

// How b reaches the inner loop: evaluated there, or packed first, row by row or by transposing
// squares.
enum class BSource { kInPlace, kRows, kTransposed };

// d (batch, m, n) = a (batch, m, k) * b (batch, k, n) + c
struct DotPlan {
  mutable mlir::triton::DotOp op;  // accessors of ops are not const
  DotKind kind = DotKind::kFloat;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  int64_t group = 1;   // elements along k that one lane of an instruction takes
  unsigned lanes = 1;  // accumulators per vector, along n
  mlir::Type compute;  // type of the operands in the inner loop
  mlir::Type accumulator;
  bool starts_from_zero = false;
  bool batched = false;  // operands have the batch dimension
  // kInt8: b has no negative elements and is the unsigned operand. Else a is, as a + 128, and 128
  // times the column sums of b are taken off again.
  bool unsigned_b = false;

  int64_t block_rows = 1;      // of accumulators
  bool inner_product = false;  // vectors along k instead of n
  bool a_in_place = false;
  BSource b_source = BSource::kRows;

  // Operands: where they are read. Without storage: evaluated in place, in compute type.
  std::optional<Emitter::Storage> a;           // (m, k)
  std::optional<Emitter::Storage> b;           // (k / group, n, group)
  std::optional<Emitter::Storage> correction;  // kInt8: 128 * column sums of b, (n)
  Emitter::Storage d;                          // (batch, m, n) in the accumulator's type
  Coord batch_coord;

  Point point(llvm::ArrayRef<Coord> coords, unsigned width) const {
    Point result;
    result.lanes = width;
    if (batched) result.coords.push_back(batch_coord);
    result.coords.append(coords.begin(), coords.end());
    return result;
  }
};

}  // namespace nereid::lower
