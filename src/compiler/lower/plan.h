// The plan of a function, made before any code is emitted: which tensors are computed once and kept
// (in a buffer), which are recomputed where they are read, and where buffers live.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/target.h"

namespace nereid::lower {

// Row-major storage of one tile (or of several whose lives do not overlap at element level).
struct Buffer {
  llvm::SmallVector<int64_t, 4> shape;
  mlir::Type element;  // i1 takes a byte
  uint64_t bytes = 0;
  bool on_stack = false;  // small: an alloca that LLVM turns into registers; else scratch
  unsigned first = 0;     // life in op positions, both ends included
  unsigned last = 0;
  uint64_t offset = 0;  // in the scratch area
};

// A loop-carried tensor that is its initial value plus a scalar that grows: never stored.
struct Induction {
  mlir::Value init;
  llvm::SmallVector<mlir::Value, 2> increments;  // uniform tensors added in each iteration
  bool pointer = false;
};

struct Plan {
  std::vector<Buffer> buffers;
  llvm::DenseMap<mlir::Value, int> buffer_of;         // value -> index into buffers
  llvm::DenseMap<mlir::Value, Induction> inductions;  // scf.for region arguments
  llvm::DenseMap<mlir::Operation*, unsigned> position;
  llvm::DenseMap<mlir::Operation*, unsigned> end_position;  // last position inside the op
  uint64_t scratch_bytes = 0;

  const Buffer* find(mlir::Value value) const {
    auto it = buffer_of.find(value);
    return it == buffer_of.end() ? nullptr : &buffers[it->second];
  }
  bool stored(mlir::Value value) const { return buffer_of.count(value) != 0; }
};

Plan make_plan(mlir::triton::FuncOp func, const TargetInfo& target);

// --- Facts about values that the planner and the emitter share ---------------------------------
int64_t num_elements(mlir::Type type);                // 1 for scalars
unsigned element_bytes(mlir::Type element);           // in memory; pointers 8, i1 1
llvm::ArrayRef<int64_t> shape_of(mlir::Value value);  // empty for scalars
bool is_tensor(mlir::Value value);

// Ops that can be evaluated element by element where they are read.
bool is_lazy_op(mlir::Operation* op);
// Elementwise: every operand that is a tensor has the result's shape and is read at the same place.
bool is_elementwise_op(mlir::Operation* op);
// Every element is the same value.
bool is_uniform_tensor(mlir::Value value);
// The number that all elements of a constant tensor of integers are.
std::optional<int64_t> splat_of(mlir::Value value);
// Integers of which it is certain that their sign bit is clear.
bool is_never_negative(mlir::Value value);
// For bytes that are never negative: none is larger, by the constants that they are masked with.
int64_t largest_byte(mlir::Value value);
// The function argument that a pointer (tensor) is computed from, or null.
mlir::Value pointer_root(mlir::Value pointer);

// How many leading indices of a tensor along `dim` can change what the kernel writes: the others
// end at masks of stores.
int64_t live_extent(mlir::Value value, int64_t dim);

// Step of an integer or pointer tensor from one element to the next along a dimension, in elements.
struct Step {
  enum class Kind { kConstant, kDynamic, kOpaque };
  Kind kind = Kind::kOpaque;
  int64_t value = 0;
  bool is(int64_t v) const { return kind == Kind::kConstant && value == v; }
};
Step step_along(mlir::Value value, int64_t dim, const Plan& plan);

}  // namespace nereid::lower
