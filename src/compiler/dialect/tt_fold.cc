// Folds and canonical forms of `tt` ops: constants through shape ops, trivial masks and offsets.
#include "mlir/IR/Matchers.h"
#include "src/compiler/dialect/tt.h"

namespace mlir::triton {
namespace {

// A splat constant with the shape of `type`, or null.
OpFoldResult splat_of(Attribute operand, Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (isa<PointerType>(tensor.getElementType())) return {};
  if (auto splat = dyn_cast_or_null<SplatElementsAttr>(operand)) return splat.resizeSplat(tensor);
  return {};
}

// true or false when `mask` is a constant that is the same for all lanes.
std::optional<bool> constant_mask(Value mask) {
  if (!mask) return std::nullopt;
  Attribute value;
  if (!matchPattern(mask, m_Constant(&value))) return std::nullopt;
  if (auto scalar = dyn_cast<IntegerAttr>(value)) return !scalar.getValue().isZero();
  if (auto splat = dyn_cast<SplatElementsAttr>(value))
    return !splat.getSplatValue<APInt>().isZero();
  return std::nullopt;
}

}  // namespace

OpFoldResult BitcastOp::fold(FoldAdaptor) {
  if (getSrc().getType() == getType()) return getSrc();
  if (auto inner = getSrc().getDefiningOp<BitcastOp>();
      inner && inner.getSrc().getType() == getType())
    return inner.getSrc();
  return {};
}

OpFoldResult AddPtrOp::fold(FoldAdaptor adaptor) {
  Attribute offset = adaptor.getOffset();
  if (auto scalar = dyn_cast_or_null<IntegerAttr>(offset); scalar && scalar.getValue().isZero())
    return getPtr();
  if (auto splat = dyn_cast_or_null<SplatElementsAttr>(offset);
      splat && splat.getSplatValue<APInt>().isZero())
    return getPtr();
  return {};
}

OpFoldResult MakeRangeOp::fold(FoldAdaptor) {
  auto type = cast<RankedTensorType>(getType());
  if (type.getNumElements() != 1) return {};
  return SplatElementsAttr::get(type, getStartAttr().getValue());
}

OpFoldResult SplatOp::fold(FoldAdaptor adaptor) {
  auto type = cast<RankedTensorType>(getType());
  if (!isa_and_nonnull<FloatAttr, IntegerAttr>(adaptor.getSrc())) return {};
  return SplatElementsAttr::get(type, ArrayRef<Attribute>(adaptor.getSrc()));
}

OpFoldResult ExpandDimsOp::fold(FoldAdaptor adaptor) {
  return splat_of(adaptor.getSrc(), getType());
}
OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getSrc().getType() == getType()) return getSrc();
  return splat_of(adaptor.getSrc(), getType());
}
OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getSrc().getType() == getType() && !getAllowReorder()) return getSrc();
  return splat_of(adaptor.getSrc(), getType());
}

OpFoldResult TransOp::fold(FoldAdaptor adaptor) {
  bool identity = true;
  for (auto [axis, from] : llvm::enumerate(getOrder()))
    identity &= from == static_cast<int64_t>(axis);
  if (identity) return getSrc();
  if (auto inner = getSrc().getDefiningOp<TransOp>()) {  // two transposes are one
    SmallVector<int32_t> order;
    for (int32_t from : getOrder()) order.push_back(inner.getOrder()[from]);
    setOrder(order);
    getSrcMutable().assign(inner.getSrc());
    return getResult();
  }
  return splat_of(adaptor.getSrc(), getType());
}

namespace {
// A shape op of a splat is a splat.
LogicalResult splat_through(Operation* op, PatternRewriter& rewriter) {
  auto splat = op->getOperand(0).getDefiningOp<SplatOp>();
  if (!splat) return failure();
  rewriter.replaceOpWithNewOp<SplatOp>(op, op->getResult(0).getType(), splat.getSrc());
  return success();
}
}  // namespace

LogicalResult ExpandDimsOp::canonicalize(ExpandDimsOp op, PatternRewriter& rewriter) {
  return splat_through(op, rewriter);
}

LogicalResult BroadcastOp::canonicalize(BroadcastOp op, PatternRewriter& rewriter) {
  if (auto inner = op.getSrc().getDefiningOp<BroadcastOp>()) {
    rewriter.modifyOpInPlace(op, [&] { op.getSrcMutable().assign(inner.getSrc()); });
    return success();
  }
  return splat_through(op, rewriter);
}

LogicalResult ReshapeOp::canonicalize(ReshapeOp op, PatternRewriter& rewriter) {
  // With allow_reorder the inner order may be anything, so only plain reshapes merge.
  if (auto inner = op.getSrc().getDefiningOp<ReshapeOp>();
      inner && inner.getAllowReorder() == op.getAllowReorder()) {
    rewriter.modifyOpInPlace(op, [&] { op.getSrcMutable().assign(inner.getSrc()); });
    return success();
  }
  return splat_through(op, rewriter);
}

LogicalResult LoadOp::canonicalize(LoadOp op, PatternRewriter& rewriter) {
  std::optional<bool> mask = constant_mask(op.getMask());
  if (!mask || op.getIsVolatile()) return failure();
  if (*mask) {
    rewriter.modifyOpInPlace(op, [&] {
      op.getOtherMutable().clear();
      op.getMaskMutable().clear();
    });
    return success();
  }
  if (!op.getOther()) return failure();
  rewriter.replaceOp(op, op.getOther());
  return success();
}

LogicalResult StoreOp::canonicalize(StoreOp op, PatternRewriter& rewriter) {
  std::optional<bool> mask = constant_mask(op.getMask());
  if (!mask) return failure();
  if (*mask)
    rewriter.modifyOpInPlace(op, [&] { op.getMaskMutable().clear(); });
  else
    rewriter.eraseOp(op);
  return success();
}

}  // namespace mlir::triton
