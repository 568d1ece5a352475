// From LLVM IR to machine code: optimisation pipeline, object code, shared object.
//
// Everything here is deterministic: the same module and target give the same bytes.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"

namespace llvm {
class Module;
}

namespace nereid {

struct TargetInfo;

// Sets triple, data layout and per-function CPU attributes. Call before lowering into the module.
Status prepare_module(llvm::Module& module, const TargetInfo& target);

// LLVM's O3 without its vectorizers: the lowering has already chosen the vectors.
Status optimize_module(llvm::Module& module, const TargetInfo& target);

enum class CodeKind { kObject, kAssembly };
// Object code bytes, or assembly text.
Result<std::string> emit_code(llvm::Module& module, const TargetInfo& target, CodeKind kind);

// Links object files into a shared object at `output` (written whole or not at all).
Status link_shared_object(const std::vector<std::string>& objects, const TargetInfo& target,
                          const std::string& output);

}  // namespace nereid
