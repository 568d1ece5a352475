// Builds tile expressions of `tt` and `arith` ops at one place: ranges, broadcasts, masks.
#pragma once

#include "src/compiler/dialect/tt.h"

namespace nereid {

class TileBuilder {
 public:
  TileBuilder(mlir::OpBuilder& builder, mlir::Location location) : b(builder), location(location) {}

  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type i64() { return b.getI64Type(); }
  mlir::RankedTensorType tensor(llvm::ArrayRef<int64_t> shape, mlir::Type element) {
    return mlir::RankedTensorType::get(shape, element);
  }

  mlir::Value integer(int64_t value, mlir::Type type);  // scalar or splat tensor
  mlir::Value number(double value, mlir::Type type);    // scalar or splat tensor
  mlir::Value splat(mlir::Value scalar, llvm::ArrayRef<int64_t> shape);
  // 0 .. shape[dim] - 1 along `dim`, i32, with size 1 in the other dimensions.
  mlir::Value range_along(int64_t dim, llvm::ArrayRef<int64_t> shape);
  // Vector (shape[dim]) placed along `dim`, with size 1 in the other dimensions.
  mlir::Value place_along(mlir::Value vector, int64_t dim, size_t rank);
  mlir::Value broadcast(mlir::Value tile, llvm::ArrayRef<int64_t> shape);
  mlir::Value reshape(mlir::Value tile, llvm::ArrayRef<int64_t> shape);
  mlir::Value extend(mlir::Value value, mlir::Type element);  // sign extension
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value multiply(mlir::Value x, mlir::Value y);
  mlir::Value land(mlir::Value x, mlir::Value y);  // y alone when x is null
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value x, mlir::Value y);

  mlir::OpBuilder& b;
  mlir::Location location;
};

}  // namespace nereid
