// Rewrites of composite ops into plain ones, so that the lowering never sees them.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "src/compiler/target.h"

namespace nereid {

// tt.make_tensor_descriptor and tt.descriptor_* -> pointer arithmetic, masks, loads, stores,
// atomics. Fails, with a diagnostic, on descriptors that are chosen at run time or passed as
// arguments.
mlir::LogicalResult rewrite_descriptors(mlir::ModuleOp module, bool& changed);

// tt.dot_scaled -> operands decoded to f32 and scaled, tt.dot.
mlir::LogicalResult rewrite_scaled_dots(mlir::ModuleOp module, bool& changed);

// dot(a, u & 127) + 128 * dot(a, (u >> 7) & 1) as one dot of a and the bytes u without signs, where
// an instruction takes them so.
void combine_unsigned_dots(mlir::ModuleOp module, const TargetInfo& target, bool& changed);

// Adds tt.loads with the attribute `prefetch`, which ask for what a later iteration of a loop
// reads.
void insert_prefetches(mlir::ModuleOp module);

}  // namespace nereid
