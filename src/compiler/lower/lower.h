// The code generator's one entry point: TTIR in, LLVM IR out.
//
// Goals: any legal TTIR lowers or yields a diagnostic that names the op and its source line;
// compile time does not grow with the tile; no tile bigger than the register file is ever one SSA
// value. How it works is told in docs/cpu-compiler.md.
#pragma once

namespace llvm {
class Module;
}
namespace llvm {
struct LogicalResult;
}
namespace mlir {
class ModuleOp;
}

namespace nereid {

struct TargetInfo;

// Lowers every public tt.func of `module` into `llvm_module`, one entry point and one
// `<name>_info` record each (docs/cpu-compiler.md, "Entry ABI"). Calls must have been inlined
// before. On failure the diagnostics are in the MLIR context and `llvm_module` is to be dropped.
llvm::LogicalResult lower_to_llvm(mlir::ModuleOp module, const TargetInfo& target,
                                  llvm::Module& llvm_module);

}  // namespace nereid
