// What every `tt` op shares: base class, memory resource, included interfaces.
#ifndef NEREID_TT_OP_BASE
#define NEREID_TT_OP_BASE

include "src/compiler/dialect/tt_dialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/CallInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def GlobalMemory : Resource<"::mlir::triton::GlobalMemory">;

// Tensors are static, without layout, power-of-two sized and at most 2^20 elements.
def TensorSizeTrait : NativeOpTrait<"TensorSizeTrait">;

class TT_Op<string mnemonic, list<Trait> traits = []>
    : Op<Triton_Dialect, mnemonic, !listconcat(traits, [TensorSizeTrait])>;

#endif
