// Verifiers of `tt` ops: what passes here can be lowered without further checks of shapes and
// types.
#include "llvm/Support/MathExtras.h"
#include "src/compiler/dialect/tt.h"

namespace mlir {

static LogicalResult verify_tensor(Operation* op, Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor) return success();
  if (tensor.getEncoding())
    return op->emitOpError() << "has a tensor with a layout; expected TTIR without layouts";
  int64_t elements = 1;
  for (int64_t size : tensor.getShape()) {
    if (ShapedType::isDynamic(size) || size <= 0 || size > triton::kMaxTensorElements)
      return op->emitOpError() << "has " << tensor << ", expected static positive sizes";
    elements *= size;
    if (elements > triton::kMaxTensorElements)
      return op->emitOpError() << "has " << tensor << " with more than "
                               << triton::kMaxTensorElements << " elements";
  }
  if (!llvm::isPowerOf2_64(static_cast<uint64_t>(elements)))
    return op->emitOpError() << "has " << tensor << ", expected a power of two of elements";
  return success();
}

LogicalResult OpTrait::impl::verifyTensorSize(Operation* op) {
  for (Type type : op->getOperandTypes())
    if (failed(verify_tensor(op, type))) return failure();
  for (Type type : op->getResultTypes())
    if (failed(verify_tensor(op, type))) return failure();
  return success();
}

namespace triton {

static ArrayRef<int64_t> shape_of(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}
static int element_bits(Type type) {
  Type element = getElementTypeOrSelf(type);
  return isa<PointerType>(element) ? 64 : static_cast<int>(element.getIntOrFloatBitWidth());
}

//===-- Casts, shape ------------------------------------------------------------===//
LogicalResult BitcastOp::verify() {
  Type from = getElementTypeOrSelf(getSrc().getType()), to = getElementTypeOrSelf(getType());
  if (isa<PointerType>(from) != isa<PointerType>(to))
    return emitOpError("casts between a pointer and a number; use int_to_ptr or ptr_to_int");
  if (element_bits(from) != element_bits(to))
    return emitOpError() << "changes the width from " << element_bits(from) << " to "
                         << element_bits(to) << " bits";
  return success();
}

LogicalResult FpToFpOp::verify() {
  int from = element_bits(getSrc().getType()), to = element_bits(getType());
  if (to < from && !getRounding()) return emitOpError("narrows without a rounding mode");
  return success();
}

LogicalResult MakeRangeOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  int64_t start = getStartAttr().getInt(), end = getEndAttr().getInt();
  if (type.getRank() != 1) return emitOpError() << "gives " << type << ", expected rank 1";
  if (!type.getElementType().isInteger(32)) return emitOpError() << "gives " << type << " not i32";
  if (end <= start) return emitOpError() << "has end " << end << " not above start " << start;
  if (end - start != type.getDimSize(0))
    return emitOpError() << "has " << end - start << " values but gives " << type;
  return success();
}

LogicalResult SplatOp::verify() {
  if (isa<RankedTensorType>(getSrc().getType()) && shape_of(getSrc()).size() != 0)
    return emitOpError("splats a tensor, expected a scalar");
  return success();
}

LogicalResult UnsplatOp::verify() {
  if (cast<RankedTensorType>(getSrc().getType()).getNumElements() != 1)
    return emitOpError() << "of " << getSrc().getType() << ", expected one element";
  return success();
}

LogicalResult ExpandDimsOp::verify() {
  auto source = shape_of(getSrc());
  uint32_t axis = getAxis();
  if (axis > source.size()) return emitOpError() << "has axis " << axis << " beyond the rank";
  SmallVector<int64_t> expected(source);
  expected.insert(expected.begin() + axis, 1);
  if (shape_of(getResult()) != ArrayRef(expected))
    return emitOpError() << "of " << getSrc().getType() << " at axis " << axis << " gives "
                         << getType();
  return success();
}

LogicalResult ReshapeOp::verify() {
  if (cast<RankedTensorType>(getSrc().getType()).getNumElements() !=
      cast<RankedTensorType>(getType()).getNumElements())
    return emitOpError() << "changes the number of elements: " << getSrc().getType() << " to "
                         << getType();
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto from = shape_of(getSrc()), to = shape_of(getResult());
  if (from.size() != to.size()) return emitOpError("changes the rank");
  for (auto [from_size, to_size] : llvm::zip_equal(from, to))
    if (from_size != to_size && from_size != 1)
      return emitOpError() << "of " << getSrc().getType() << " to " << getType()
                           << " stretches a size other than 1";
  return success();
}

LogicalResult CatOp::verify() {
  auto part = shape_of(getLhs());
  if (part.empty()) return emitOpError("of rank 0");
  SmallVector<int64_t> expected(part);
  expected[0] *= 2;
  if (shape_of(getResult()) != ArrayRef(expected))
    return emitOpError() << "of two " << getLhs().getType() << " gives " << getType();
  return success();
}

LogicalResult JoinOp::verify() {
  SmallVector<int64_t> expected(shape_of(getLhs()));
  expected.push_back(2);
  if (shape_of(getResult()) != ArrayRef(expected))
    return emitOpError() << "of two " << getLhs().getType() << " gives " << getType();
  return success();
}

LogicalResult SplitOp::verify() {
  auto source = cast<RankedTensorType>(getSrc().getType());
  if (source.getRank() == 0 || source.getShape().back() != 2)
    return emitOpError() << "of " << source << ", expected a last dimension of 2";
  if (getOutLHS().getType() !=
      RankedTensorType::get(source.getShape().drop_back(), source.getElementType()))
    return emitOpError() << "of " << source << " gives " << getOutLHS().getType();
  return success();
}

LogicalResult TransOp::verify() {
  auto source = shape_of(getSrc()), result = shape_of(getResult());
  auto order = getOrder();
  if (order.size() != source.size() || result.size() != source.size())
    return emitOpError("has an order whose length is not the rank");
  SmallVector<bool> seen(order.size(), false);
  for (auto [axis, from] : llvm::enumerate(order)) {
    if (from < 0 || from >= static_cast<int>(order.size()) || seen[from])
      return emitOpError("has an order that is not a permutation");
    seen[from] = true;
    if (result[axis] != source[from])
      return emitOpError() << "of " << getSrc().getType() << " gives " << getType();
  }
  return success();
}

LogicalResult GatherOp::verify() {
  auto source = cast<RankedTensorType>(getSrc().getType());
  auto indices = cast<RankedTensorType>(getIndices().getType());
  auto result = cast<RankedTensorType>(getType());
  if (result.getShape() != indices.getShape() || result.getElementType() != source.getElementType())
    return emitOpError() << "gives " << result << " from " << source << " and " << indices;
  if (source.getRank() != indices.getRank()) return emitOpError("has indices of another rank");
  if (getAxis() >= source.getRank()) return emitOpError("has an axis beyond the rank");
  for (int64_t dim = 0; dim < source.getRank(); ++dim)
    if (dim != getAxis() && indices.getDimSize(dim) > source.getDimSize(dim))
      return emitOpError() << "has indices larger than the source in dimension " << dim;
  return success();
}

LogicalResult HistogramOp::verify() {
  if (shape_of(getSrc()).size() != 1 || shape_of(getResult()).size() != 1)
    return emitOpError("takes and gives tensors of rank 1");
  return success();
}

LogicalResult ExternElementwiseOp::verify() {
  if (getSrcs().empty()) return emitOpError("has no operands, expected at least one");
  for (Type type : getSrcs().getTypes())
    if (failed(verifyCompatibleShape(type, getType())))
      return emitOpError() << "of " << type << " gives " << getType() << ", expected one shape";
  return success();
}

LogicalResult PrintOp::verify() {
  if (getIsSigned().size() != getArgs().size())
    return emitOpError("has another number of isSigned flags than of arguments");
  return success();
}

//===-- Memory --------------------------------------------------------------------===//
LogicalResult LoadOp::verify() {
  if (getOther() && !getMask()) return emitOpError("has 'other' without a mask");
  return success();
}

LogicalResult AtomicRMWOp::verify() {
  Type element = getElementTypeOrSelf(getVal().getType());
  RMWOp kind = getAtomicRmwOp();
  bool is_float = isa<FloatType>(element);
  if (kind == RMWOp::FADD && !is_float) return emitOpError() << "fadd of " << element;
  if (kind != RMWOp::FADD && kind != RMWOp::XCHG && !isa<IntegerType>(element))
    return emitOpError() << stringifyRMWOp(kind) << " of " << element;
  return success();
}

LogicalResult MakeTensorDescOp::verify() {
  size_t rank = cast<TensorDescType>(getType()).getShape().size();
  if (getShape().size() != rank || getStrides().size() != rank)
    return emitOpError() << "has " << getShape().size() << " sizes and " << getStrides().size()
                         << " strides for " << getType();
  Type element = cast<TensorDescType>(getType()).getSignlessBlockType().getElementType();
  if (getPointeeType(getBase().getType()) != element)
    return emitOpError() << "of " << getBase().getType() << " gives " << getType();
  return success();
}

// A block of a descriptor as a tensor; leading sizes of 1 may be left out.
static LogicalResult verify_block(Operation* op, TensorDescType desc, size_t num_indices,
                                  Type tensor_type) {
  auto block = desc.getSignlessBlockType();
  auto tensor = cast<RankedTensorType>(tensor_type);
  if (num_indices != desc.getShape().size())
    return op->emitOpError() << "has " << num_indices << " indices for " << desc;
  auto without_ones = [](ArrayRef<int64_t> shape) {
    return shape.drop_while([](int64_t size) { return size == 1; });
  };
  if (block.getElementType() != tensor.getElementType() ||
      without_ones(block.getShape()) != without_ones(tensor.getShape()))
    return op->emitOpError() << "moves " << tensor << " through " << desc;
  return success();
}

LogicalResult DescriptorLoadOp::verify() {
  return verify_block(*this, getDesc().getType(), getIndices().size(), getType());
}
LogicalResult DescriptorStoreOp::verify() {
  return verify_block(*this, getDesc().getType(), getIndices().size(), getSrc().getType());
}
LogicalResult DescriptorReduceOp::verify() {
  return verify_block(*this, getDesc().getType(), getIndices().size(), getSrc().getType());
}

// rows: (M, N) through a descriptor with block (1, N) at M row numbers.
static LogicalResult verify_rows(Operation* op, TensorDescType desc, Type offsets_type, Type rows) {
  auto block = desc.getSignlessBlockType();
  auto tensor = cast<RankedTensorType>(rows), offsets = cast<RankedTensorType>(offsets_type);
  if (block.getRank() != 2 || block.getDimSize(0) != 1)
    return op->emitOpError() << "needs a descriptor of one row, found " << desc;
  if (offsets.getRank() != 1 || tensor.getRank() != 2 ||
      tensor.getDimSize(0) != offsets.getDimSize(0) ||
      tensor.getDimSize(1) != block.getDimSize(1) ||
      tensor.getElementType() != block.getElementType())
    return op->emitOpError() << "moves " << tensor << " at " << offsets << " through " << desc;
  return success();
}

LogicalResult DescriptorGatherOp::verify() {
  return verify_rows(*this, getDesc().getType(), getXOffsets().getType(), getType());
}
LogicalResult DescriptorScatterOp::verify() {
  return verify_rows(*this, getDesc().getType(), getXOffsets().getType(), getSrc().getType());
}

//===-- Dot -----------------------------------------------------------------------===//
LogicalResult DotOp::verify() {
  auto a = cast<RankedTensorType>(getA().getType()), b = cast<RankedTensorType>(getB().getType());
  auto d = cast<RankedTensorType>(getType());
  int64_t rank = a.getRank();
  if ((rank != 2 && rank != 3) || b.getRank() != rank || d.getRank() != rank)
    return emitOpError() << "of " << a << " and " << b << ", expected rank 2 or 3";
  if (rank == 3 && (a.getDimSize(0) != b.getDimSize(0) || a.getDimSize(0) != d.getDimSize(0)))
    return emitOpError("has different batch sizes");
  if (a.getDimSize(rank - 1) != b.getDimSize(rank - 2) ||
      d.getDimSize(rank - 2) != a.getDimSize(rank - 2) ||
      d.getDimSize(rank - 1) != b.getDimSize(rank - 1))
    return emitOpError() << "of " << a << " and " << b << " gives " << d;
  Type a_type = a.getElementType(), b_type = b.getElementType(), d_type = d.getElementType();
  if (isa<FloatType>(a_type) != isa<FloatType>(b_type) ||
      isa<FloatType>(a_type) != isa<FloatType>(d_type))
    return emitOpError() << "mixes integers and floats: " << a << " and " << b << " to " << d;
  // Integers may be of different widths, as front/unsigned_dots.cc makes them.
  if (isa<FloatType>(a_type) && element_bits(a_type) != element_bits(b_type))
    return emitOpError() << "of different widths: " << a << " and " << b;
  return success();
}

LogicalResult DotScaledOp::verify() {
  auto a = cast<RankedTensorType>(getA().getType()), b = cast<RankedTensorType>(getB().getType());
  auto d = cast<RankedTensorType>(getType());
  int64_t rank = a.getRank();
  if ((rank != 2 && rank != 3) || b.getRank() != rank || d.getRank() != rank)
    return emitOpError() << "of " << a << " and " << b << ", expected rank 2 or 3";
  auto is_packed = [](ScaleDotElemType type) { return type == ScaleDotElemType::E2M1; };
  int64_t a_pack_m = is_packed(getAElemType()) && !getLhsKPack() ? 2 : 1;
  int64_t a_pack_k = is_packed(getAElemType()) && getLhsKPack() ? 2 : 1;
  int64_t b_pack_n = is_packed(getBElemType()) && !getRhsKPack() ? 2 : 1;
  int64_t b_pack_k = is_packed(getBElemType()) && getRhsKPack() ? 2 : 1;
  if (a.getDimSize(rank - 1) * a_pack_k != b.getDimSize(rank - 2) * b_pack_k ||
      d.getDimSize(rank - 2) != a.getDimSize(rank - 2) * a_pack_m ||
      d.getDimSize(rank - 1) != b.getDimSize(rank - 1) * b_pack_n)
    return emitOpError() << "of " << a << " and " << b << " gives " << d;
  auto scale_fits = [&](Value scale, int64_t rows, int64_t k) {
    if (!scale) return true;
    auto shape = shape_of(scale);
    return static_cast<int64_t>(shape.size()) == rank && shape[rank - 2] == rows &&
           shape[rank - 1] <= k && k % shape[rank - 1] == 0;
  };
  int64_t k = a.getDimSize(rank - 1) * a_pack_k;
  if (!scale_fits(getAScale(), d.getDimSize(rank - 2), k) ||
      !scale_fits(getBScale(), d.getDimSize(rank - 1), k))
    return emitOpError("has a scale of another shape");
  return success();
}

//===-- Regions ---------------------------------------------------------------------===//
// Region arguments: every operand's element type, twice; returned: every element type once.
static LogicalResult verify_combine_region(Operation* op, Region& region, TypeRange inputs) {
  if (!region.hasOneBlock()) return op->emitOpError("needs a region of one block");
  Block& block = region.front();
  size_t count = inputs.size();
  if (block.getNumArguments() != 2 * count)
    return op->emitOpError() << "has a region with " << block.getNumArguments()
                             << " arguments, expected " << 2 * count;
  if (block.empty() || !isa<ReduceReturnOp, ScanReturnOp>(block.back()))
    return op->emitOpError("has a region without its return");
  Operation& last = block.back();
  if (last.getNumOperands() != count)
    return op->emitOpError() << "returns " << last.getNumOperands() << " values, expected "
                             << count;
  for (size_t input = 0; input < count; ++input) {
    Type element = getElementTypeOrSelf(inputs[input]);
    if (block.getArgument(input).getType() != element ||
        block.getArgument(count + input).getType() != element ||
        last.getOperand(input).getType() != element)
      return op->emitOpError() << "has a region whose types differ from element type " << element;
  }
  return success();
}

LogicalResult ReduceOp::verify() {
  if (getSrcs().empty()) return emitOpError("has no operands");
  if (getNumResults() != getSrcs().size()) return emitOpError("has another number of results");
  auto shape = shape_of(getSrcs()[0]);
  if (getAxis() >= shape.size()) return emitOpError("has an axis beyond the rank");
  SmallVector<int64_t> reduced(shape);
  reduced.erase(reduced.begin() + getAxis());
  for (auto [source, result] : llvm::zip_equal(getSrcs(), getResults())) {
    Type element = getElementTypeOrSelf(source.getType());
    Type expected = reduced.empty() ? element : RankedTensorType::get(reduced, element);
    if (result.getType() != expected)
      return emitOpError() << "of " << source.getType() << " gives " << result.getType();
  }
  return success();
}
LogicalResult ReduceOp::verifyRegions() {
  return verify_combine_region(*this, getCombineOp(), getSrcs().getTypes());
}

LogicalResult ScanOp::verify() {
  if (getSrcs().empty()) return emitOpError("has no operands");
  if (TypeRange(getSrcs().getTypes()) != TypeRange(getResultTypes()))
    return emitOpError("has results of other types than its operands");
  if (getAxis() >= shape_of(getSrcs()[0]).size()) return emitOpError("has an axis beyond the rank");
  return success();
}
LogicalResult ScanOp::verifyRegions() {
  return verify_combine_region(*this, getCombineOp(), getSrcs().getTypes());
}

LogicalResult MapElementwiseOp::verify() {
  if (getSrcs().empty() || getNumResults() == 0)
    return emitOpError("has no operands or no results");
  auto shape = shape_of(getSrcs()[0]);
  for (Value value :
       llvm::concat<Value>(SmallVector<Value>(getSrcs()), SmallVector<Value>(getResults())))
    if (shape_of(value) != shape) return emitOpError("has operands or results of other shapes");
  int64_t pack = getPackAttr().getInt();
  int64_t elements = cast<RankedTensorType>(getSrcs()[0].getType()).getNumElements();
  if (pack < 1 || elements % pack != 0) return emitOpError() << "has a pack of " << pack;
  return success();
}

LogicalResult MapElementwiseOp::verifyRegions() {
  size_t pack = getPack();
  Region& region = getScalarOp();
  if (region.empty()) return emitOpError("has an empty region");
  auto check = [&](TypeRange found, TypeRange tensors) {
    if (found.size() != tensors.size() * pack) return false;
    for (size_t at = 0; at < found.size(); ++at)
      if (found[at] != getElementTypeOrSelf(tensors[at / pack])) return false;
    return true;
  };
  if (!check(region.getArgumentTypes(), getSrcs().getTypes()))
    return emitOpError("has region arguments of other types than its operands");
  for (Block& block : region)
    if (!block.empty())
      if (auto last = dyn_cast<MapElementwiseReturnOp>(block.back());
          last && !check(last.getOperandTypes(), getResultTypes()))
        return emitOpError("returns values of other types than its results");
  return success();
}

LogicalResult ReturnOp::verify() {
  auto function = cast<FuncOp>((*this)->getParentOp());
  if (TypeRange(getOperandTypes()) != TypeRange(function.getResultTypes()))
    return emitOpError() << "returns other types than '" << function.getName() << "' "
                         << function.getFunctionType();
  return success();
}

}  // namespace triton
}  // namespace mlir
