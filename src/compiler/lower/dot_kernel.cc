// The inner loops of a dot: a block of accumulators held in registers while k runs.
#include "src/base/check.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

using llvm::Value;

constexpr int64_t kManyBlocks = 8;    // fewer than these ask for memory in their inner loop
constexpr int64_t kSpreadGroups = 4;  // of k, between lines asked for there

// A part of a at (m, group of k), spread over a vector.
Value* Emitter::load_a(const DotPlan& dot, Value* m, Value* k_group, int64_t offset, int64_t part) {
  if (dot.words) {
    NEREID_CHECK(dot.a.has_value(), "a is not packed");
    Value* pair = builder_.CreateAdd(builder_.CreateMul(k_group, i64(dot.group), "", true, true),
                                     i64(offset * dot.group + part * 2), "", true, true);
    pair = builder_.CreateAdd(builder_.CreateMul(m, i64(dot.k), "", true, true), pair);
    Value* address = builder_.CreateInBoundsGEP(builder_.getInt16Ty(), dot.a->base, pair);
    Value* x = builder_.CreateAlignedLoad(builder_.getInt32Ty(), address, llvm::Align(4));
    return builder_.CreateBitCast(builder_.CreateVectorSplat(dot.lanes, x),
                                  widen(builder_.getInt16Ty(), dot.lanes * 2));
  }
  unsigned group = static_cast<unsigned>(dot.group), width = dot.lanes * group;
  Coord k = group_coord(dot, k_group, offset, group, 1);
  Coord row{.base = m, .align = 1};
  Lanes value;
  if (dot.a) {
    Point point;
    point.lanes = group;
    point.coords = {row, k};
    value = load_storage(*dot.a, point);
  } else {
    value = eval(dot.op.getA(), dot.point({row, k}, group));
  }
  Value* x = vector_of(value, group);
  if (group == 1) return dot.lanes == 1 ? x : builder_.CreateVectorSplat(dot.lanes, x);
  x = builder_.CreateBitCast(x, builder_.getInt32Ty());
  Value* spread = builder_.CreateVectorSplat(dot.lanes, x);
  return builder_.CreateBitCast(spread, widen(type_of(dot.compute), width));
}

// A part of b at (group of k, block of n).
Value* Emitter::load_b(const DotPlan& dot, Value* k_group, int64_t offset, int64_t part,
                       Value* n_block) {
  if (dot.b) {
    const unsigned width = dot.lanes * static_cast<unsigned>(dot.group / dot.parts());
    llvm::Type* element = dot.words ? builder_.getInt16Ty() : type_of(dot.compute);
    Value* group = builder_.CreateAdd(k_group, i64(offset), "", true, true);
    return builder_.CreateAlignedLoad(widen(element, width),
                                      packed_b_address(dot, group, part, n_block), llvm::Align(4));
  }
  Value* x = eval_b(dot, k_group, offset, n_block);
  return dot.words ? alternate_bytes(x, part == 1, dot.unsigned_b) : x;
}

// b where it is, at (group of k, block of n), groups innermost.
Value* Emitter::eval_b(const DotPlan& dot, Value* k_group, int64_t offset, Value* n_block) {
  unsigned width = dot.lanes * static_cast<unsigned>(dot.group);
  mlir::Type from = mlir::getElementTypeOrSelf(dot.b_value.getType());
  Lanes value = eval(dot.b_value, group_point(dot, k_group, offset, n_block));
  return vector_of(convert_lanes(value, from, dot.compute, width), width);
}

Value* Emitter::d_address(const DotPlan& dot, Value* m, Value* n_block) {
  int64_t size = element_bytes(dot.accumulator);
  Value* offset = builder_.CreateMul(m, i64(dot.n * size), "", true, true);
  Value* column = builder_.CreateMul(n_block, i64(dot.lanes * size), "", true, true);
  offset = builder_.CreateAdd(offset, column, "", true, true);
  if (dot.batch > 1) {
    Value* batch =
        builder_.CreateMul(dot.batch_coord.base, i64(dot.m * dot.n * size), "", true, true);
    offset = builder_.CreateAdd(offset, batch, "", true, true);
  }
  return builder_.CreateInBoundsGEP(builder_.getInt8Ty(), dot.d.base, offset);
}

// What the sum for (m, block of n) starts from.
Value* Emitter::dot_start(const DotPlan& dot, Value* m, Value* n_block) {
  llvm::Type* type = widen(type_of(dot.accumulator), dot.lanes);
  llvm::Align align(element_bytes(dot.accumulator));
  if (dot.starts_from_zero) return llvm::Constant::getNullValue(type);
  if (dot.starts_in_place) {
    const Coord row{.base = m, .align = 1};
    const Coord columns = scaled_coord(n_block, dot.lanes, steps(dot.lanes));
    return vector_of(eval(dot.op.getC(), dot.point({row, columns}, dot.lanes)), dot.lanes);
  }
  return builder_.CreateAlignedLoad(type, d_address(dot, m, n_block), align);
}

// The sum of integers that were summed apart, a power of two of them.
Value* Emitter::add_sets(llvm::SmallVector<Value*, 8> sums) {
  for (; sums.size() > 1; sums.resize(sums.size() / 2)) {
    for (size_t k = 0; k < sums.size() / 2; ++k) {
      sums[k] = builder_.CreateAdd(sums[k], sums[k + sums.size() / 2]);
    }
  }
  return sums[0];
}

// How many groups of k an iteration takes.
static int64_t steps_together(const DotPlan& dot, int64_t rows, int64_t columns, int64_t sets) {
  const int64_t count = dot.k / dot.group;
  // Computed in registers where it is used: with constant indices its index arithmetic folds away.
  // Plain loads have none, and gain by it only where the sums are then used at once: integers.
  const bool in_place = !dot.b && (!dot.b_plain || dot.kind == DotKind::kInt8);
  const bool unrolled = in_place && count * columns <= 64 && dot.rows <= rows;
  int64_t together = unrolled ? count : std::max<int64_t>(sets, 4);
  while (count % together != 0) together /= 2;
  return together;
}

// Stores a block of d whose sums are in `slots`, [set][row][column].
void Emitter::store_sums(const DotPlan& dot, llvm::ArrayRef<llvm::AllocaInst*> slots, int64_t sets,
                         Value* m, Value* n_block, int64_t rows, int64_t columns) {
  llvm::Type* type = widen(type_of(dot.accumulator), dot.lanes);
  llvm::Align align(element_bytes(dot.accumulator));
  for (int64_t r = 0; r < rows; ++r) {
    Value* row = builder_.CreateAdd(m, i64(r), "", true, true);
    for (int64_t c = 0; c < columns; ++c) {
      Value* column = builder_.CreateAdd(n_block, i64(c), "", true, true);
      llvm::SmallVector<Value*, 8> sums;
      for (int64_t s = 0; s < sets; ++s) {
        const auto slot = static_cast<size_t>((s * rows + r) * columns + c);
        sums.push_back(builder_.CreateLoad(type, slots[slot]));
      }
      Value* sum = add_sets(sums);
      // Not before: no product has to wait for the sums of b.
      if (dot.correction) {
        Value* address = builder_.CreateInBoundsGEP(type, dot.correction->base, column);
        sum = builder_.CreateSub(sum, builder_.CreateAlignedLoad(type, address, align));
      }
      builder_.CreateAlignedStore(sum, d_address(dot, row, column), align);
    }
  }
}

// A block of `rows` x `columns` vectors of d, from row m on and vector n_block on.
void Emitter::dot_block(const DotPlan& dot, Value* m, Value* n_block, int64_t rows,
                        int64_t columns) {
  if (!dot.spread_along_k) advance_spread();
  if (dot.short_steps > 1) return dot_block_short(dot, m, n_block, rows, columns);
  llvm::Type* type = widen(type_of(dot.accumulator), dot.lanes);
  auto row_at = [&](int64_t r) { return builder_.CreateAdd(m, i64(r), "", true, true); };
  auto column_at = [&](int64_t c) { return builder_.CreateAdd(n_block, i64(c), "", true, true); };
  int64_t count = dot.k / dot.group, sets = 1;
  bool real = dot.accumulator.isF32() || dot.accumulator.isF64();
  // Few accumulators would wait for each other: split k over several sets of them. Not those of
  // reals, whose sums would then depend on how many rows a tile has.
  while (!real && rows * columns * sets < 8 && count % (2 * sets) == 0) sets *= 2;
  std::vector<llvm::AllocaInst*> slots;  // [set][row][column]
  for (int64_t s = 0; s < sets; ++s) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        slots.push_back(stack_slot(type, "sum"));
        Value* start = llvm::Constant::getNullValue(type);
        if (s == 0) start = dot_start(dot, row_at(r), column_at(c));
        builder_.CreateStore(start, slots.back());
      }
    }
  }
  auto step = [&](Value* k_group, int64_t offset, int64_t part, int64_t set) {
    llvm::SmallVector<Value*, 8> b;
    for (int64_t c = 0; c < columns; ++c) {
      b.push_back(load_b(dot, k_group, offset, part, column_at(c)));
    }
    for (int64_t r = 0; r < rows; ++r) {
      Value* a = load_a(dot, row_at(r), k_group, offset, part);
      for (int64_t c = 0; c < columns; ++c) {
        auto* slot = slots[(set * rows + r) * columns + c];
        builder_.CreateStore(dot_step(dot, builder_.CreateLoad(type, slot), a, b[c]), slot);
      }
    }
  };
  const int64_t together = steps_together(dot, rows, columns, sets);
  emit_loop(i64(0), i64(count), i64(together), [&](Value* k_group) {
    for (int64_t k = 0; k < together; ++k) {
      if (dot.spread_along_k && k % kSpreadGroups == 0) advance_spread();
      for (int64_t part = 0; part < dot.parts(); ++part) {
        step(k_group, k, part, k % sets);
        // LLVM would begin plain loads of later steps early, and spill them, and ask for all lines
        // of spread prefetches at once.
        if (dot.b || dot.b_plain || !spread_.empty())
          keep_loads_behind(type, slots[(k % sets * rows + rows) * columns - 1]);
      }
    }
  });
  store_sums(dot, slots, sets, m, n_block, rows, columns);
}

// The same where products are summed in 16 bits first, `short_steps` of them at most. Only the
// short sums stay in registers: 32-bit ones are touched once for all of them.
void Emitter::dot_block_short(const DotPlan& dot, Value* m, Value* n_block, int64_t rows,
                              int64_t columns) {
  llvm::Type* type = widen(type_of(dot.accumulator), dot.lanes);
  llvm::Align align(element_bytes(dot.accumulator));
  auto row_at = [&](int64_t r) { return builder_.CreateAdd(m, i64(r), "", true, true); };
  auto column_at = [&](int64_t c) { return builder_.CreateAdd(n_block, i64(c), "", true, true); };
  const auto cells = static_cast<size_t>(rows * columns);
  int64_t count = dot.k / dot.group, together = 8;
  while (together > dot.short_steps || count % together != 0) together /= 2;
  std::vector<llvm::AllocaInst*> slots;  // [row][column]
  for (size_t cell = 0; cell < cells; ++cell) {
    slots.push_back(stack_slot(type, "sum"));
    const auto r = static_cast<int64_t>(cell) / columns, c = static_cast<int64_t>(cell) % columns;
    builder_.CreateStore(dot_start(dot, row_at(r), column_at(c)), slots.back());
  }
  emit_loop(i64(0), i64(count), i64(together), [&](Value* k_group) {
    std::vector<Value*> words(cells);
    for (int64_t k = 0; k < together; ++k) {
      if (dot.spread_along_k && k % kSpreadGroups == 0) advance_spread();
      llvm::SmallVector<Value*, 8> b;
      for (int64_t c = 0; c < columns; ++c) b.push_back(load_b(dot, k_group, k, 0, column_at(c)));
      for (size_t cell = 0; cell < cells; ++cell) {
        const auto c = cell % static_cast<size_t>(columns);
        Value* a = load_a(dot, row_at(static_cast<int64_t>(cell) / columns), k_group, k, 0);
        Value* pairs = multiply_pairs(a, b[c]);
        words[cell] = k == 0 ? pairs : builder_.CreateAdd(words[cell], pairs);
      }
    }
    for (size_t cell = 0; cell < cells; ++cell) {
      Value* sum = builder_.CreateLoad(type, slots[cell]);
      builder_.CreateStore(add_words(sum, words[cell]), slots[cell]);
    }
  });
  for (size_t cell = 0; cell < cells; ++cell) {
    const auto r = static_cast<int64_t>(cell) / columns, c = static_cast<int64_t>(cell) % columns;
    Value* sum = builder_.CreateLoad(type, slots[cell]);
    builder_.CreateAlignedStore(sum, d_address(dot, row_at(r), column_at(c)), align);
  }
}

// Nobody reads them, but what is computed with them should not depend on what lay there before.
void Emitter::clear_dead_rows(const DotPlan& dot, Value* n_block, int64_t columns) {
  llvm::Align align(element_bytes(dot.accumulator));
  for (int64_t m = dot.rows; m < dot.m; ++m) {
    for (int64_t c = 0; c < columns; ++c) {
      Value* column = builder_.CreateAdd(n_block, i64(c), "", true, true);
      llvm::Type* type = widen(type_of(dot.accumulator), dot.lanes);
      builder_.CreateAlignedStore(llvm::Constant::getNullValue(type),
                                  d_address(dot, i64(m), column), align);
    }
  }
}

void Emitter::emit_outer_product(DotPlan& dot) {
  int64_t vectors = dot.n / dot.lanes, budget = target_.vector_registers >= 32 ? 16 : 8;
  int64_t rows = dot.block_rows;
  int64_t columns = std::min<int64_t>(vectors, std::max<int64_t>(2, budget / rows));
  while (vectors % columns != 0) --columns;
  // Rows that are not a multiple are spread evenly: a small last block would keep few sums going.
  int64_t blocks = (dot.rows + rows - 1) / rows, fewer = dot.rows / blocks,
          more = dot.rows % blocks;
  int64_t end_of_more = more * (fewer + 1);
  const int64_t all_blocks = blocks * (vectors / columns), count = dot.k / dot.group;
  dot.spread_along_k = all_blocks < kManyBlocks && count % kSpreadGroups == 0 &&
                       (dot.short_steps == 1 || dot.short_steps >= kSpreadGroups);
  begin_spread(all_blocks * (dot.spread_along_k ? count / kSpreadGroups : 1));
  emit_loop(i64(0), i64(vectors), i64(columns), [&](Value* n_block) {
    emit_loop(i64(0), i64(end_of_more), i64(fewer + 1),
              [&](Value* m) { dot_block(dot, m, n_block, fewer + 1, columns); });
    emit_loop(i64(end_of_more), i64(dot.rows), i64(fewer),
              [&](Value* m) { dot_block(dot, m, n_block, fewer, columns); });
    if (dot.starts_from_zero || dot.starts_in_place) clear_dead_rows(dot, n_block, columns);
  });
}

}  // namespace nereid::lower
