// A tt.load that front/prefetch.cc added: every cache line of its tile is asked for, nothing is
// read.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;

constexpr int64_t kLineBytes = 64;
constexpr int64_t kMostWithoutLoop = 32;  // lines, whose index arithmetic folds away
constexpr int64_t kToSecondLevel = 2;     // locality: a tile per operand is much for the first

static int64_t elements_of_line(tt::LoadOp op) {
  return std::max<int64_t>(1, kLineBytes / element_bytes(mlir::getElementTypeOrSelf(op.getType())));
}

// Lines of a row of the tile, and of all of it.
static int64_t row_lines(tt::LoadOp op) {
  return (shape_of(op.getPtr()).back() - 1) / elements_of_line(op) + 1;
}
static int64_t tile_lines(tt::LoadOp op) {
  return row_lines(op) * llvm::product_of(shape_of(op.getPtr()).drop_back());
}

void Emitter::emit_prefetch(tt::LoadOp op) {
  if (op->hasAttr("spread")) {
    spread_.push_back({.op = op});
    return;
  }
  auto part = mlir::cast<mlir::DenseI64ArrayAttr>(op->getAttr("prefetch"));
  emit_prefetch_lines(op, i64(part[0] * row_lines(op)), part[1] * row_lines(op));
}

// What waits for this dot is asked for a few lines at a time, at each of its `steps`.
void Emitter::begin_spread(int64_t steps) {
  for (SpreadPrefetch& prefetch : spread_) {
    prefetch.lines = (tile_lines(prefetch.op) + steps - 1) / steps;
    prefetch.next = stack_slot(builder_.getInt64Ty(), "ahead");
    builder_.CreateStore(i64(0), prefetch.next);
  }
}

void Emitter::advance_spread() {
  for (SpreadPrefetch& prefetch : spread_) {
    // Never beyond the tile: what an address is made of may be read from memory, row by row.
    llvm::Value* last = i64(tile_lines(prefetch.op) - prefetch.lines);
    llvm::Value* next = builder_.CreateLoad(builder_.getInt64Ty(), prefetch.next);
    llvm::Value* first = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, next, last);
    emit_prefetch_lines(prefetch.op, first, prefetch.lines);
    builder_.CreateStore(builder_.CreateAdd(next, i64(prefetch.lines), "", true, true),
                         prefetch.next);
  }
}

// Lines [first, first + count), counted row by row.
void Emitter::emit_prefetch_lines(tt::LoadOp op, llvm::Value* first, int64_t count) {
  const auto shape = shape_of(op.getPtr());
  const auto ask = [&](llvm::Value* index) {
    llvm::Value* line = builder_.CreateAdd(first, index, "", true, true);
    llvm::Value* column = builder_.CreateURem(line, i64(row_lines(op)));
    llvm::Value* row = builder_.CreateUDiv(line, i64(row_lines(op)));
    Point point;
    point.lanes = 1;
    point.coords.resize(shape.size());
    column = builder_.CreateMul(column, i64(elements_of_line(op)), "", true, true);
    point.coords.back() = Coord{.base = column, .align = elements_of_line(op)};
    for (size_t dim = shape.size() - 1; dim-- > 0;) {
      point.coords[dim] = Coord{.base = builder_.CreateURem(row, i64(shape[dim])), .align = 1};
      row = builder_.CreateUDiv(row, i64(shape[dim]));
    }
    llvm::Value* address = lane_pointer(eval(op.getPtr(), point), 0);
    builder_.CreateIntrinsic(llvm::Intrinsic::prefetch, {address->getType()},
                             {address, i32(0), i32(kToSecondLevel), i32(1)});
  };
  if (count > kMostWithoutLoop) {
    emit_loop(i64(0), i64(count), i64(1), ask);
  } else {
    for (int64_t index = 0; index < count; ++index) ask(i64(index));
  }
}

}  // namespace nereid::lower
