// Small builders of tile expressions; the canonicaliser folds what is constant.
#include "src/compiler/front/tile_builder.h"

namespace nereid {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

static llvm::ArrayRef<int64_t> shape_of(Value tile) {
  return mlir::cast<mlir::RankedTensorType>(tile.getType()).getShape();
}

static Value constant(mlir::OpBuilder& b, mlir::Location location, mlir::Type type,
                      mlir::TypedAttr element) {
  if (auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type))
    return arith::ConstantOp::create(
        b, location, mlir::SplatElementsAttr::get(tensor, mlir::Attribute(element)));
  return arith::ConstantOp::create(b, location, element);
}

Value TileBuilder::integer(int64_t value, mlir::Type type) {
  return constant(b, location, type, b.getIntegerAttr(mlir::getElementTypeOrSelf(type), value));
}

Value TileBuilder::number(double value, mlir::Type type) {
  return constant(b, location, type, b.getFloatAttr(mlir::getElementTypeOrSelf(type), value));
}

Value TileBuilder::splat(Value scalar, llvm::ArrayRef<int64_t> shape) {
  return tt::SplatOp::create(b, location, tensor(shape, scalar.getType()), scalar);
}

Value TileBuilder::range_along(int64_t dim, llvm::ArrayRef<int64_t> shape) {
  Value range = tt::MakeRangeOp::create(b, location, tensor({shape[dim]}, i32()), 0,
                                        static_cast<uint32_t>(shape[dim]));
  return place_along(range, dim, shape.size());
}

Value TileBuilder::place_along(Value vector, int64_t dim, size_t rank) {
  mlir::Type element = mlir::getElementTypeOrSelf(vector.getType());
  for (int64_t axis = 0; axis < static_cast<int64_t>(rank); ++axis) {
    if (axis == dim) continue;
    llvm::SmallVector<int64_t> shape(shape_of(vector));
    shape.insert(shape.begin() + axis, 1);
    vector = tt::ExpandDimsOp::create(b, location, tensor(shape, element), vector,
                                      static_cast<uint32_t>(axis));
  }
  return vector;
}

Value TileBuilder::broadcast(Value tile, llvm::ArrayRef<int64_t> shape) {
  if (shape_of(tile) == shape) return tile;
  mlir::Type element = mlir::getElementTypeOrSelf(tile.getType());
  return tt::BroadcastOp::create(b, location, tensor(shape, element), tile);
}

Value TileBuilder::reshape(Value tile, llvm::ArrayRef<int64_t> shape) {
  if (shape_of(tile) == shape) return tile;
  mlir::Type element = mlir::getElementTypeOrSelf(tile.getType());
  return tt::ReshapeOp::create(b, location, tensor(shape, element), tile, /*allow_reorder=*/false,
                               /*efficient_layout=*/false);
}

Value TileBuilder::extend(Value value, mlir::Type element) {
  if (mlir::getElementTypeOrSelf(value.getType()) == element) return value;
  auto tile = mlir::dyn_cast<mlir::RankedTensorType>(value.getType());
  mlir::Type type = tile ? mlir::Type(tile.clone(element)) : element;
  return arith::ExtSIOp::create(b, location, type, value);
}

Value TileBuilder::add(Value x, Value y) {
  return arith::AddIOp::create(b, location, x, y);
}
Value TileBuilder::multiply(Value x, Value y) {
  return arith::MulIOp::create(b, location, x, y);
}

Value TileBuilder::land(Value x, Value y) {
  return x ? arith::AndIOp::create(b, location, x, y).getResult() : y;
}

Value TileBuilder::compare(arith::CmpIPredicate predicate, Value x, Value y) {
  return arith::CmpIOp::create(b, location, predicate, x, y);
}

}  // namespace nereid
