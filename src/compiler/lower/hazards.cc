// What may be overwritten before it is read: loads that a later write endangers, and values whose
// storage an op may overwrite with its own result.
#include "src/compiler/lower/planner.h"

namespace nereid::lower {

namespace tt = mlir::triton;

// May `op` compute its result into the storage of `carried` (a store: write to where `carried` was
// loaded from) while reading it? Only if each element depends on no other element of `carried`.
bool Planner::reads_in_place(mlir::Operation* op, mlir::Value carried) {
  llvm::SmallVector<std::pair<mlir::Value, bool>, 8> work;  // value, still at the same element
  llvm::DenseSet<std::pair<mlir::Value, unsigned>> seen;
  if (auto dot = mlir::dyn_cast<tt::DotOp>(op)) {
    work = {{dot.getA(), false}, {dot.getB(), false}, {dot.getC(), true}};
  } else if (is_elementwise_op(op) || mlir::isa<tt::StoreOp>(op)) {
    for (mlir::Value operand : op->getOperands()) work.push_back({operand, true});
  } else {
    for (mlir::Value operand : op->getOperands()) work.push_back({operand, false});
  }
  while (!work.empty()) {
    auto [value, aligned] = work.pop_back_val();
    if (!seen.insert({value, aligned}).second) continue;
    if (value == carried) {
      if (!aligned) return false;
      continue;
    }
    mlir::Operation* producer = value.getDefiningOp();
    if (!producer || stored_.count(value) || !is_tensor(value)) continue;
    bool same = aligned && is_elementwise_op(producer);
    for (mlir::Value operand : producer->getOperands()) work.push_back({operand, same});
  }
  return true;
}

// Whether no two elements of a pointer tensor can be the same address; strides that are known only
// at run time are taken not to overlap.
bool Planner::addresses_differ(mlir::Value pointer) {
  llvm::SmallVector<std::pair<int64_t, int64_t>, 4> spans;  // |step|, extent
  auto shape = shape_of(pointer);
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (shape[dim] == 1) continue;
    Step step = step_along(pointer, dim, plan_);
    if (step.kind == Step::Kind::kOpaque || step.is(0)) return false;
    if (step.kind == Step::Kind::kConstant) spans.push_back({std::abs(step.value), shape[dim]});
  }
  llvm::sort(spans);
  int64_t reach = 0;
  for (auto [step, extent] : spans) {
    if (step <= reach) return false;
    reach += step * (extent - 1);
  }
  return true;
}

// A load must not move past a write that may touch what it reads.
bool Planner::load_is_endangered(tt::LoadOp load, const Readers& readers) {
  if (load.getIsVolatile() || readers.other_block) return true;
  unsigned from = plan_.position[load];
  auto next = llvm::upper_bound(writes_, from);
  if (next == writes_.end() || *next > readers.last) return false;
  if (*next < readers.last) return true;
  // The last reader is itself a write: fine when it writes where this reads, or elsewhere.
  for (auto [root, times] : readers.roots) {
    if (plan_.position[root] != readers.last) continue;
    auto store = mlir::dyn_cast<tt::StoreOp>(root);
    if (!store) return true;
    if (store.getPtr() == load.getPtr()) {
      return !reads_in_place(store, load.getResult()) || !addresses_differ(load.getPtr());
    }
    mlir::Value from_root = pointer_root(load.getPtr()), to_root = pointer_root(store.getPtr());
    return !from_root || !to_root || from_root == to_root;
  }
  return true;
}

}  // namespace nereid::lower
