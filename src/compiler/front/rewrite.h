// Rewrites of composite ops into plain ones, so that the lowering never sees them.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

namespace nereid {

// tt.make_tensor_descriptor and tt.descriptor_* -> pointer arithmetic, masks, loads, stores,
// atomics. Fails, with a diagnostic, on descriptors that are chosen at run time or passed as
// arguments.
mlir::LogicalResult rewrite_descriptors(mlir::ModuleOp module, bool& changed);

// tt.dot_scaled -> operands decoded to f32 and scaled, tt.dot.
mlir::LogicalResult rewrite_scaled_dots(mlir::ModuleOp module, bool& changed);

// Adds tt.loads with the attribute `prefetch`, which ask for what a later iteration of a loop
// reads.
void insert_prefetches(mlir::ModuleOp module);

}  // namespace nereid
