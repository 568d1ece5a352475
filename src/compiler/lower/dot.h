// How one tt.dot is computed; shared by dot.cc (decisions), dot_pack.cc (operands into the layout
// that the inner loop wants), dot_kernel.cc and dot_inner.cc (the inner loops), dot_step.cc (their
// instruction) and dot_tiles.cc (tile registers instead).
#pragma once

#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

// The instruction at the heart of the inner loop.
enum class DotKind {
  kFloat,   // f32 or f64 multiply-add
  kBf16,    // vdpbf16ps, bfdot: pairs along k
  kInt8,    // vpdpbusd, sdot, or what stands for them: quads along k
  kInteger  // multiply and add in the accumulator's type
};

// How b reaches the inner loop: evaluated there, or packed first: vector by vector as the inner
// loop would evaluate it, row by row, or by transposing squares.
enum class BSource { kInPlace, kVectors, kRows, kTransposed };

// Is there something faster for 8-bit integers than multiplying them as 32-bit ones?
bool has_byte_dot(const TargetInfo& target);
// Does it multiply bytes to 16-bit sums, or else numbers of 16 bits (AVX2, AVX-512 without VNNI)?
bool has_short_sums(const TargetInfo& target);

// d (batch, m, n) = a (batch, m, k) * b (batch, k, n) + c
struct DotPlan {
  mutable mlir::triton::DotOp op;  // accessors of ops are not const
  DotKind kind = DotKind::kFloat;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  int64_t rows = 1;    // of m, those that somebody reads
  int64_t group = 1;   // elements along k that one lane of an instruction takes
  unsigned lanes = 1;  // accumulators per vector, along n
  mlir::Type compute;  // type of the operands in the inner loop
  mlir::Type accumulator;
  bool starts_from_zero = false;
  bool starts_in_place = false;  // c is evaluated where the inner loop begins, not in d before
  bool batched = false;          // operands have the batch dimension
  mlir::Value b_value;           // what b is read from: the op's b, or the bytes that it widens
  bool unsigned_b = false;       // kInt8: b has no negative elements
  // kInt8 by vpdpbusd, which wants one unsigned operand, where b is not: a is, as a + 128, and 128
  // times the column sums of b are taken off again.
  bool shifted_a = false;
  // kInt8 by vpmaddubsw: so many of its 16-bit sums of two products can be added up in 16 bits.
  int64_t short_steps = 1;
  // kInt8 by vpmaddwd: operands are read as 16-bit numbers, a quad as two pairs, the one of its
  // even elements first.
  bool words = false;

  bool tiles = false;          // by tile registers
  int64_t block_rows = 1;      // of accumulators
  bool inner_product = false;  // vectors along k instead of n
  bool a_in_place = false;
  BSource b_source = BSource::kRows;
  bool b_plain = false;         // what the inner loop reads of b is one plain load
  bool spread_along_k = false;  // prefetches that wait for this dot: in its inner loop, not before

  // Operands: where they are read. Without storage: evaluated in place, in compute type.
  std::optional<Emitter::Storage> a;           // (m, k)
  std::optional<Emitter::Storage> b;           // (k / group, n, group); words: (.., 2, n, 2)
  std::optional<Emitter::Storage> correction;  // shifted_a: 128 * column sums of b, (n)
  Emitter::Storage d;                          // (batch, m, n) in the accumulator's type
  Coord batch_coord;

  // Instructions for one vector of b.
  int64_t parts() const { return words ? 2 : 1; }
  // Bytes of an element of an operand that was packed.
  int64_t packed_bytes() const { return words ? 2 : element_bytes(compute); }

  Point point(llvm::ArrayRef<Coord> coords, unsigned width) const {
    Point result;
    result.lanes = width;
    if (batched) result.coords.push_back(batch_coord);
    result.coords.append(coords.begin(), coords.end());
    return result;
  }
};

}  // namespace nereid::lower
