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
    Lanes lanes =
        value->getType()->isVectorTy() ? Lanes::make_vector(value) : Lanes::make_uniform(value);
    store_storage(storage_of(*buffer), with_coords(point, coords), lanes);
  }
}

// Reduces `count` positions for `width` results at once, `at(k, w)` giving the values at position k
// for result w. Results side by side share what they read; few of them get partial results instead.
std::vector<Emitter::Values> Emitter::reduce_sequence(
    mlir::Region& combiner, int64_t count, int64_t width, bool unrolled,
    llvm::function_ref<Values(Value*, int64_t)> at) {
  auto combine = [&](const Values& a, const Values& b) {
    Values both(a);
    both.append(b.begin(), b.end());
    return emit_combiner(combiner, both);
  };
  int64_t partials = std::min<int64_t>(std::max<int64_t>(1, kPartials / width), count);
  while (count % partials != 0) --partials;
  std::vector<Values> sums(partials * width);  // [partial][result]
  for (int64_t p = 0; p < partials; ++p) {
    for (int64_t w = 0; w < width; ++w) sums[p * width + w] = at(i64(p), w);
  }
  auto step = [&](Value* index, int64_t p, int64_t w) {
    sums[p * width + w] = combine(sums[p * width + w], at(index, w));
  };
  if (unrolled) {
    for (int64_t k = partials; k < count; ++k) {
      for (int64_t w = 0; w < width; ++w) step(i64(k), k % partials, w);
    }
  } else if (count > partials) {
    std::vector<llvm::SmallVector<llvm::AllocaInst*, 2>> slots(sums.size());
    for (auto [values, slot] : llvm::zip(sums, slots)) {
      for (Value* value : values) {
        slot.push_back(stack_slot(value->getType(), "partial"));
        builder_.CreateStore(value, slot.back());
      }
    }
    auto load_sums = [&] {
      for (auto [values, slot] : llvm::zip(sums, slots)) {
        for (auto [value, place] : llvm::zip(values, slot)) {
          value = builder_.CreateLoad(place->getAllocatedType(), place);
        }
      }
    };
    emit_loop(i64(partials), i64(count), i64(partials), [&](Value* index) {
      load_sums();
      for (int64_t p = 0; p < partials; ++p) {
        Value* position = builder_.CreateAdd(index, i64(p), "", true, true);
        for (int64_t w = 0; w < width; ++w) step(position, p, w);
      }
      for (auto [values, slot] : llvm::zip(sums, slots)) {
        for (auto [value, place] : llvm::zip(values, slot)) builder_.CreateStore(value, place);
      }
    });
    load_sums();
  }
  std::vector<Values> results(sums.begin(), sums.begin() + width);
  for (int64_t p = 1; p < partials; ++p) {
    for (int64_t w = 0; w < width; ++w) results[w] = combine(results[w], sums[p * width + w]);
  }
  return results;
}

// The largest power of two that divides `extent`, up to `limit`.
static int64_t block_of(int64_t extent, int64_t limit) {
  int64_t block = 1;
  while (block * 2 <= limit && extent % (block * 2) == 0) block *= 2;
  return block;
}

// Coordinate `offset` of the `factor` ones that a coarse coordinate stands for.
Coord Emitter::refine(const Coord& coarse, int64_t factor, int64_t offset, unsigned lanes) {
  std::vector<int64_t> offsets(lanes, offset);
  for (unsigned lane = 0; coarse.pattern && lane < lanes; ++lane) {
    offsets[lane] += (*coarse.pattern)[lane];
  }
  return {.base = builder_.CreateMul(coarse.base, i64(factor), "", true, true),
          .align = coarse.align * factor,
          .pattern = patterns_.intern(std::move(offsets))};
}

// Several vectors, each to be combined into one element, become one vector of the results: halves
// of two vectors are exchanged and combined, then quarters, and so on.
Emitter::Values Emitter::reduce_lanes_together(mlir::Region& combiner, std::vector<Values> rows,
                                               unsigned lanes) {
  unsigned block = lanes;  // lanes that still belong to one row
  auto exchange = [&](Value* a, Value* b, bool high) {
    llvm::SmallVector<int, 64> order;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      bool from_b = (lane % block) >= block / 2;
      unsigned within = lane % (block / 2);
      unsigned source = lane / block * block + (high ? block / 2 : 0) + within;
      order.push_back(static_cast<int>(source + (from_b ? lanes : 0)));
    }
    return builder_.CreateShuffleVector(a, b, order);
  };
  for (; rows.size() > 1; block /= 2) {
    size_t half = rows.size() / 2;
    for (size_t row = 0; row < half; ++row) {
      Values both;
      for (bool high : {false, true}) {
        for (auto [a, b] : llvm::zip(rows[row], rows[row + half])) {
          both.push_back(exchange(a, b, high));
        }
      }
      rows[row] = emit_combiner(combiner, both);
    }
    rows.resize(half);
  }
  Values values = rows[0];
  unsigned results = lanes / block;
  for (; block > 1; block /= 2) {  // what is left of each row lies side by side
    Values both;
    for (unsigned side = 0; side < 2; ++side) {
      llvm::SmallVector<int, 64> order;
      for (unsigned row = 0; row < results; ++row) {
        for (unsigned lane = 0; lane < block / 2; ++lane) {
          order.push_back(static_cast<int>(row * block + side * block / 2 + lane));
        }
      }
      for (Value* value : values) both.push_back(builder_.CreateShuffleVector(value, order));
    }
    values = emit_combiner(combiner, both);
  }
  if (results > 1) return values;
  for (Value*& value : values) {
    if (value->getType()->isVectorTy()) value = builder_.CreateExtractElement(value, uint64_t{0});
  }
  return values;
}

// Lanes run along the axis: combine vectors first, the lanes of one vector last, for as many rows
// at once as there are lanes.
void Emitter::reduce_along_lanes(tt::ReduceOp op, const NestShape& nest) {
  int64_t axis = op.getAxis(), step = nest.lanes, count = nest.shape[axis] / step;
  int64_t rank = static_cast<int64_t>(nest.shape.size()), inner = rank - 1;
  while (inner >= 0 && (inner == axis || nest.shape[inner] == 1)) --inner;
  int64_t limit = 16 / static_cast<int64_t>(op.getSrcs().size());
  int64_t together =
      inner < 0 ? 1 : block_of(nest.shape[inner], std::min<int64_t>(nest.lanes, limit));
  llvm::SmallVector<int64_t, 4> outer(nest.shape);
  outer[axis] = 1;
  if (inner >= 0) outer[inner] /= together;
  NestShape rows = make_nest(outer, 1, {});
  rows.inner_dim = inner < 0 ? axis : inner;
  rows.unrolled = nest.unrolled;
  emit_nest(rows, [&](const Point& row) {
    auto at = [&](Value* index, int64_t k) {
      Point point = row;
      point.lanes = nest.lanes;
      if (inner >= 0) point.coords[inner] = refine(row.coords[inner], together, k, nest.lanes);
      point.coords[axis] = scaled_coord(index, step, steps(nest.lanes));
      Values parts;
      for (mlir::Value source : op.getSrcs()) parts.push_back(eval_vector(source, point));
      return parts;
    };
    auto sums = reduce_sequence(op.getCombineOp(), count, together, nest.unrolled, at);
    Values values = sums[0];
    if (nest.lanes > 1) values = reduce_lanes_together(op.getCombineOp(), sums, nest.lanes);
    Point result = row;
    result.lanes = static_cast<unsigned>(together);
    if (inner >= 0) {
      result.coords[inner] = refine(row.coords[inner], together, 0, result.lanes);
      result.coords[inner].pattern = steps(result.lanes);
    }
    store_reduced(op, result, values);
  });
}

// Lanes run along other dimensions: every lane reduces on its own, a few vectors side by side.
void Emitter::reduce_across(tt::ReduceOp op, const NestShape& nest) {
  int64_t axis = op.getAxis(), count = nest.shape[axis], inner = nest.inner_dim;
  int64_t limit = std::max<int64_t>(1, 4 / static_cast<int64_t>(op.getSrcs().size()));
  int64_t together = block_of(nest.shape[inner] / nest.lane_shape[inner], limit);
  NestShape outer = nest;
  outer.shape[axis] = 1;
  outer.shape[inner] /= together;
  emit_nest(outer, [&](const Point& base) {
    auto column = [&](int64_t k) {
      Point point = base;
      point.coords[inner] =
          refine(base.coords[inner], together, k * nest.lane_shape[inner], nest.lanes);
      return point;
    };
    auto sums = reduce_sequence(op.getCombineOp(), count, together, nest.unrolled,
                                [&](Value* index, int64_t k) {
                                  Point point = column(k);
                                  point.coords[axis] = scaled_coord(index, 1, nullptr);
                                  Values parts;
                                  for (mlir::Value source : op.getSrcs())
                                    parts.push_back(eval_vector(source, point));
                                  return parts;
                                });
    for (int64_t k = 0; k < together; ++k) store_reduced(op, column(k), sums[k]);
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
