// The compilation pipeline: parse, front, lower, optimise, emit, link.
#include "src/compiler/compile.h"

#include <cstdio>
#include <set>

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/MemoryBuffer.h"
#include "mlir/IR/MLIRContext.h"
#include "src/base/atomic_file.h"
#include "src/compiler/backend/backend.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/diagnostics.h"
#include "src/compiler/front/front.h"
#include "src/compiler/lower/lower.h"
#include "src/compiler/target.h"

namespace nereid {
namespace {

Result<std::string> read_input(const std::string& path) {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(path);
  if (std::error_code problem = buffer.getError())
    return error("{}: cannot read: {}", path, problem.message());
  return (*buffer)->getBuffer().str();
}

std::string print_ttir(mlir::ModuleOp module, bool locations) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  mlir::OpPrintingFlags flags;
  if (locations) flags.enableDebugInfo(true);
  module->print(stream, flags);
  return text + "\n";
}

std::string print_llvm(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

// Compiles one input as far as `emit` asks; the result is text or object bytes.
class InputCompiler {
 public:
  InputCompiler(const CompileOptions& options, const TargetInfo& target, std::string path)
      : options_(options), target_(target), path_(std::move(path)) {}

  Result<std::string> run() {
    NEREID_TRY(std::string text, read_input(path_));
    prepare_context(context_);
    NEREID_TRY(auto module, parse_ttir(context_, text, path_));
    dump("parse", *module);
    NEREID_RETURN_IF_ERROR(in_file(check_ttir(*module)));
    auto hook = [this](std::string_view stage, mlir::ModuleOp at) { dump(stage, at); };
    NEREID_RETURN_IF_ERROR(in_file(run_front(*module, target_, hook)));
    for (auto function : module->getOps<mlir::triton::FuncOp>())
      kernels_.push_back(function.getName().str());
    if (options_.emit == EmitKind::kTtir) return print_ttir(*module, /*locations=*/true);
    return generate(*module);
  }

  const std::vector<std::string>& kernels() const { return kernels_; }

 private:
  // Messages of later stages name Python lines; put the TTIR file in front.
  Status in_file(Status status) const {
    if (!status) return with_context(status.error(), path_);
    return status;
  }

  void dump(std::string_view stage, mlir::ModuleOp module) const {
    if (stage == options_.dump_after) std::fputs(print_ttir(module, false).c_str(), stderr);
  }
  void dump(std::string_view stage, const llvm::Module& module) const {
    if (stage == options_.dump_after) std::fputs(print_llvm(module).c_str(), stderr);
  }

  Status lower(mlir::ModuleOp module, llvm::Module& llvm_module) {
    DiagnosticCollector diagnostics(&context_);
    if (failed(lower_to_llvm(module, target_, llvm_module)))
      return error("{}", diagnostics.first_error("lowering failed without a message"));
    return {};
  }

  Result<std::string> generate(mlir::ModuleOp module) {
    llvm::LLVMContext llvm_context;
    llvm::Module llvm_module("nereid", llvm_context);
    NEREID_RETURN_IF_ERROR(in_file(prepare_module(llvm_module, target_)));
    NEREID_RETURN_IF_ERROR(in_file(lower(module, llvm_module)));
    dump("lower", llvm_module);
    NEREID_RETURN_IF_ERROR(in_file(optimize_module(llvm_module, target_)));
    dump("optimize", llvm_module);
    if (options_.emit == EmitKind::kLlvm) return print_llvm(llvm_module);
    auto kind = options_.emit == EmitKind::kAssembly ? CodeKind::kAssembly : CodeKind::kObject;
    auto code = emit_code(llvm_module, target_, kind);
    if (!code) return with_context(code.error(), path_);
    return code;
  }

  const CompileOptions& options_;
  const TargetInfo& target_;
  std::string path_;
  mlir::MLIRContext context_;
  std::vector<std::string> kernels_;
};

Status write_output(const CompileOptions& options, const TargetInfo& target,
                    const std::vector<std::string>& parts) {
  if (options.emit == EmitKind::kSharedObject)
    return link_shared_object(parts, target, options.output);
  if (parts.size() != 1)
    return error("found {} input files, expected one unless a shared object is made", parts.size());
  if (options.output != "-") return write_file_atomically(options.output, parts[0]);
  if (std::fwrite(parts[0].data(), 1, parts[0].size(), stdout) != parts[0].size() ||
      std::fflush(stdout) != 0)
    return error("cannot write to standard output");
  return {};
}

}  // namespace

const std::vector<StageInfo>& compile_stages() {
  static const std::vector<StageInfo> kStages = {
      {"parse", "TTIR as read"},
      {"structure", "TTIR with branches turned into scf.if and scf.while"},
      {"inline", "TTIR without calls"},
      {"cleanup", "TTIR after canonicalisation, CSE and loop-invariant code motion"},
      {"rewrite",
       "TTIR without tensor descriptors and scaled dots; dots of bytes without signs as one"},
      {"prefetch", "TTIR with loads that only ask for memory ahead of time"},
      {"lower", "LLVM IR as the lowering emits it"},
      {"optimize", "LLVM IR after LLVM's pipeline"},
  };
  return kStages;
}

Status compile(const CompileOptions& options) {
  NEREID_TRY(TargetInfo target, make_target(options.cpu));
  std::vector<std::string> parts;
  std::set<std::string> names;
  for (const std::string& path : options.inputs) {
    InputCompiler compiler(options, target, path);
    NEREID_TRY(std::string part, compiler.run());
    for (const std::string& kernel : compiler.kernels())
      if (!names.insert(kernel).second)
        return error("{}: kernel '{}' is defined in more than one input", path, kernel);
    parts.push_back(std::move(part));
  }
  return write_output(options, target, parts);
}

}  // namespace nereid
