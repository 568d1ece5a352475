// Dots by the tile registers of AMX: d (16, 16) += a (16, 4-byte groups of k) * b (groups, 16).
//
// Tiles are loaded from memory with a stride, a as it lies row by row, b with its groups along k
// innermost. What does not lie so is packed first, as for vectors. A function has one shape of
// tiles, set where its programs begin, since setting it takes some 150 cycles. The eight registers
// hold two by two tiles of d, two of a and two of b.
// Instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS
// and TDPBSSD.
#include <numeric>

#include "llvm/IR/IntrinsicsX86.h"
#include "src/base/check.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

constexpr int64_t kTileRows = 16, kTileGroups = 16, kTileColumns = 16;
constexpr int64_t kLeastGroups = 8;  // fewer along k leave most of an instruction unused

// Registers: d [row][column], then a [row], then b [column].
static int64_t d_register(int64_t row, int64_t column) {
  return row * 2 + column;
}
static int64_t a_register(int64_t row) {
  return 4 + row;
}
static int64_t b_register(int64_t column) {
  return 6 + column;
}

bool Emitter::suits_tiles(const DotPlan& dot) const {
  if (dot.batched || dot.lanes != kTileColumns) return false;
  // Sums of bf16 are rounded otherwise than by vdpbf16ps, so rows take tiles however few they are:
  // a row's result does not depend on the rows beside it. Sums of bytes are exact either way.
  if (dot.kind == DotKind::kBf16) {
    return target_.has_bf16_tiles && (dot.m < kTileRows || dot.m % kTileRows == 0);
  }
  return dot.kind == DotKind::kInt8 && target_.has_int8_tiles && dot.m % kTileRows == 0;
}

// The groups of a tile must not depend on how many rows a dot has, for the sake of sums of bf16:
// those of all dots count, rows only of dots that take tiles.
void Emitter::choose_tile_shape() {
  if (!target_.has_bf16_tiles && !target_.has_int8_tiles) return;
  TileShape shape;
  func_.walk([&](tt::DotOp op) {
    const DotPlan dot = plan_dot(op);
    if (dot.kind != DotKind::kBf16 && dot.kind != DotKind::kInt8) return;
    shape.groups = std::gcd(shape.groups, std::gcd(dot.k / dot.group, kTileGroups));
    if (suits_tiles(dot)) shape.rows = std::gcd(shape.rows, std::min(dot.m, kTileRows));
  });
  if (shape.rows > 0 && shape.groups >= kLeastGroups) tile_shape_ = shape;
}

// The 64 bytes that LDTILECFG reads, palette 1: bytes of a row at 16, numbers of rows at 48.
llvm::Constant* Emitter::tile_configuration() {
  std::vector<uint8_t> bytes(64);
  bytes[0] = 1;
  auto set = [&](int64_t tile, int64_t rows, int64_t groups) {
    bytes[static_cast<size_t>(16 + 2 * tile)] = static_cast<uint8_t>(groups * 4);
    bytes[static_cast<size_t>(48 + tile)] = static_cast<uint8_t>(rows);
  };
  for (int64_t side : {0, 1}) {
    for (int64_t column : {0, 1}) set(d_register(side, column), tile_shape_.rows, kTileColumns);
    set(a_register(side), tile_shape_.rows, tile_shape_.groups);
    set(b_register(side), tile_shape_.groups, kTileColumns);
  }
  auto* data = llvm::ConstantDataArray::get(context_, bytes);
  auto* global = new llvm::GlobalVariable(module_, data->getType(), true,
                                          llvm::GlobalValue::PrivateLinkage, data, "tiles");
  global->setAlignment(llvm::Align(64));
  return global;
}

// Rows of a tile in memory, each at its first element: where the first one is, and bytes from one
// to the next. No stride: not all alike.
Emitter::TileRows Emitter::tile_rows(mlir::Value value, const Point& point) {
  Lanes pointer;
  if (const Buffer* stored = plan_.find(value)) {
    pointer = storage_pointer(storage_of(*stored), point);
  } else {
    auto [load, at] = find_load(value, point);
    pointer = eval(load.getPtr(), at);
  }
  if (pointer.vector()) return {};
  TileRows rows{.first = lane_pointer(pointer, 0), .stride = i64(0)};
  if (pointer.uniform()) return rows;
  const std::vector<int64_t>& offsets = *pointer.pattern;
  const int64_t step = point.lanes > 1 ? offsets[1] - offsets[0] : 0;
  for (unsigned lane = 0; lane < point.lanes; ++lane) {
    if (offsets[lane] != offsets[0] + lane * step) return {};
  }
  rows.stride = i64(step);
  if (pointer.scale) {
    Value* scale = builder_.CreateSExtOrTrunc(pointer.scale, builder_.getInt64Ty());
    rows.stride = builder_.CreateMul(scale, rows.stride);
  }
  return rows;
}

// `index`, but no constant: what was regular at an unknown index might be evaluated another way at
// a known one. LLVM sees through it.
Value* Emitter::unfolded(Value* index) {
  if (!llvm::isa<llvm::ConstantInt>(index)) return index;
  llvm::AllocaInst* slot = stack_slot(index->getType(), "index");
  builder_.CreateStore(index, slot);
  return builder_.CreateLoad(index->getType(), slot);
}

// Rows of a tile of a, at the first element of their group.
Point Emitter::a_rows(const DotPlan& dot, Value* m, Value* k_group) {
  const auto rows = static_cast<unsigned>(tile_shape_.rows);
  Coord k = scaled_coord(unfolded(k_group), dot.group, nullptr);
  k.align *= tile_shape_.groups;
  Coord row{.base = unfolded(m), .align = tile_shape_.rows, .pattern = steps(rows)};
  return dot.point({row, k}, rows);
}

// Rows of a tile of b: groups along k, each at its first element.
Point Emitter::b_rows(const DotPlan& dot, Value* k_group, Value* n_block) {
  const auto groups = static_cast<unsigned>(tile_shape_.groups);
  std::vector<int64_t> offsets(groups);
  for (unsigned lane = 0; lane < groups; ++lane) offsets[lane] = lane * dot.group;
  Coord k = scaled_coord(unfolded(k_group), dot.group, patterns_.intern(std::move(offsets)));
  k.align *= tile_shape_.groups;
  return dot.point({k, scaled_coord(unfolded(n_block), dot.lanes, nullptr)}, groups);
}

// Does a tile of a lie in memory as a tile load reads it?
bool Emitter::reads_a_tiles_in_place(const DotPlan& dot) {
  mlir::Value a = dot.op.getA();
  if (mlir::getElementTypeOrSelf(a.getType()) != dot.compute) return false;
  if (const Buffer* stored = plan_.find(a)) return !stored->on_stack;
  const auto width = static_cast<unsigned>(dot.group * tile_shape_.groups);
  Coord k = scaled_coord(unknown_index(), width, steps(width));
  Coord row{.base = unknown_index(), .align = 1};
  if (!loads_contiguously(a, dot.point({row, k}, width))) return false;
  bool regular = false;
  try_out([&](llvm::BasicBlock*) {
    regular = tile_rows(a, a_rows(dot, unknown_index(), unknown_index())).stride;
  });
  return regular;
}

bool Emitter::reads_b_tiles_in_place(const DotPlan& dot) {
  if (mlir::getElementTypeOrSelf(dot.b_value.getType()) != dot.compute) return false;
  if (plan_.stored(dot.b_value)) return false;
  if (!loads_contiguously(dot.b_value, group_point(dot, unknown_index(), 0, unknown_index()))) {
    return false;
  }
  bool regular = false;
  try_out([&](llvm::BasicBlock*) {
    regular = tile_rows(dot.b_value, b_rows(dot, unknown_index(), unknown_index())).stride;
  });
  return regular;
}

static void tile_call(Builder& builder, llvm::Intrinsic::ID id, llvm::ArrayRef<int64_t> registers,
                      llvm::ArrayRef<Value*> rest = {}) {
  llvm::SmallVector<Value*, 4> arguments;
  for (int64_t number : registers) arguments.push_back(builder.getInt8(uint8_t(number)));
  arguments.append(rest.begin(), rest.end());
  builder.CreateIntrinsic(id, {}, arguments);
}

static llvm::Intrinsic::ID multiplication(const DotPlan& dot) {
  if (dot.kind == DotKind::kBf16) return llvm::Intrinsic::x86_tdpbf16ps;
  return dot.unsigned_b ? llvm::Intrinsic::x86_tdpbsud : llvm::Intrinsic::x86_tdpbssd;
}

void Emitter::load_tile(int64_t tile, const TileRows& rows) {
  NEREID_CHECK(rows.stride, "tiles that are not regular are packed");
  tile_call(builder_, llvm::Intrinsic::x86_tileloadd64, {tile}, {rows.first, rows.stride});
}

void Emitter::load_a_tile(const DotPlan& dot, int64_t tile, Value* m, Value* k_group) {
  if (!dot.a) return load_tile(tile, tile_rows(dot.op.getA(), a_rows(dot, m, k_group)));
  Value* index = builder_.CreateMul(m, i64(dot.k), "", true, true);
  index = builder_.CreateAdd(index, builder_.CreateMul(k_group, i64(dot.group), "", true, true), "",
                             true, true);
  load_tile(tile, {.first = builder_.CreateInBoundsGEP(type_of(dot.compute), dot.a->base, index),
                   .stride = i64(dot.k * element_bytes(dot.compute))});
}

void Emitter::load_b_tile(const DotPlan& dot, int64_t tile, Value* k_group, Value* n_block) {
  if (!dot.b) return load_tile(tile, tile_rows(dot.b_value, b_rows(dot, k_group, n_block)));
  load_tile(tile, {.first = packed_b_address(dot, k_group, 0, n_block),
                   .stride = i64(dot.n * dot.group * element_bytes(dot.compute))});
}

// What the sums of a tile start from.
void Emitter::begin_d_tile(const DotPlan& dot, int64_t tile, Value* m, Value* n_block) {
  if (dot.starts_from_zero) {
    tile_call(builder_, llvm::Intrinsic::x86_tilezero, {tile});
  } else {
    tile_call(builder_, llvm::Intrinsic::x86_tileloadd64, {tile},
              {d_address(dot, m, n_block), i64(dot.n * 4)});
  }
}

void Emitter::store_d_tile(const DotPlan& dot, int64_t tile, Value* m, Value* n_block) {
  tile_call(builder_, llvm::Intrinsic::x86_tilestored64, {tile},
            {d_address(dot, m, n_block), i64(dot.n * 4)});
}

void Emitter::emit_tile_product(DotPlan& dot) {
  const int64_t rows = tile_shape_.rows, groups = tile_shape_.groups;
  const int64_t row_tiles = (dot.rows + rows - 1) / rows, column_tiles = dot.n / kTileColumns;
  const int64_t steps_of_k = dot.k / dot.group / groups;
  const int64_t height = row_tiles % 2 == 0 ? 2 : 1, width = column_tiles % 2 == 0 ? 2 : 1;
  begin_spread((row_tiles / height) * (column_tiles / width) * steps_of_k);
  auto add = [&](Value* x, int64_t y) { return builder_.CreateAdd(x, i64(y), "", true, true); };
  auto for_each_tile = [&](llvm::function_ref<void(int64_t, int64_t)> body) {
    for (int64_t row = 0; row < height; ++row) {
      for (int64_t column = 0; column < width; ++column) body(row, column);
    }
  };
  // All of k in one step: b stays in its registers for all rows.
  const bool b_stays = steps_of_k == 1;
  auto load_b = [&](Value* k_group, Value* n_block, int64_t column) {
    load_b_tile(dot, b_register(column), k_group, add(n_block, column));
  };
  auto block = [&](Value* m, Value* n_block) {
    for_each_tile([&](int64_t row, int64_t column) {
      begin_d_tile(dot, d_register(row, column), add(m, row * rows), add(n_block, column));
    });
    emit_loop(i64(0), i64(steps_of_k * groups), i64(groups), [&](Value* k_group) {
      advance_spread();
      for_each_tile([&](int64_t row, int64_t column) {
        if (column == 0) load_a_tile(dot, a_register(row), add(m, row * rows), k_group);
        if (row == 0 && !b_stays) load_b(k_group, n_block, column);
        tile_call(builder_, multiplication(dot),
                  {d_register(row, column), a_register(row), b_register(column)});
      });
    });
    for_each_tile([&](int64_t row, int64_t column) {
      store_d_tile(dot, d_register(row, column), add(m, row * rows), add(n_block, column));
    });
  };
  emit_loop(i64(0), i64(column_tiles), i64(width), [&](Value* n_block) {
    for (int64_t column = 0; b_stays && column < width; ++column) load_b(i64(0), n_block, column);
    emit_loop(i64(0), i64(row_tiles * rows), i64(height * rows),
              [&](Value* m) { block(m, n_block); });
  });
  // Tiles end behind the last row that somebody reads.
  dot.rows = row_tiles * rows;
  if (!dot.starts_from_zero || dot.rows == dot.m) return;
  emit_loop(i64(0), i64(column_tiles), i64(1),
            [&](Value* n_block) { clear_dead_rows(dot, n_block, 1); });
}

}  // namespace nereid::lower
