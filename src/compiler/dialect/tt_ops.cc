// Text form of functions, effects of foreign code, symbol uses; and the generated op definitions.
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"
#include "src/compiler/dialect/tt.h"

#define GET_OP_CLASSES
#include "src/compiler/dialect/tt_ops.cc.inc"

namespace mlir::triton {

ParseResult FuncOp::parse(OpAsmParser& parser, OperationState& result) {
  auto build_type = [](Builder& builder, ArrayRef<Type> arguments, ArrayRef<Type> results,
                       function_interface_impl::VariadicFlag,
                       std::string&) { return builder.getFunctionType(arguments, results); };
  return function_interface_impl::parseFunctionOp(
      parser, result, /*allowVariadic=*/false, getFunctionTypeAttrName(result.name), build_type,
      getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
}

void FuncOp::print(OpAsmPrinter& printer) {
  function_interface_impl::printFunctionOp(printer, *this, /*isVariadic=*/false,
                                           getFunctionTypeAttrName(), getArgAttrsAttrName(),
                                           getResAttrsAttrName());
}

LogicalResult CallOp::verifySymbolUses(SymbolTableCollection& symbols) {
  auto callee = symbols.lookupNearestSymbolFrom<FuncOp>(*this, getCalleeAttr());
  if (!callee) return emitOpError() << "calls '" << getCallee() << "', which is not a tt.func here";
  FunctionType type = callee.getFunctionType();
  if (!llvm::equal(type.getInputs(), getOperandTypes()))
    return emitOpError() << "operand types differ from those of '" << getCallee() << "' " << type;
  if (!llvm::equal(type.getResults(), getResultTypes()))
    return emitOpError() << "result types differ from those of '" << getCallee() << "' " << type;
  return success();
}

//===-- Effects ---------------------------------------------------------------===//
using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

void LoadOp::getEffects(Effects& effects) {
  effects.emplace_back(MemoryEffects::Read::get(), &getPtrMutable(), GlobalMemory::get());
  if (getIsVolatile()) effects.emplace_back(MemoryEffects::Write::get(), GlobalMemory::get());
}

namespace {
void add_unknown_effects(bool pure, Effects& effects) {
  if (pure) return;
  effects.emplace_back(MemoryEffects::Write::get(), GlobalMemory::get());
  effects.emplace_back(MemoryEffects::Read::get(), GlobalMemory::get());
}
Speculation::Speculatability speculatable_if(bool pure) {
  return pure ? Speculation::Speculatable : Speculation::NotSpeculatable;
}
}  // namespace

void ExternElementwiseOp::getEffects(Effects& effects) {
  add_unknown_effects(getPure(), effects);
}
Speculation::Speculatability ExternElementwiseOp::getSpeculatability() {
  return speculatable_if(getPure());
}
void ElementwiseInlineAsmOp::getEffects(Effects& effects) {
  add_unknown_effects(getPure(), effects);
}
Speculation::Speculatability ElementwiseInlineAsmOp::getSpeculatability() {
  return speculatable_if(getPure());
}

}  // namespace mlir::triton
