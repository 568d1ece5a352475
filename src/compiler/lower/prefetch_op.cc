// A tt.load that front/prefetch.cc added: every cache line of its tile is asked for, nothing is
// read.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;

constexpr int64_t kLineBytes = 64;
constexpr int64_t kToSecondLevel = 2;  // locality: a tile per operand is much for the first

void Emitter::emit_prefetch(tt::LoadOp op) {
  if (op->hasAttr("spread")) {
    spread_.push_back({.op = op});
    return;
  }
  auto part = mlir::cast<mlir::DenseI64ArrayAttr>(op->getAttr("prefetch"));
  bool two = shape_of(op.getPtr()).size() == 2;
  emit_prefetch_rows(op, i64(two ? part[0] : 0), two ? part[1] : 1);
}

// What waits for this dot is asked for a few rows at a time, at the beginning of each of its
// `blocks`.
void Emitter::begin_spread(int64_t blocks) {
  for (SpreadPrefetch& prefetch : spread_) {
    int64_t rows = shape_of(prefetch.op.getPtr())[0];
    prefetch.rows = (rows + blocks - 1) / blocks;
    prefetch.next = stack_slot(builder_.getInt64Ty(), "ahead");
    builder_.CreateStore(i64(0), prefetch.next);
  }
}

void Emitter::advance_spread() {
  for (SpreadPrefetch& prefetch : spread_) {
    // Never beyond the tile: what an address is made of may be read from memory, row by row.
    llvm::Value* last = i64(shape_of(prefetch.op.getPtr())[0] - prefetch.rows);
    llvm::Value* next = builder_.CreateLoad(builder_.getInt64Ty(), prefetch.next);
    llvm::Value* first = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, next, last);
    emit_prefetch_rows(prefetch.op, first, prefetch.rows);
    builder_.CreateStore(builder_.CreateAdd(next, i64(prefetch.rows), "", true, true),
                         prefetch.next);
  }
}

// Every line of rows [first, first + rows).
void Emitter::emit_prefetch_rows(tt::LoadOp op, llvm::Value* first, int64_t rows) {
  auto shape = shape_of(op.getPtr());
  mlir::Type element = mlir::getElementTypeOrSelf(op.getType());
  bool two = shape.size() == 2;
  int64_t columns = shape.back();
  int64_t apart = std::max<int64_t>(1, kLineBytes / element_bytes(element));
  auto line = [&](llvm::Value* row, int64_t column) {
    Point point;
    point.lanes = 1;
    if (two) point.coords.push_back(Coord{.base = row, .align = 1});
    point.coords.push_back(constant_coord(column));
    llvm::Value* address = lane_pointer(eval(op.getPtr(), point), 0);
    builder_.CreateIntrinsic(llvm::Intrinsic::prefetch, {address->getType()},
                             {address, i32(0), i32(kToSecondLevel), i32(1)});
  };
  emit_loop(i64(0), i64(rows), i64(1), [&](llvm::Value* index) {
    llvm::Value* row = builder_.CreateAdd(first, index, "", true, true);
    for (int64_t column = 0; column < columns; column += apart) line(row, column);
  });
}

}  // namespace nereid::lower
