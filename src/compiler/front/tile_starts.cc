// What a dot of bytes starts from, added behind it, where tile registers compute the dot: they can
// only start from numbers in memory, while an addition behind takes its operand from wherever it
// is.
#include "mlir/IR/Matchers.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/rewrite.h"

namespace nereid {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

void add_starts_behind(mlir::ModuleOp module, const TargetInfo& target, bool& changed) {
  if (!target.has_int8_tiles) return;
  llvm::SmallVector<tt::DotOp, 4> found;
  module->walk([&](tt::DotOp op) {
    const auto shape = mlir::cast<mlir::RankedTensorType>(op.getType()).getShape();
    const bool bytes = mlir::getElementTypeOrSelf(op.getA().getType()).isInteger(8) &&
                       mlir::getElementTypeOrSelf(op.getType()).isInteger(32);
    const auto k = mlir::cast<mlir::RankedTensorType>(op.getA().getType()).getShape().back();
    mlir::Operation* start = op.getC().getDefiningOp();
    // What a loop carries or leaves, and another dot's result, lie in memory already.
    if (!bytes || shape.size() != 2 || shape[0] % 16 != 0 || shape[1] % 16 != 0 || k % 32 != 0 ||
        !start || mlir::isa<tt::DotOp>(start) || start->getNumRegions() > 0 ||
        mlir::matchPattern(op.getC(), mlir::m_Zero()))
      return;
    found.push_back(op);
  });
  for (tt::DotOp op : found) {
    mlir::OpBuilder builder(op);
    const Value start = op.getC();
    auto type = mlir::cast<mlir::RankedTensorType>(op.getType());
    const Value zero = arith::ConstantOp::create(
        builder, op.getLoc(), mlir::DenseElementsAttr::get(type, builder.getI32IntegerAttr(0)));
    op.getCMutable().assign(zero);
    builder.setInsertionPointAfter(op);
    auto sum = arith::AddIOp::create(builder, op.getLoc(), op.getD(), start);
    op.getD().replaceAllUsesExcept(sum, sum);
    changed = true;
  }
}

}  // namespace nereid
