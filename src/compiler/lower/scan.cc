// tt.scan: prefix combination along an axis, forwards or backwards, with any associative combiner.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;
using Values = llvm::SmallVector<Value*, 4>;

static Values join(const Values& a, const Values& b) {
  Values both(a);
  both.append(b.begin(), b.end());
  return both;
}

// Prefixes inside of one vector, in log2(lanes) steps.
Values Emitter::scan_lanes(tt::ScanOp op, Values values, unsigned lanes) {
  bool reverse = op.getReverse();
  for (unsigned distance = 1; distance < lanes; distance *= 2) {
    llvm::SmallVector<int, 64> order;
    llvm::SmallVector<llvm::Constant*, 64> active;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      int source = reverse ? int(lane + distance) : int(lane) - int(distance);
      bool inside = source >= 0 && source < int(lanes);
      order.push_back(inside ? source : int(lane));
      active.push_back(builder_.getInt1(inside));
    }
    Values shifted;
    for (Value* value : values) shifted.push_back(builder_.CreateShuffleVector(value, order));
    Values combined = emit_combiner(op.getCombineOp(), join(shifted, values));
    Value* mask = llvm::ConstantVector::get(active);
    for (auto [value, next] : llvm::zip(values, combined)) {
      value = builder_.CreateSelect(mask, next, value);
    }
  }
  return values;
}

void Emitter::scan_sequence(tt::ScanOp op, int64_t count, bool unrolled,
                            llvm::function_ref<Values(Value*)> load,
                            llvm::function_ref<Values(Values, const Values*)> combine,
                            llvm::function_ref<void(Value*, const Values&)> store) {
  bool reverse = op.getReverse();
  auto position = [&](Value* step) {
    return reverse ? builder_.CreateSub(i64(count - 1), step, "", true, true) : step;
  };
  // combine(values, carry) gives the results and, after them, the next carry.
  auto split = [&](Values both) {
    size_t half = both.size() / 2;
    return std::make_pair(Values(both.begin(), both.begin() + half),
                          Values(both.begin() + half, both.end()));
  };
  auto [first, carry] = split(combine(load(position(i64(0))), nullptr));
  store(position(i64(0)), first);
  if (unrolled) {
    for (int64_t step = 1; step < count; ++step) {
      auto [values, next] = split(combine(load(position(i64(step))), &carry));
      store(position(i64(step)), values);
      carry = next;
    }
    return;
  }
  llvm::SmallVector<llvm::AllocaInst*, 4> slots;
  for (Value* value : carry) {
    slots.push_back(stack_slot(value->getType(), "carry"));
    builder_.CreateStore(value, slots.back());
  }
  emit_loop(i64(1), i64(count), i64(1), [&](Value* step) {
    Values loaded;
    for (auto* slot : slots) loaded.push_back(builder_.CreateLoad(slot->getAllocatedType(), slot));
    auto [values, next] = split(combine(load(position(step)), &loaded));
    store(position(step), values);
    for (auto [slot, value] : llvm::zip(slots, next)) builder_.CreateStore(value, slot);
  });
}

// `width` elements along the axis: their scan behind `carry`, and its last element for the next
// step.
Values Emitter::scan_step(tt::ScanOp op, const Values& elements, const Values* carry,
                          unsigned width) {
  Values values = scan_lanes(op, elements, width);
  if (carry) {
    Values spread;
    for (Value* value : *carry) {
      spread.push_back(width == 1 ? value : builder_.CreateVectorSplat(width, value));
    }
    values = emit_combiner(op.getCombineOp(), join(spread, values));
  }
  Values last;
  for (Value* value : values) {
    uint64_t lane = op.getReverse() ? 0 : width - 1;
    last.push_back(width == 1 ? value : builder_.CreateExtractElement(value, lane));
  }
  return join(values, last);
}

void Emitter::emit_scan(tt::ScanOp op) {
  llvm::SmallVector<mlir::Value, 4> sources(op.getSrcs());
  auto shape = shape_of(sources[0]);
  int64_t axis = op.getAxis(), others = num_elements(sources[0].getType()) / shape[axis];
  unsigned lanes = lanes_for(sources);
  bool along = others < std::min<int64_t>(lanes, 8);
  llvm::SmallVector<int64_t, 4> order;
  if (along) {
    order = {axis};
  } else {
    for (int64_t dim : plan_nest(shape, sources).lane_order) {
      if (dim != axis) order.push_back(dim);
    }
  }
  NestShape nest = make_nest(shape, lanes, order);
  unsigned width = nest.lanes;
  NestShape outer = along ? make_nest(shape, 1, {}) : nest;
  outer.shape[axis] = 1;
  outer.inner_dim = along ? axis : order[0];
  outer.unrolled = nest.unrolled;
  int64_t step = along ? width : 1, count = shape[axis] / step;
  std::vector<int64_t> iota(width);
  for (unsigned lane = 0; lane < width; ++lane) iota[lane] = lane;
  Pattern pattern = along ? patterns_.intern(iota) : nullptr;
  emit_nest(outer, [&](const Point& base) {
    auto at = [&](Value* index) {
      Point point = base;
      point.lanes = width;
      point.coords[axis] = scaled_coord(index, step, pattern);
      return point;
    };
    auto load = [&](Value* index) {
      Values values;
      for (mlir::Value source : sources) values.push_back(eval_vector(source, at(index)));
      return values;
    };
    auto combine = [&](const Values& values, const Values* carry) {
      if (along) return scan_step(op, values, carry, width);
      if (!carry) return join(values, values);
      Values combined = emit_combiner(op.getCombineOp(), join(*carry, values));
      return join(combined, combined);
    };
    auto store = [&](Value* index, const Values& values) {
      for (auto [result, value] : llvm::zip(op.getResult(), values)) {
        const Buffer* buffer = plan_.find(result);
        if (!buffer) continue;
        Lanes out = width == 1 ? Lanes::make_uniform(value) : Lanes::make_vector(value);
        store_storage(storage_of(*buffer), at(index), out);
      }
    };
    scan_sequence(op, count, nest.unrolled, load, combine, store);
  });
}

}  // namespace nereid::lower
