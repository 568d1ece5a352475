// Rewrites of composite ops into plain ones, so that the lowering never sees them.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Support/LLVM.h"
#include "src/compiler/target.h"

namespace nereid {

// Whether `value` is `number`, or a tensor of it.
inline bool is_constant(mlir::Value value, int64_t number) {
  llvm::APInt found;
  return mlir::matchPattern(value, mlir::m_ConstantInt(&found)) && found.getSExtValue() == number;
}

// tt.make_tensor_descriptor and tt.descriptor_* -> pointer arithmetic, masks, loads, stores,
// atomics. Fails, with a diagnostic, on descriptors that are chosen at run time or passed as
// arguments.
mlir::LogicalResult rewrite_descriptors(mlir::ModuleOp module, bool& changed);

// tt.dot_scaled -> operands decoded to f32 and scaled, tt.dot.
mlir::LogicalResult rewrite_scaled_dots(mlir::ModuleOp module, bool& changed);

// dot(a, u & 127) + 128 * dot(a, (u >> 7) & 1) as one dot of a and the bytes u without signs, where
// an instruction takes them so.
void combine_unsigned_dots(mlir::ModuleOp module, const TargetInfo& target, bool& changed);

// dot(a, b, c) of bytes as dot(a, b, 0) + c, where tile registers compute it and c is not a sum
// that a loop carries.
void add_starts_behind(mlir::ModuleOp module, const TargetInfo& target, bool& changed);

// Products of 16-bit halves of words and their sums as tt.pair_dot and tt.pair_scale, on x86 with
// AVX2.
void combine_pair_products(mlir::ModuleOp module, const TargetInfo& target, bool& changed);

// Adds tt.loads with the attribute `prefetch`, which ask for what a later iteration of a loop
// reads.
void insert_prefetches(mlir::ModuleOp module);

}  // namespace nereid
