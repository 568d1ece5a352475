// Operands of tt.dot that are computed once for all dots of a loop behind them, and kept as those
// read them.
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

namespace tt = mlir::triton;

// One of the dots by tiles, in blocks within its own, that `value` is the b of and nothing else.
// Such a value is stored as they read it, if materialize stores it: what an op with regions gives,
// say, is stored row by row.
tt::DotOp Emitter::packed_for(mlir::Value value) {
  mlir::Operation* producer = value.getDefiningOp();
  if (tile_shape_.groups == 0 || !producer || !is_lazy_op(producer) || value.use_empty()) {
    return nullptr;
  }
  const bool by_tiles = llvm::all_of(value.getUsers(), [&](mlir::Operation* user) {
    auto op = mlir::dyn_cast<tt::DotOp>(user);
    if (!op || op.getB() != value || op->getBlock() == value.getParentBlock()) return false;
    const DotPlan dot = plan_dot(op);
    return dot.tiles && mlir::getElementTypeOrSelf(value.getType()) == dot.compute;
  });
  return by_tiles ? mlir::cast<tt::DotOp>(*value.getUsers().begin()) : nullptr;
}

// Computes the b of `op` into where it is stored, as the dot reads it.
void Emitter::pack_stored_b(tt::DotOp op, const Storage& to) {
  DotPlan dot = plan_dot(op);
  choose_b(dot);
  if (dot.b_source == BSource::kInPlace) dot.b_source = BSource::kVectors;
  pack_b(dot, to);
}

}  // namespace nereid::lower
