// tt.reduce with any combiner and any number of operands. Combiners are taken as associative and
// commutative, as on GPUs. Several partial results hide the combiner's latency.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

constexpr int64_t kPartials = 4;

// The element of a reduced tensor; `point` still has the (now meaningless) axis.
void Emitter::store_reduced(tt::ReduceOp op, const Point& point, llvm::ArrayRef<Value*> values) {
  for (auto [result, value] : llvm::zip(op.getResult(), values)) {
    if (!is_tensor(result)) {
      set_scalar(result, value);
      continue;
    }
    const Buffer* buffer = plan_.find(result);
    if (!buffer) continue;
    llvm::SmallVector<Coord, 4> coords(point.coords);
    coords.erase(coords.begin() + op.getAxis());
    Lanes lanes = value->getType()->isVectorTy() ? Lanes::make_vector(value)
                                                 : Lanes::make_uniform(value);
    store_storage(storage_of(*buffer), with_coords(point, coords), lanes);
  }
}

// Combines the values at `count` positions, `at(k)` giving the k-th, with partial results in between.
llvm::SmallVector<Value*, 4> Emitter::reduce_sequence(
    mlir::Region& combiner, int64_t count, bool unrolled,
    llvm::function_ref<llvm::SmallVector<Value*, 4>(Value*)> at) {
  using Values = llvm::SmallVector<Value*, 4>;
  auto combine = [&](const Values& a, const Values& b) {
    Values both(a);
    both.append(b.begin(), b.end());
    return emit_combiner(combiner, both);
  };
  int64_t partials = std::min<int64_t>(kPartials, count);
  while (count % partials != 0) --partials;
  std::vector<Values> partial;
  for (int64_t k = 0; k < partials; ++k) partial.push_back(at(i64(k)));
  if (unrolled) {
    for (int64_t k = partials; k < count; ++k) {
      partial[k % partials] = combine(partial[k % partials], at(i64(k)));
    }
  } else if (count > partials) {
    std::vector<std::vector<llvm::AllocaInst*>> slots(partials);
    for (int64_t k = 0; k < partials; ++k) {
      for (Value* value : partial[k]) {
        slots[k].push_back(stack_slot(value->getType(), "partial"));
        builder_.CreateStore(value, slots[k].back());
      }
    }
    auto load = [&](int64_t k) {
      Values values;
      for (auto* slot : slots[k]) {
        values.push_back(builder_.CreateLoad(slot->getAllocatedType(), slot));
      }
      return values;
    };
    emit_loop(i64(partials), i64(count), i64(partials), [&](Value* index) {
      for (int64_t k = 0; k < partials; ++k) {
        Values next = combine(load(k), at(builder_.CreateAdd(index, i64(k), "", true, true)));
        for (auto [slot, value] : llvm::zip(slots[k], next)) builder_.CreateStore(value, slot);
      }
    });
    for (int64_t k = 0; k < partials; ++k) partial[k] = load(k);
  }
  while (partial.size() > 1) {
    std::vector<Values> half;
    for (size_t k = 0; k + 1 < partial.size(); k += 2) {
      half.push_back(combine(partial[k], partial[k + 1]));
    }
    if (partial.size() % 2 == 1) half.push_back(partial.back());
    partial = std::move(half);
  }
  return partial[0];
}

// Lanes run along the axis: combine vectors first, the lanes of one vector last.
void Emitter::reduce_along_lanes(tt::ReduceOp op, const NestShape& nest) {
  int64_t axis = op.getAxis(), step = nest.lanes, count = nest.shape[axis] / step;
  llvm::SmallVector<int64_t, 4> outer(nest.shape);
  outer[axis] = 1;
  NestShape rows = make_nest(outer, 1, {});
  rows.inner_dim = axis;
  rows.unrolled = nest.unrolled;
  std::vector<int64_t> iota(nest.lanes);
  for (unsigned lane = 0; lane < nest.lanes; ++lane) iota[lane] = lane;
  Pattern pattern = patterns_.intern(iota);
  emit_nest(rows, [&](const Point& row) {
    auto values = reduce_sequence(op.getCombineOp(), count, nest.unrolled, [&](Value* index) {
      Point point = row;
      point.lanes = nest.lanes;
      point.coords[axis] = scaled_coord(index, step, pattern);
      llvm::SmallVector<Value*, 4> parts;
      for (mlir::Value source : op.getSrcs()) parts.push_back(eval_vector(source, point));
      return parts;
    });
    for (unsigned lanes = nest.lanes; lanes > 1; lanes /= 2) {
      llvm::SmallVector<Value*, 4> halves;
      for (Value* value : values) halves.push_back(slice(value, 0, lanes / 2));
      for (Value* value : values) halves.push_back(slice(value, lanes / 2, lanes / 2));
      values = emit_combiner(op.getCombineOp(), halves);
    }
    store_reduced(op, row, values);
  });
}

// Lanes run along other dimensions: every lane reduces on its own.
void Emitter::reduce_across(tt::ReduceOp op, const NestShape& nest) {
  int64_t axis = op.getAxis(), count = nest.shape[axis];
  NestShape outer = nest;
  outer.shape[axis] = 1;
  emit_nest(outer, [&](const Point& base) {
    auto values = reduce_sequence(op.getCombineOp(), count, nest.unrolled, [&](Value* index) {
      Point point = base;
      point.coords[axis] = scaled_coord(index, 1, nullptr);
      llvm::SmallVector<Value*, 4> parts;
      for (mlir::Value source : op.getSrcs()) parts.push_back(eval_vector(source, point));
      return parts;
    });
    store_reduced(op, base, values);
  });
}

void Emitter::emit_reduce(tt::ReduceOp op) {
  llvm::SmallVector<mlir::Value, 4> sources(op.getSrcs());
  auto shape = shape_of(sources[0]);
  int64_t axis = op.getAxis(), others = num_elements(sources[0].getType()) / shape[axis];
  unsigned lanes = lanes_for(sources);
  NestShape nest = plan_nest(shape, sources);
  bool along = nest.lane_order.front() == axis;
  if (along && shape[axis] < std::min<int64_t>(lanes, 8) && others >= shape[axis]) along = false;
  if (others == 1) along = true;
  if (along) {
    nest = make_nest(shape, lanes, {axis});
    reduce_along_lanes(op, nest);
    return;
  }
  llvm::SmallVector<int64_t, 4> order;
  for (int64_t dim : nest.lane_order) {
    if (dim != axis) order.push_back(dim);
  }
  nest = make_nest(shape, lanes, order);
  reduce_across(op, nest);
}

}  // namespace nereid::lower
