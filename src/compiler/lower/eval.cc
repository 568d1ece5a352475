// Evaluates tensors at a point: on demand, only the lanes that are asked for, each (value, point)
// once per nest body.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;

// <L x T> with all lanes spelled out (T itself for one lane).
llvm::Value* Emitter::vector_of(const Lanes& value, unsigned lanes) {
  if (value.vector()) return value.value;
  if (value.uniform()) {
    return lanes == 1 ? value.value : builder_.CreateVectorSplat(lanes, value.value);
  }
  bool pointer = value.value->getType()->isPointerTy();
  llvm::Type* type = pointer ? builder_.getInt64Ty() : value.value->getType();
  llvm::SmallVector<llvm::Constant*, 64> offsets;
  for (int64_t offset : *value.pattern) {
    offsets.push_back(llvm::ConstantInt::get(
        type,
        llvm::APInt(64, static_cast<uint64_t>(offset)).sextOrTrunc(type->getIntegerBitWidth())));
  }
  llvm::Value* vector = llvm::ConstantVector::get(offsets);
  if (value.scale) {
    vector = builder_.CreateMul(vector, builder_.CreateVectorSplat(lanes, value.scale));
  }
  if (pointer) return builder_.CreateGEP(builder_.getInt8Ty(), value.value, vector);
  return builder_.CreateAdd(vector, builder_.CreateVectorSplat(lanes, value.value));
}

llvm::Value* Emitter::eval_vector(mlir::Value value, const Point& point) {
  return vector_of(eval(value, point), point.lanes);
}

llvm::Value* Emitter::eval_uniform(mlir::Value value) {
  Point point = constant_point(llvm::SmallVector<int64_t, 4>(shape_of(value).size(), 0));
  return vector_of(eval(value, point), 1);
}

Lanes Emitter::eval(mlir::Value value, const Point& point, Mode mode) {
  if (!is_tensor(value)) return Lanes::make_uniform(scalar(value));
  if (!mlir::getElementTypeOrSelf(value.getType()).isInteger()) mode = Mode::kValue;
  MemoKey key{value, mode, point.lanes, point.coords};
  for (Memo& memo : llvm::reverse(memos_)) {
    if (auto it = memo.find(key); it != memo.end()) return it->second;
  }
  Lanes result;
  if (auto it = offsets_.find(value); it != offsets_.end()) {
    result = eval_offset(it->second, value, point, mode);
  } else if (const Buffer* buffer = plan_.find(value)) {
    result = load_storage(storage_of(*buffer), point);
  } else if (mlir::Operation* op = value.getDefiningOp()) {
    result = eval_op(op, value, point, mode);
  } else {
    result = fail_lanes(current_, "this tensor block argument is not supported",
                        mlir::getElementTypeOrSelf(value.getType()));
  }
  if (!memos_.empty()) memos_.back()[key] = result;
  return result;
}

Lanes Emitter::eval_offset(const Offset& offset, mlir::Value value, const Point& point, Mode mode) {
  Lanes init = eval(offset.init, point, mode);
  Lanes step = Lanes::make_uniform(offset.offset);
  if (offset.pointer) {
    auto type = mlir::cast<tt::PointerType>(mlir::getElementTypeOrSelf(value.getType()));
    return add_pointer(init, step, type.getPointeeType(), point.lanes);
  }
  if (auto sum = add_lanes(init, step, false)) return *sum;
  return Lanes::make_vector(
      builder_.CreateAdd(vector_of(init, point.lanes), vector_of(step, point.lanes)));
}

Lanes Emitter::eval_op(mlir::Operation* op, mlir::Value value, const Point& point, Mode mode) {
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) return eval_load(load, point);
  if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) return eval_constant(constant, point);
  if (mlir::isa<mlir::ub::PoisonOp>(op)) {
    return Lanes::make_uniform(llvm::Constant::getNullValue(type_of(value.getType())));
  }
  if (is_elementwise_op(op)) return eval_elementwise(op, value, point, mode);
  return eval_shape_op(op, value, point, mode);
}

Lanes Emitter::eval_shape_op(mlir::Operation* op, mlir::Value value, const Point& point,
                             Mode mode) {
  if (auto splat = mlir::dyn_cast<tt::SplatOp>(op)) {
    return Lanes::make_uniform(scalar(splat.getSrc()));
  }
  if (auto range = mlir::dyn_cast<tt::MakeRangeOp>(op)) {
    const Coord& coord = point.coords[0];
    llvm::Value* start = i32(range.getStartAttr().getInt());
    llvm::Type* type = builder_.getInt32Ty();
    if (coord.opaque) {
      llvm::Value* index = builder_.CreateTrunc(coord.opaque, widen(type, point.lanes));
      return Lanes::make_vector(
          builder_.CreateAdd(index, builder_.CreateVectorSplat(point.lanes, start)));
    }
    llvm::Value* index = builder_.CreateTrunc(coord.base, type);
    align_hints_[index] = std::max(known_align(index), coord.align & -coord.align);
    if (!llvm::isa<llvm::Constant>(index)) nonnegative_hints_.insert(index);
    return Lanes::make_affine(builder_.CreateAdd(index, start), nullptr, coord.pattern);
  }
  if (auto expand = mlir::dyn_cast<tt::ExpandDimsOp>(op)) {
    llvm::SmallVector<Coord, 4> coords(point.coords);
    coords.erase(coords.begin() + expand.getAxis());
    return eval(expand.getSrc(), with_coords(point, coords), mode);
  }
  if (auto broadcast = mlir::dyn_cast<tt::BroadcastOp>(op)) {
    llvm::SmallVector<Coord, 4> coords(point.coords);
    for (auto [dim, extent] : llvm::enumerate(shape_of(broadcast.getSrc()))) {
      if (extent == 1) coords[dim] = constant_coord(0);
    }
    return eval(broadcast.getSrc(), with_coords(point, coords), mode);
  }
  if (auto trans = mlir::dyn_cast<tt::TransOp>(op)) {
    llvm::SmallVector<Coord, 4> coords(point.coords.size());
    for (auto [dim, source] : llvm::enumerate(trans.getOrder())) coords[source] = point.coords[dim];
    return eval(trans.getSrc(), with_coords(point, coords), mode);
  }
  if (auto reshape = mlir::dyn_cast<tt::ReshapeOp>(op)) {
    Point source = reshape_point(point, shape_of(value), shape_of(reshape.getSrc()));
    return eval(reshape.getSrc(), source, mode);
  }
  if (auto split = mlir::dyn_cast<tt::SplitOp>(op)) {
    llvm::SmallVector<Coord, 4> coords(point.coords);
    coords.push_back(constant_coord(mlir::cast<mlir::OpResult>(value).getResultNumber()));
    return eval(split.getSrc(), with_coords(point, coords), mode);
  }
  if (auto join = mlir::dyn_cast<tt::JoinOp>(op)) return eval_join(join, point, mode);
  if (auto gather = mlir::dyn_cast<tt::GatherOp>(op)) return eval_gather(gather, point);
  return fail_lanes(op, "not supported", mlir::getElementTypeOrSelf(value.getType()));
}

Lanes Emitter::eval_join(tt::JoinOp op, const Point& point, Mode mode) {
  Coord which = point.coords.back();
  llvm::SmallVector<Coord, 4> coords(point.coords.begin(), point.coords.end() - 1);
  Point source = with_coords(point, coords);
  auto* constant = which.opaque ? nullptr : llvm::dyn_cast<llvm::ConstantInt>(which.base);
  if (constant && !which.pattern) {
    return eval(constant->isZero() ? op.getLhs() : op.getRhs(), source, mode);
  }
  Lanes lhs = eval(op.getLhs(), source, mode), rhs = eval(op.getRhs(), source, mode);
  llvm::Value* index = coord_vector(which, point.lanes);
  llvm::Value* first = builder_.CreateICmpEQ(index, llvm::Constant::getNullValue(index->getType()));
  return Lanes::make_vector(
      builder_.CreateSelect(first, vector_of(lhs, point.lanes), vector_of(rhs, point.lanes)));
}

// Indices outside of the source are clamped to it: the result is unspecified, the access is not.
Lanes Emitter::eval_gather(tt::GatherOp op, const Point& point) {
  Lanes indices = eval(op.getIndices(), point);
  int64_t extent = shape_of(op.getSrc())[op.getAxis()];
  llvm::Value* index = vector_of(indices, point.lanes);
  llvm::Type* wide = widen(builder_.getInt64Ty(), point.lanes);
  index = builder_.CreateZExtOrTrunc(index, wide);
  llvm::Value* limit = llvm::ConstantInt::get(wide, extent - 1);
  index = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, index, limit);
  llvm::SmallVector<Coord, 4> coords(point.coords);
  coords[op.getAxis()] = point.lanes == 1 ? Coord{.base = index} : Coord{.opaque = index};
  return eval(op.getSrc(), with_coords(point, coords));
}

Lanes Emitter::eval_constant(arith::ConstantOp op, const Point& point) {
  mlir::Type element = mlir::getElementTypeOrSelf(op.getType());
  auto dense = mlir::dyn_cast<mlir::DenseElementsAttr>(op.getValue());
  if (!dense) return fail_lanes(op, "this kind of constant is not supported", element);
  if (dense.isSplat()) {
    return Lanes::make_uniform(attribute_constant(dense.getSplatValue<mlir::Attribute>(), element));
  }
  llvm::GlobalVariable*& global = constants_[op];
  llvm::Type* type = memory_type(element);
  if (!global) {
    llvm::SmallVector<llvm::Constant*, 64> values;
    for (mlir::Attribute attribute : dense.getValues<mlir::Attribute>()) {
      llvm::Constant* value = attribute_constant(attribute, element);
      if (auto* number = llvm::dyn_cast<llvm::ConstantFP>(value); number && type->isIntegerTy()) {
        value = llvm::ConstantInt::get(context_, number->getValueAPF().bitcastToAPInt());
      } else if (value->getType() != type) {
        value = llvm::ConstantInt::get(type, value->isOneValue());
      }
      values.push_back(value);
    }
    auto* array = llvm::ConstantArray::get(llvm::ArrayType::get(type, values.size()), values);
    global = new llvm::GlobalVariable(module_, array->getType(), true,
                                      llvm::GlobalValue::PrivateLinkage, array, "tile");
    global->setAlignment(llvm::Align(64));
  }
  Storage storage{.base = global, .strides = {}, .element = element};
  storage.strides.resize(shape_of(op.getResult()).size());
  int64_t stride = 1;
  for (int64_t dim = static_cast<int64_t>(storage.strides.size()) - 1; dim >= 0; --dim) {
    storage.strides[dim] = stride;
    stride *= shape_of(op.getResult())[dim];
  }
  return load_storage(storage, point);
}

Lanes Emitter::eval_elementwise(mlir::Operation* op, mlir::Value value, const Point& point,
                                Mode mode) {
  llvm::SmallVector<Lanes, 4> operands;
  bool address = mode == Mode::kAddress || mlir::isa<tt::AddPtrOp>(op);
  address &= !mlir::isa<arith::CmpIOp>(op);
  bool uniform = true, integers = true;
  for (mlir::Value operand : op->getOperands()) {
    operands.push_back(eval(operand, point, address ? Mode::kAddress : Mode::kValue));
    uniform &= operands.back().uniform();
    llvm::Type* type = operands.back().value->getType()->getScalarType();
    integers &= type->isIntegerTy() || type->isPointerTy();
  }
  unsigned result = mlir::cast<mlir::OpResult>(value).getResultNumber();
  bool add_pointer = mlir::isa<tt::AddPtrOp>(op);
  if (!uniform || add_pointer) {
    if (integers) {
      if (auto affine = affine_op(op, operands, point.lanes, mode)) return *affine;
    }
  }
  uniform = true;
  for (Lanes& operand : operands) {
    if (operand.constant_offset()) operand = settle(operand);
    uniform &= operand.uniform();
  }
  llvm::SmallVector<llvm::Value*, 4> values;
  for (const Lanes& operand : operands) {
    values.push_back(uniform ? operand.value : vector_of(operand, point.lanes));
  }
  // A condition that all lanes share stays scalar.
  if (mlir::isa<arith::SelectOp>(op) && !uniform && operands[0].uniform()) {
    values[0] = operands[0].value;
  }
  llvm::Value* out = emit_elementwise(op, values, result);
  return out->getType()->isVectorTy() ? Lanes::make_vector(out) : Lanes::make_uniform(out);
}

Lanes Emitter::eval_load(tt::LoadOp op, const Point& point) {
  Access access;
  access.element = mlir::getElementTypeOrSelf(op.getType());
  access.align = element_bytes(access.element);
  access.pointer = eval(op.getPtr(), point);
  std::optional<Lanes> other;
  if (op.getMask()) access.mask = eval(op.getMask(), point);
  if (op.getOther()) other = eval(op.getOther(), point);
  return load_lanes(access, other, point.lanes);
}

}  // namespace nereid::lower
