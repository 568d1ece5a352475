// The `tt` dialect (Triton IR) as C++: include this to work with mlir::triton ops.
//
// Design goals:
//   - parses what Triton 3.9.0 prints, with the same op, operand and attribute names;
//   - a module that passes the verifier can be walked without further checks of its shape:
//     tensors are static, power-of-two sized, without layouts.
// Non-goals: building TTIR, layouts (encodings), anything of the GPU dialects.
#pragma once

#include <optional>

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

// clang-format off
#include "src/compiler/dialect/tt_enums.h.inc"
#include "src/compiler/dialect/tt_dialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "src/compiler/dialect/tt_types.h.inc"
#define GET_ATTRDEF_CLASSES
#include "src/compiler/dialect/tt_attrs.h.inc"
// clang-format on

namespace mlir::triton {

// The memory that pointers address; loads and stores act on it as a whole.
struct GlobalMemory : public SideEffects::Resource::Base<GlobalMemory> {
  StringRef getName() final { return "<GlobalMemory>"; }
};

// f32 for !tt.ptr<f32>, tensor<8xf32> for tensor<8x!tt.ptr<f32>>, other types as they are.
Type getPointeeType(Type type);
// Same shape (or scalar) with element type i1, or pointers to the element type.
Type getI1SameShape(Type type);
Type getPointerTypeSameShape(Type type);

constexpr int64_t kMaxTensorElements = 1048576;

}  // namespace mlir::triton

namespace mlir::OpTrait {
namespace impl {
LogicalResult verifyTensorSize(Operation* op);
}
template <class ConcreteType>
class TensorSizeTrait : public TraitBase<ConcreteType, TensorSizeTrait> {
 public:
  static LogicalResult verifyTrait(Operation* op) { return impl::verifyTensorSize(op); }
};
}  // namespace mlir::OpTrait

#define GET_OP_CLASSES
#include "src/compiler/dialect/tt_ops.h.inc"

#include "src/compiler/dialect/ttg_dialect.h.inc"
#define GET_OP_CLASSES
#include "src/compiler/dialect/ttg_ops.h.inc"
