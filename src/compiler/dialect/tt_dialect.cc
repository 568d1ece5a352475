// Registration of the `tt` dialect, its types' text form, and the inliner's questions about it.
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "src/compiler/dialect/tt.h"

// clang-format off
#include "src/compiler/dialect/tt_dialect.cc.inc"
#include "src/compiler/dialect/tt_enums.cc.inc"
#define GET_ATTRDEF_CLASSES
#include "src/compiler/dialect/tt_attrs.cc.inc"
#define GET_TYPEDEF_CLASSES
#include "src/compiler/dialect/tt_types.cc.inc"
// clang-format on

namespace mlir::triton {
namespace {

// Everything may be inlined everywhere, `noinline` functions too: a kernel becomes one body.
struct TtInlinerInterface : public DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;

  bool isLegalToInline(Operation*, Operation*, bool) const final { return true; }
  bool isLegalToInline(Region*, Region*, bool, IRMapping&) const final { return true; }
  bool isLegalToInline(Operation*, Region*, bool, IRMapping&) const final { return true; }

  void handleTerminator(Operation* op, Block* new_dest) const final {
    auto return_op = dyn_cast<ReturnOp>(op);
    if (!return_op) return;
    OpBuilder builder(op);
    cf::BranchOp::create(builder, op->getLoc(), new_dest, return_op.getOperands());
    op->erase();
  }

  void handleTerminator(Operation* op, ValueRange values_to_replace) const final {
    auto return_op = cast<ReturnOp>(op);
    for (auto [value, operand] : llvm::zip_equal(values_to_replace, return_op.getOperands()))
      value.replaceAllUsesWith(operand);
  }
};

}  // namespace

void TritonDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "src/compiler/dialect/tt_types.cc.inc"
      >();
}

void TritonDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "src/compiler/dialect/tt_attrs.cc.inc"
      >();
}

void TritonDialect::initialize() {
  registerTypes();
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "src/compiler/dialect/tt_ops.cc.inc"
      >();
  addInterfaces<TtInlinerInterface>();
}

Operation* TritonDialect::materializeConstant(OpBuilder& builder, Attribute value, Type type,
                                              Location loc) {
  if (auto poison = dyn_cast<ub::PoisonAttr>(value))
    return ub::PoisonOp::create(builder, loc, type, poison);
  return arith::ConstantOp::materialize(builder, value, type, loc);
}

//===-- Types -----------------------------------------------------------------===//
// !tt.ptr<f32> or !tt.ptr<f32, constant>; older text writes the address space as a number.
Type PointerType::parse(AsmParser& parser) {
  Type pointee;
  auto space = PtrAddrSpace::Global;
  if (parser.parseLess() || parser.parseType(pointee)) return {};
  if (succeeded(parser.parseOptionalComma())) {
    SMLoc where = parser.getCurrentLocation();
    StringRef keyword;
    int64_t number = 0;
    std::optional<PtrAddrSpace> found;
    if (succeeded(parser.parseOptionalKeyword(&keyword))) {
      found = symbolizePtrAddrSpace(keyword);
    } else {
      if (parser.parseInteger(number)) return {};
      if (number >= 0 && number <= 255)
        found = symbolizePtrAddrSpace(static_cast<uint32_t>(number));
    }
    if (!found) {
      parser.emitError(where, "unknown address space of !tt.ptr");
      return {};
    }
    space = *found;
  }
  SMLoc end = parser.getCurrentLocation();
  if (parser.parseGreater()) return {};
  auto emit_error = [&] { return parser.emitError(end); };
  return getChecked(emit_error, parser.getContext(), pointee, space);
}

void PointerType::print(AsmPrinter& printer) const {
  printer << "<" << getPointeeType();
  if (getAddressSpace() != PtrAddrSpace::Global)
    printer << ", " << stringifyPtrAddrSpace(getAddressSpace());
  printer << ">";
}

LogicalResult PointerType::verify(function_ref<InFlightDiagnostic()> emit_error, Type pointee,
                                  PtrAddrSpace) {
  if (isa<IntegerType, FloatType, PointerType>(pointee)) return success();
  // Pointers to descriptors live in kernel signatures of GPU targets; anything else is a mistake.
  return emit_error() << "!tt.ptr points to " << pointee << ", expected an integer or a float";
}

// !tt.tensordesc<64x64xf16>
Type TensorDescType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape;
  Type element;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false, /*withTrailingX=*/true) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  auto emit_error = [&] { return parser.emitError(where); };
  return getChecked(emit_error, parser.getContext(), shape, element);
}

void TensorDescType::print(AsmPrinter& printer) const {
  printer << "<";
  for (int64_t size : getShape()) printer << size << "x";
  printer << getElementType() << ">";
}

LogicalResult TensorDescType::verify(function_ref<InFlightDiagnostic()> emit_error,
                                     ArrayRef<int64_t> shape, Type element) {
  if (shape.empty() || shape.size() > 5)
    return emit_error() << "!tt.tensordesc has rank " << shape.size() << ", expected 1 to 5";
  int64_t elements = 1;
  for (int64_t size : shape) {
    if (size <= 0 || size > kMaxTensorElements)
      return emit_error() << "!tt.tensordesc has a block size of " << size;
    elements *= size;
    if (elements > kMaxTensorElements)
      return emit_error() << "!tt.tensordesc block has more than " << kMaxTensorElements
                          << " elements";
  }
  if (!isa<IntegerType, FloatType>(element))
    return emit_error() << "!tt.tensordesc of " << element << ", expected an integer or a float";
  return success();
}

RankedTensorType TensorDescType::getSignlessBlockType() const {
  Type element = getElementType();
  if (auto integer = dyn_cast<IntegerType>(element))
    element = IntegerType::get(getContext(), integer.getWidth());
  return RankedTensorType::get(getShape(), element);
}

Type getPointeeType(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    auto pointer = dyn_cast<PointerType>(tensor.getElementType());
    return pointer ? tensor.clone(pointer.getPointeeType()) : type;
  }
  auto pointer = dyn_cast<PointerType>(type);
  return pointer ? pointer.getPointeeType() : type;
}

Type getI1SameShape(Type type) {
  Type i1 = IntegerType::get(type.getContext(), 1);
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? Type(tensor.clone(i1)) : i1;
}

Type getPointerTypeSameShape(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  Type element = tensor ? tensor.getElementType() : type;
  if (!isa<IntegerType, FloatType, PointerType>(element)) return type;
  Type pointer = PointerType::get(element, PtrAddrSpace::Global);
  return tensor ? Type(tensor.clone(pointer)) : pointer;
}

}  // namespace mlir::triton
