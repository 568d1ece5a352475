// A tt.load that front/prefetch.cc added: every cache line of its tile is asked for, nothing is
// read.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;

constexpr int64_t kLineBytes = 64;
constexpr int64_t kToSecondLevel = 2;  // locality: a tile per operand is much for the first

void Emitter::emit_prefetch(tt::LoadOp op) {
  auto shape = shape_of(op.getPtr());
  mlir::Type element = mlir::getElementTypeOrSelf(op.getType());
  auto part = mlir::cast<mlir::DenseI64ArrayAttr>(op->getAttr("prefetch"));
  bool two = shape.size() == 2;
  int64_t columns = shape.back(), first = two ? part[0] : 0, rows = two ? part[1] : 1;
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
  emit_loop(i64(first), i64(first + rows), i64(1), [&](llvm::Value* row) {
    for (int64_t column = 0; column < columns; column += apart) line(row, column);
  });
}

}  // namespace nereid::lower
