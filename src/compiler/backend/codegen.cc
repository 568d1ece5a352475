// LLVM's optimisation pipeline and code emission, set up for code that is already vectorised.
#include <memory>

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "src/compiler/backend/backend.h"
#include "src/compiler/backend/sroa_guard.h"
#include "src/compiler/target.h"

namespace nereid {
namespace {

// LLVM would turn chains of sums into trees, to have more additions going at once. Sums of dots are
// independent of each other already, and trees need more registers than the 16 of AVX2.
void keep_chains_of_sums(const TargetInfo& target) {
  auto& options = llvm::cl::getRegisteredOptions();
  auto found = options.find("x86-machine-combiner");
  if (found == options.end()) return;
  static_cast<llvm::cl::opt<bool>*>(found->second)->setValue(target.vector_registers >= 32);
}

Result<std::unique_ptr<llvm::TargetMachine>> make_machine(const TargetInfo& target) {
  llvm::InitializeAllTargetInfos();
  llvm::InitializeAllTargets();
  llvm::InitializeAllTargetMCs();
  llvm::InitializeAllAsmPrinters();
  llvm::InitializeAllAsmParsers();
  llvm::Triple triple(target.triple);
  std::string message;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!found) return error("target {}: {}", target.triple, message);
  llvm::TargetOptions options;
  std::unique_ptr<llvm::TargetMachine> machine(
      found->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                                 llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!machine) return error("target {}: LLVM cannot make code for it", target.name);
  return machine;
}

// What every function needs so that LLVM uses the CPU's features and full vector width.
void set_function_attributes(llvm::Module& module, const TargetInfo& target) {
  std::string vector_bits = std::to_string(target.vector_bytes * 8);
  for (llvm::Function& function : module) {
    if (function.isDeclaration()) continue;
    function.addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty()) function.addFnAttr("target-features", target.features);
    if (target.arch == Arch::kX86_64) {
      function.addFnAttr("prefer-vector-width", vector_bits);
      function.addFnAttr("min-legal-vector-width", vector_bits);
    }
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

}  // namespace

Status prepare_module(llvm::Module& module, const TargetInfo& target) {
  NEREID_TRY(auto machine, make_machine(target));
  module.setTargetTriple(llvm::Triple(target.triple));
  module.setDataLayout(machine->createDataLayout());
  module.setSourceFileName("nereid");
  module.setPICLevel(llvm::PICLevel::BigPIC);
  return {};
}

Status optimize_module(llvm::Module& module, const TargetInfo& target) {
  std::string problems;
  llvm::raw_string_ostream stream(problems);
  if (llvm::verifyModule(module, &stream))
    return error("internal error: lowering made invalid LLVM IR: {}",
                 problems.substr(0, problems.find('\n')));
  NEREID_TRY(auto machine, make_machine(target));
  set_function_attributes(module, target);
  guard_against_sroa_merge(module);

  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = false;
  tuning.LoopInterleaving = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(machine.get(), tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
  return {};
}

Result<std::string> emit_code(llvm::Module& module, const TargetInfo& target, CodeKind kind) {
  NEREID_TRY(auto machine, make_machine(target));
  keep_chains_of_sums(target);
  set_function_attributes(module, target);
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  llvm::legacy::PassManager passes;
  auto file_type = kind == CodeKind::kObject ? llvm::CodeGenFileType::ObjectFile
                                             : llvm::CodeGenFileType::AssemblyFile;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, file_type))
    return error("target {}: LLVM cannot emit code for it", target.name);
  passes.run(module);
  return std::string(buffer.begin(), buffer.end());
}

}  // namespace nereid
