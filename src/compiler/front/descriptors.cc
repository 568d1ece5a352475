// Tensor descriptors become pointers: base + sum of index * stride, and an interval mask per
// dimension so that elements outside of the tensor are never touched.
#include "src/compiler/front/rewrite.h"
#include "src/compiler/front/tile_builder.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;
using Predicate = arith::CmpIPredicate;

// Pointers and mask of one access; both of the block's shape.
struct Access {
  Value pointers;
  Value mask;
};

class DescriptorRewriter {
 public:
  DescriptorRewriter(mlir::OpBuilder& builder, mlir::Operation* op, tt::MakeTensorDescOp desc)
      : t_(builder, op->getLoc()), op_(op), desc_(desc) {}

  mlir::LogicalResult run();

 private:
  Access block_access(mlir::ValueRange indices, llvm::ArrayRef<int64_t> shape);
  Access row_access(Value rows, Value column, llvm::ArrayRef<int64_t> shape);
  Value interval_mask(Value index, Value size, int64_t dim, llvm::ArrayRef<int64_t> shape);
  Value offsets_along(int64_t dim, llvm::ArrayRef<int64_t> shape);
  Value load(Access access, mlir::RankedTensorType block);
  mlir::LogicalResult reduce(tt::DescriptorReduceOp op);
  Value stride(int64_t dim) { return desc_.getStrides()[dim]; }

  TileBuilder t_;
  mlir::Operation* op_;
  tt::MakeTensorDescOp desc_;
};

// Lanes with 0 <= index + lane < size, by scalar bounds clamped to the block: no overflow.
Value DescriptorRewriter::interval_mask(Value index, Value size, int64_t dim,
                                        llvm::ArrayRef<int64_t> shape) {
  auto& b = t_.b;
  Value zero = t_.integer(0, t_.i64()), extent = t_.integer(shape[dim], t_.i64());
  Value wide_index = t_.extend(index, t_.i64());
  auto clamp = [&](Value value) -> Value {
    value = arith::MaxSIOp::create(b, t_.location, value, zero);
    value = arith::MinSIOp::create(b, t_.location, value, extent);
    return arith::TruncIOp::create(b, t_.location, t_.i32(), value);
  };
  Value low = clamp(arith::SubIOp::create(b, t_.location, zero, wide_index));
  Value high = clamp(arith::SubIOp::create(b, t_.location, t_.extend(size, t_.i64()), wide_index));
  Value lanes = t_.range_along(dim, shape);
  auto lane_shape = mlir::cast<mlir::RankedTensorType>(lanes.getType()).getShape();
  Value mask = t_.land(t_.compare(Predicate::sge, lanes, t_.splat(low, lane_shape)),
                       t_.compare(Predicate::slt, lanes, t_.splat(high, lane_shape)));
  return t_.broadcast(mask, shape);
}

// lane * stride along `dim`, i64, of the whole block's shape.
Value DescriptorRewriter::offsets_along(int64_t dim, llvm::ArrayRef<int64_t> shape) {
  Value lanes = t_.extend(t_.range_along(dim, shape), t_.i64());
  auto lane_shape = mlir::cast<mlir::RankedTensorType>(lanes.getType()).getShape();
  return t_.broadcast(t_.multiply(lanes, t_.splat(stride(dim), lane_shape)), shape);
}

Access DescriptorRewriter::block_access(mlir::ValueRange indices, llvm::ArrayRef<int64_t> shape) {
  Value start = t_.integer(0, t_.i64());
  Access access;
  Value offsets;
  for (int64_t dim = 0; dim < static_cast<int64_t>(shape.size()); ++dim) {
    Value index = t_.extend(indices[dim], t_.i64());
    start = t_.add(start, t_.multiply(index, stride(dim)));
    Value along = offsets_along(dim, shape);
    offsets = offsets ? t_.add(offsets, along) : along;
    access.mask =
        t_.land(access.mask, interval_mask(indices[dim], desc_.getShape()[dim], dim, shape));
  }
  Value base =
      tt::AddPtrOp::create(t_.b, t_.location, desc_.getBase().getType(), desc_.getBase(), start);
  Value bases = t_.splat(base, shape);
  access.pointers = tt::AddPtrOp::create(t_.b, t_.location, bases.getType(), bases, offsets);
  return access;
}

// rows: (M), column: scalar; block (M, N).
Access DescriptorRewriter::row_access(Value rows, Value column, llvm::ArrayRef<int64_t> shape) {
  Value row = t_.place_along(t_.extend(rows, t_.i64()), 0, 2);  // (M, 1)
  llvm::SmallVector<int64_t> row_shape = {shape[0], 1};
  Value size = t_.splat(t_.extend(desc_.getShape()[0], t_.i64()), row_shape);
  Value zero = t_.integer(0, t_.tensor(row_shape, t_.i64()));
  Value inside =
      t_.land(t_.compare(Predicate::sge, row, zero), t_.compare(Predicate::slt, row, size));
  Access access;
  access.mask =
      t_.land(t_.broadcast(inside, shape), interval_mask(column, desc_.getShape()[1], 1, shape));
  Value start = t_.multiply(t_.extend(column, t_.i64()), stride(1));
  Value base =
      tt::AddPtrOp::create(t_.b, t_.location, desc_.getBase().getType(), desc_.getBase(), start);
  Value row_offsets = t_.multiply(row, t_.splat(stride(0), row_shape));
  Value offsets = t_.add(t_.broadcast(row_offsets, shape), offsets_along(1, shape));
  Value bases = t_.splat(base, shape);
  access.pointers = tt::AddPtrOp::create(t_.b, t_.location, bases.getType(), bases, offsets);
  return access;
}

Value DescriptorRewriter::load(Access access, mlir::RankedTensorType block) {
  bool is_float = mlir::isa<mlir::FloatType>(block.getElementType());
  bool pad_nan = is_float && desc_.getPadding() == tt::PaddingOption::PAD_NAN;
  Value other = is_float ? t_.number(pad_nan ? std::nan("") : 0.0, block) : t_.integer(0, block);
  return tt::LoadOp::create(t_.b, t_.location, block, access.pointers, access.mask, other,
                            mlir::Attribute(), /*isVolatile=*/false);
}

mlir::LogicalResult DescriptorRewriter::reduce(tt::DescriptorReduceOp op) {
  auto type = desc_.getType();
  bool is_float = mlir::isa<mlir::FloatType>(type.getElementType());
  bool is_unsigned = type.getElementType().isUnsignedInteger();
  std::optional<tt::RMWOp> kind;
  switch (op.getKind()) {
    case tt::DescriptorReduceKind::ADD:
      kind = is_float ? tt::RMWOp::FADD : tt::RMWOp::ADD;
      break;
    case tt::DescriptorReduceKind::MIN:
      kind = is_unsigned ? tt::RMWOp::UMIN : tt::RMWOp::MIN;
      break;
    case tt::DescriptorReduceKind::MAX:
      kind = is_unsigned ? tt::RMWOp::UMAX : tt::RMWOp::MAX;
      break;
    case tt::DescriptorReduceKind::AND:
      kind = tt::RMWOp::AND;
      break;
    case tt::DescriptorReduceKind::OR:
      kind = tt::RMWOp::OR;
      break;
    case tt::DescriptorReduceKind::XOR:
      kind = tt::RMWOp::XOR;
      break;
    default:
      break;
  }
  if (!kind || (is_float && *kind != tt::RMWOp::FADD))
    return op.emitError() << "'tt.descriptor_reduce' "
                          << tt::stringifyDescriptorReduceKind(op.getKind()) << " of "
                          << type.getElementType() << " is not supported";
  auto shape = type.getShape();
  Access access = block_access(op.getIndices(), shape);
  Value source = t_.reshape(op.getSrc(), shape);
  tt::AtomicRMWOp::create(t_.b, t_.location, source.getType(), *kind, access.pointers, source,
                          access.mask, tt::MemSemantic::RELAXED, tt::MemSyncScope::GPU);
  return mlir::success();
}

mlir::LogicalResult DescriptorRewriter::run() {
  auto block = desc_.getType().getSignlessBlockType();
  auto shape = block.getShape();
  if (auto op = mlir::dyn_cast<tt::DescriptorLoadOp>(op_)) {
    Value value = load(block_access(op.getIndices(), shape), block);
    auto result_shape = mlir::cast<mlir::RankedTensorType>(op.getType()).getShape();
    op.replaceAllUsesWith(t_.reshape(value, result_shape));
  } else if (auto op = mlir::dyn_cast<tt::DescriptorStoreOp>(op_)) {
    Access access = block_access(op.getIndices(), shape);
    tt::StoreOp::create(t_.b, t_.location, access.pointers, t_.reshape(op.getSrc(), shape),
                        access.mask, mlir::Attribute(), /*ignore_cta=*/false);
  } else if (auto op = mlir::dyn_cast<tt::DescriptorGatherOp>(op_)) {
    auto result = mlir::cast<mlir::RankedTensorType>(op.getType());
    Access access = row_access(op.getXOffsets(), op.getYOffset(), result.getShape());
    op.replaceAllUsesWith(load(access, result));
  } else if (auto op = mlir::dyn_cast<tt::DescriptorScatterOp>(op_)) {
    auto source = mlir::cast<mlir::RankedTensorType>(op.getSrc().getType());
    Access access = row_access(op.getXOffsets(), op.getYOffset(), source.getShape());
    tt::StoreOp::create(t_.b, t_.location, access.pointers, op.getSrc(), access.mask,
                        mlir::Attribute(), /*ignore_cta=*/false);
  } else if (failed(reduce(mlir::cast<tt::DescriptorReduceOp>(op_)))) {
    return mlir::failure();
  }
  op_->erase();
  return mlir::success();
}

}  // namespace

mlir::LogicalResult rewrite_descriptors(mlir::ModuleOp module, bool& changed) {
  llvm::SmallVector<mlir::Operation*> uses;
  llvm::SmallVector<tt::MakeTensorDescOp> descriptors;
  module->walk([&](mlir::Operation* op) {
    if (mlir::isa<tt::DescriptorLoadOp, tt::DescriptorStoreOp, tt::DescriptorReduceOp,
                  tt::DescriptorGatherOp, tt::DescriptorScatterOp>(op))
      uses.push_back(op);
    if (auto make = mlir::dyn_cast<tt::MakeTensorDescOp>(op)) descriptors.push_back(make);
  });
  for (mlir::Operation* op : uses) {
    Value value = mlir::isa<tt::DescriptorReduceOp>(op)
                      ? mlir::cast<tt::DescriptorReduceOp>(op).getDesc()
                      : op->getOperand(0);
    auto make = value.getDefiningOp<tt::MakeTensorDescOp>();
    if (!make)
      return op->emitError() << "'" << op->getName()
                             << "' through a descriptor that is not made by one "
                                "tt.make_tensor_descriptor is not supported";
    mlir::OpBuilder builder(op);
    if (failed(DescriptorRewriter(builder, op, make).run())) return mlir::failure();
    changed = true;
  }
  for (tt::MakeTensorDescOp make : descriptors)
    if (make->use_empty()) make->erase();
  return mlir::success();
}

}  // namespace nereid
