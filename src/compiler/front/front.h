// From TTIR text to a TTIR module that is ready to lower: parse, check, structure, inline, clean
// up.
//
// Afterwards every kernel is one tt.func without calls and without cf.* branches: control flow is
// scf.for, scf.if and scf.while only, without tensor descriptors and scaled dots, and every type is
// one that Triton 3.9 can print.
#pragma once

#include <functional>
#include <string_view>

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "src/base/result.h"
#include "src/compiler/target.h"

namespace nereid {

// Loads the dialects of TTIR; single-threaded, so that output never depends on timing.
void prepare_context(mlir::MLIRContext& context);

// Parses and verifies. `name` stands for the file in messages.
Result<mlir::OwningOpRef<mlir::ModuleOp>> parse_ttir(mlir::MLIRContext& context,
                                                     std::string_view text, std::string_view name);

// Refuses ops and types outside of TTIR, and kernels that have no entry ABI.
Status check_ttir(mlir::ModuleOp module);

// Called after each stage with its name ("structure", "inline", "cleanup", "rewrite",
// "prefetch").
using StageHook = std::function<void(std::string_view stage, mlir::ModuleOp module)>;

// Brings a checked module into the form described above.
Status run_front(mlir::ModuleOp module, const TargetInfo& target, const StageHook& hook);

}  // namespace nereid
