// Operands of a dot in the layout that its inner loop reads: a row-major, b in groups along k.
#include <numeric>

#include "llvm/IR/InlineAsm.h"
#include "src/base/check.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

static Pattern range_pattern(PatternPool& pool, unsigned lanes, int64_t div, int64_t mod) {
  std::vector<int64_t> offsets(lanes);
  for (unsigned lane = 0; lane < lanes; ++lane) offsets[lane] = (lane / div) % mod;
  return pool.intern(std::move(offsets));
}

// k = (k_group + offset) * group + lane % group, for lanes that are `div` apart. The constant
// offset stays visible, so that `k % 8` folds in unrolled code.
Coord Emitter::group_coord(const DotPlan& dot, Value* k_group, int64_t offset, unsigned lanes,
                           int64_t div) {
  std::vector<int64_t> offsets(lanes);
  for (unsigned lane = 0; lane < lanes; ++lane) {
    offsets[lane] = offset * dot.group + (lane / div) % dot.group;
  }
  Coord k = scaled_coord(k_group, dot.group, patterns_.intern(std::move(offsets)));
  k.align = dot.group * std::min<int64_t>(known_align(k_group), 1 << 20);
  return k;
}

// Elements (k .. k + group) x (n .. n + lanes) of b, groups innermost.
Point Emitter::group_point(const DotPlan& dot, Value* k_group, int64_t offset, Value* n_block) {
  unsigned width = dot.lanes * static_cast<unsigned>(dot.group);
  Coord n = scaled_coord(n_block, dot.lanes, range_pattern(patterns_, width, dot.group, dot.lanes));
  return dot.point({group_coord(dot, k_group, offset, width, 1), n}, width);
}

// Rows of `lanes` 32-bit elements to columns.
llvm::SmallVector<Value*, 4> Emitter::transpose(llvm::ArrayRef<Value*> rows) {
  llvm::SmallVector<Value*, 4> now(rows.begin(), rows.end());
  unsigned lanes = static_cast<unsigned>(rows.size());
  for (unsigned bit = 1; bit < lanes; bit *= 2) {
    // Exchanges, in each 2x2 block of squares with side `bit`, the two off the diagonal.
    llvm::SmallVector<int, 64> low, high;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      bool upper = lane & bit;
      low.push_back(static_cast<int>(upper ? lanes + (lane ^ bit) : lane));
      high.push_back(static_cast<int>(upper ? lanes + lane : lane ^ bit));
    }
    for (unsigned row = 0; row < lanes; ++row) {
      if (row & bit) continue;
      Value *a = now[row], *b = now[row | bit];
      now[row] = builder_.CreateShuffleVector(a, b, low);
      now[row | bit] = builder_.CreateShuffleVector(a, b, high);
    }
  }
  return now;
}

// b lies along k in memory: squares of it are transposed in registers.
void Emitter::pack_b_transposed(DotPlan& dot) {
  mlir::Value b = dot.b_value;
  unsigned lanes = dot.lanes, width = lanes * static_cast<unsigned>(dot.group);
  mlir::Type from = mlir::getElementTypeOrSelf(b.getType());
  llvm::Type* words = widen(builder_.getIntNTy(element_bytes(dot.accumulator) * 8), lanes);
  Pattern along = steps(width);
  emit_loop(i64(0), i64(dot.n / lanes), i64(1), [&](Value* n_block) {
    emit_loop(i64(0), i64(dot.k / width), i64(1), [&](Value* k_block) {
      llvm::SmallVector<Value*, 4> rows;
      Value* first = builder_.CreateMul(n_block, i64(lanes), "", true, true);
      for (unsigned row = 0; row < lanes; ++row) {
        Coord n{.base = builder_.CreateAdd(first, i64(row), "", true, true), .align = 1};
        Point point = dot.point({scaled_coord(k_block, width, along), n}, width);
        Lanes value = convert_lanes(eval(b, point), from, dot.compute, width);
        rows.push_back(builder_.CreateBitCast(vector_of(value, width), words));
      }
      auto columns = transpose(rows);
      Value* group = builder_.CreateMul(k_block, i64(lanes), "", true, true);
      for (unsigned column = 0; column < lanes; ++column) {
        store_packed_b(dot, builder_.CreateAdd(group, i64(column), "", true, true), n_block,
                       columns[column]);
      }
    });
  });
}

// Address of the vector for part `part` of group `k_group`, and lanes `n_block`.
Value* Emitter::packed_b_address(const DotPlan& dot, Value* k_group, int64_t part, Value* n_block) {
  NEREID_CHECK(dot.b.has_value(), "b is not packed");
  const int64_t lane_bytes = dot.group / dot.parts() * dot.packed_bytes();
  Value* row = builder_.CreateMul(k_group, i64(dot.parts()), "", true, true);
  row = builder_.CreateAdd(row, i64(part), "", true, true);
  Value* offset = builder_.CreateMul(row, i64(dot.n * lane_bytes), "", true, true);
  offset = builder_.CreateAdd(
      offset, builder_.CreateMul(n_block, i64(dot.lanes * lane_bytes), "", true, true), "", true,
      true);
  return builder_.CreateInBoundsGEP(builder_.getInt8Ty(), dot.b->base, offset);
}

// Puts a vector of b, groups innermost, where the inner loop reads it.
void Emitter::store_packed_b(const DotPlan& dot, Value* k_group, Value* n_block, Value* vector) {
  for (int64_t part = 0; part < dot.parts(); ++part) {
    Value* x = dot.words ? alternate_bytes(vector, part == 1, dot.unsigned_b) : vector;
    builder_.CreateAlignedStore(x, packed_b_address(dot, k_group, part, n_block), llvm::Align(4));
  }
}

// b as the inner loop would evaluate it, once. Several groups at a time, as in pack_b_rows.
void Emitter::pack_b_vectors(DotPlan& dot) {
  int64_t count = dot.k / dot.group, together = 8;
  while (count % together != 0) together /= 2;
  emit_loop(i64(0), i64(dot.n / dot.lanes), i64(1), [&](Value* n_block) {
    emit_loop(i64(0), i64(count), i64(together), [&](Value* k_group) {
      for (int64_t offset = 0; offset < together; ++offset) {
        Value* group = builder_.CreateAdd(k_group, i64(offset), "", true, true);
        store_packed_b(dot, group, n_block, eval_b(dot, k_group, offset, n_block));
      }
    });
  });
}

// b lies along n: `group` rows are interleaved. Several groups at a time, so that what depends on k
// modulo small numbers (the place of a 4-bit code in its word) is constant.
void Emitter::pack_b_rows(DotPlan& dot) {
  mlir::Value b = dot.b_value;
  mlir::Type from = mlir::getElementTypeOrSelf(b.getType());
  unsigned lanes = dot.lanes;
  int64_t count = dot.k / dot.group, together = 8 / dot.group;
  while (count % together != 0) --together;
  emit_loop(i64(0), i64(dot.n / lanes), i64(1), [&](Value* n_block) {
    emit_loop(i64(0), i64(count), i64(together), [&](Value* k_group) {
      for (int64_t offset = 0; offset < together; ++offset) {
        llvm::SmallVector<Value*, 4> rows;
        for (int64_t row = 0; row < dot.group; ++row) {
          Coord k = group_coord(dot, k_group, offset, 1, 1);
          k.pattern = patterns_.intern(std::vector<int64_t>(lanes, offset * dot.group + row));
          Point point = dot.point({k, scaled_coord(n_block, lanes, steps(lanes))}, lanes);
          Lanes value = convert_lanes(eval(b, point), from, dot.compute, lanes);
          rows.push_back(vector_of(value, lanes));
        }
        Value* all = concat(rows);
        if (dot.group > 1) {
          llvm::SmallVector<int, 64> order;
          for (unsigned lane = 0; lane < lanes; ++lane) {
            for (int64_t row = 0; row < dot.group; ++row) {
              order.push_back(static_cast<int>(row * lanes + lane));
            }
          }
          all = builder_.CreateShuffleVector(all, order);
        }
        Value* group = builder_.CreateAdd(k_group, i64(offset), "", true, true);
        store_packed_b(dot, group, n_block, all);
      }
    });
  });
}

// vpdpbusd takes a as unsigned: a + 128. That adds 128 times the column sums of b.
void Emitter::compute_correction(DotPlan& dot) {
  llvm::Type* bytes = widen(builder_.getInt8Ty(), dot.lanes * 4);
  llvm::Type* sums = widen(builder_.getInt32Ty(), dot.lanes);
  dot.correction = temp_storage({dot.n}, dot.accumulator);
  Value* ones = llvm::ConstantInt::get(bytes, 128);
  // Several vectors of n at a time, in the order in which they lie in memory: b is often read for
  // the first time here, and processors prefetch what is read in order. No loop is left of a narrow
  // dot: LLVM would move other dots' products behind it, and not the loads that feed them.
  int64_t vectors = dot.n / dot.lanes, columns = std::min<int64_t>(vectors, 4);
  while (vectors % columns != 0) --columns;
  emit_loop(i64(0), i64(vectors), i64(columns), [&](Value* n_block) {
    std::vector<llvm::AllocaInst*> slots;
    for (int64_t c = 0; c < columns; ++c) {
      slots.push_back(stack_slot(sums, "sums"));
      builder_.CreateStore(llvm::Constant::getNullValue(sums), slots.back());
    }
    auto column = [&](int64_t c) { return builder_.CreateAdd(n_block, i64(c), "", true, true); };
    // Several groups at a time, as in pack_b_rows.
    int64_t count = dot.k / dot.group, together = 8;
    while (count % together != 0) together /= 2;
    emit_loop(i64(0), i64(count), i64(together), [&](Value* k_group) {
      for (int64_t offset = 0; offset < together; ++offset) {
        for (int64_t c = 0; c < columns; ++c) {
          auto* slot = slots[static_cast<size_t>(c)];
          Value* sum = builder_.CreateLoad(sums, slot);
          Value* group = load_b(dot, k_group, offset, 0, column(c));
          builder_.CreateStore(dot_step(dot, sum, ones, group), slot);
        }
      }
    });
    for (int64_t c = 0; c < columns; ++c) {
      Value* address = builder_.CreateInBoundsGEP(sums, dot.correction->base, column(c));
      Value* sum = builder_.CreateLoad(sums, slots[static_cast<size_t>(c)]);
      builder_.CreateAlignedStore(sum, address, llvm::Align(4));
    }
  });
}

// Loads that are emitted later stay behind this point and, where it is a whole vector, the sum in
// `slot`.
void Emitter::keep_loads_behind(llvm::Type* type, Value* slot) {
  const bool arm = target_.arch == Arch::kAArch64;
  if (type->getPrimitiveSizeInBits() < 128 || (!arm && target_.arch != Arch::kX86_64)) {
    auto* function = llvm::FunctionType::get(builder_.getVoidTy(), {}, false);
    builder_.CreateCall(llvm::InlineAsm::get(function, "", "~{memory}", true), {});
    return;
  }
  auto* function = llvm::FunctionType::get(type, {type}, false);
  auto* barrier =
      llvm::InlineAsm::get(function, "", arm ? "=w,0,~{memory}" : "=v,0,~{memory}", true);
  Value* sum = builder_.CreateLoad(type, slot);
  builder_.CreateStore(builder_.CreateCall(barrier, {sum}), slot);
}

// Memory that LLVM must not see through: reading it back element by element is meant.
void Emitter::pin(Value* pointer) {
  auto* type = llvm::FunctionType::get(builder_.getVoidTy(), {builder_.getPtrTy()}, false);
  auto* barrier = llvm::InlineAsm::get(type, "", "r,~{memory}", true);
  builder_.CreateCall(barrier, {pointer});
}

// a as 16-bit numbers, of each quad along k the even elements first, as b's parts have them.
void Emitter::pack_a_words(DotPlan& dot) {
  mlir::Value a = dot.op.getA();
  mlir::Type from = mlir::getElementTypeOrSelf(a.getType());
  mlir::Type word = mlir::IntegerType::get(a.getContext(), 16);
  const auto width = static_cast<unsigned>(std::gcd<int64_t>(dot.k, target_.vector_bytes / 2));
  llvm::SmallVector<int, 32> order;
  for (int quad = 0; quad < static_cast<int>(width); quad += 4) {
    order.append({quad, quad + 2, quad + 1, quad + 3});
  }
  dot.a = Storage{.base = scratch_temp(dot.m * dot.k * element_bytes(word)),
                  .strides = {dot.k, 1},
                  .element = word};
  emit_loop(i64(0), i64(dot.m), i64(1), [&](Value* m) {
    emit_loop(i64(0), i64(dot.k / width), i64(1), [&](Value* k_block) {
      Coord row{.base = m, .align = 1}, k = scaled_coord(k_block, width, steps(width));
      Point point = dot.point({row, k}, width);
      Value* x = vector_of(convert_lanes(eval(a, point), from, word, width), width);
      Point local;
      local.lanes = width;
      local.coords = {row, k};
      store_storage(*dot.a, local, Lanes::make_vector(builder_.CreateShuffleVector(x, order)));
    });
  });
  pin(dot.a->base);
}

void Emitter::pack_a(DotPlan& dot) {
  if (dot.words) return pack_a_words(dot);
  mlir::Value a = dot.op.getA();
  mlir::Type from = mlir::getElementTypeOrSelf(a.getType());
  size_t rank = shape_of(a).size();
  dot.a = Storage{.base = scratch_temp(dot.m * dot.k * element_bytes(dot.compute)),
                  .strides = {dot.k, 1},
                  .element = dot.compute};
  llvm::SmallVector<int64_t, 4> shape(rank, 1);
  shape[rank - 2] = dot.m;
  shape[rank - 1] = dot.k;
  NestShape nest = plan_nest(shape, {a});
  emit_nest(nest, [&](const Point& point) {
    llvm::SmallVector<Coord, 4> local(point.coords.end() - 2, point.coords.end());
    Lanes value =
        convert_lanes(eval(a, dot.point(local, point.lanes)), from, dot.compute, point.lanes);
    if (dot.shifted_a) {
      Value* bytes = vector_of(value, point.lanes);
      bytes = builder_.CreateXor(bytes, llvm::ConstantInt::get(bytes->getType(), 0x80));
      value =
          bytes->getType()->isVectorTy() ? Lanes::make_vector(bytes) : Lanes::make_uniform(bytes);
    }
    store_storage(*dot.a, with_coords(point, local), value);
  });
  if (nest.unrolled) pin(dot.a->base);
}

void Emitter::pack_b(DotPlan& dot, const Storage& to) {
  dot.b = to;
  switch (dot.b_source) {
    case BSource::kInPlace:
      break;
    case BSource::kVectors:
      pack_b_vectors(dot);
      break;
    case BSource::kRows:
      pack_b_rows(dot);
      break;
    case BSource::kTransposed:
      pack_b_transposed(dot);
      break;
  }
}

void Emitter::pack_operands(DotPlan& dot) {
  if (!dot.a_in_place) pack_a(dot);
  if (dot.b_source != BSource::kInPlace) {
    uint64_t bytes = dot.k * dot.n * dot.packed_bytes();
    pack_b(dot, Storage{.base = scratch_temp(bytes), .strides = {}, .element = dot.compute});
  }
  if (dot.shifted_a) compute_correction(dot);
}

}  // namespace nereid::lower
