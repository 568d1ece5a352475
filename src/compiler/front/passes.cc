// The TTIR-level stages: structured control flow, inlining, clean-up with MLIR's own passes.
#include "mlir/Transforms/Passes.h"
#include "mlir/Conversion/ControlFlowToSCF/ControlFlowToSCF.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/RegionUtils.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/diagnostics.h"
#include "src/compiler/front/front.h"
#include "src/compiler/front/rewrite.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;

// cf.* to scf.*; after an endless loop control never arrives, so any return will do there.
struct LiftControlFlow : public mlir::ControlFlowToSCFTransformation {
  mlir::FailureOr<mlir::Operation*> createUnreachableTerminator(mlir::Location location,
                                                                mlir::OpBuilder& builder,
                                                                mlir::Region& region) override {
    auto function = mlir::dyn_cast<tt::FuncOp>(region.getParentOp());
    if (!function) return mlir::emitError(location, "endless loop inside of a region");
    llvm::SmallVector<mlir::Value> results;
    for (mlir::Type type : function.getResultTypes())
      results.push_back(getUndefValue(location, builder, type));
    return tt::ReturnOp::create(builder, location, results).getOperation();
  }
};

mlir::LogicalResult lift_region(mlir::Region& region) {
  if (region.hasOneBlock()) return mlir::success();
  mlir::IRRewriter rewriter(region.getContext());
  (void)mlir::eraseUnreachableBlocks(rewriter, region);
  if (region.hasOneBlock()) return mlir::success();
  LiftControlFlow lift;
  mlir::DominanceInfo dominance(region.getParentOp());
  if (failed(mlir::transformCFGToSCF(region, lift, dominance)) || !region.hasOneBlock())
    return region.getParentOp()->emitError("cannot structure the control flow of this region");
  return mlir::success();
}

// Barriers mean nothing where one thread runs a program; assumptions are hints that nobody uses.
// Marks of prefetch.cc come with TTIR that this compiler has printed; it sets them again.
void drop_hints(mlir::ModuleOp module) {
  module->walk([](mlir::Operation* op) {
    op->removeAttr("prefetch");
    op->removeAttr("spread");
    if (mlir::isa<mlir::LLVM::AssumeOp, tt::gpu::BarrierOp>(op)) op->erase();
  });
}

// Every region becomes one block; inner regions first.
mlir::LogicalResult structure_control_flow(mlir::ModuleOp module) {
  drop_hints(module);
  mlir::WalkResult walked = module->walk([&](mlir::Operation* op) {
    if (!mlir::isa<tt::FuncOp, tt::MapElementwiseOp>(op)) return mlir::WalkResult::advance();
    for (mlir::Region& region : op->getRegions())
      if (failed(lift_region(region))) return mlir::WalkResult::interrupt();
    return mlir::WalkResult::advance();
  });
  return mlir::failure(walked.wasInterrupted());
}

mlir::LogicalResult inline_calls(mlir::ModuleOp module) {
  mlir::PassManager passes(module->getContext(), mlir::ModuleOp::getOperationName());
  passes.addPass(mlir::createInlinerPass());
  passes.addPass(mlir::createSymbolDCEPass());
  if (failed(passes.run(module))) return mlir::failure();
  mlir::WalkResult walked = module->walk([&](tt::CallOp call) {
    call.emitError() << "tt.call of '" << call.getCallee()
                     << "' cannot be inlined; recursion is not supported";
    return mlir::WalkResult::interrupt();
  });
  return mlir::failure(walked.wasInterrupted());
}

mlir::LogicalResult clean_up(mlir::ModuleOp module) {
  mlir::PassManager passes(module->getContext(), mlir::ModuleOp::getOperationName());
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
  passes.addPass(mlir::createLoopInvariantCodeMotionPass());
  passes.addPass(mlir::createCSEPass());
  passes.addPass(mlir::createCanonicalizerPass());
  return passes.run(module);
}

mlir::LogicalResult rewrite_composites(mlir::ModuleOp module, const TargetInfo& target) {
  bool changed = false;
  combine_unsigned_dots(module, target, changed);
  add_starts_behind(module, target, changed);
  combine_pair_products(module, target, changed);
  if (failed(rewrite_descriptors(module, changed)) || failed(rewrite_scaled_dots(module, changed)))
    return mlir::failure();
  if (!changed) return mlir::success();
  return failed(mlir::verify(module)) ? mlir::failure() : clean_up(module);
}

mlir::LogicalResult add_prefetches(mlir::ModuleOp module) {
  insert_prefetches(module);
  return mlir::verify(module);
}

}  // namespace

Status run_front(mlir::ModuleOp module, const TargetInfo& target, const StageHook& hook) {
  DiagnosticCollector diagnostics(module.getContext());
  auto run_stage = [&](std::string_view stage, auto function) -> Status {
    if (failed(function(module)))
      return error("{}", diagnostics.first_error(fmt::format("stage '{}' failed", stage)));
    if (hook) hook(stage, module);
    return {};
  };
  NEREID_RETURN_IF_ERROR(run_stage("structure", structure_control_flow));
  NEREID_RETURN_IF_ERROR(run_stage("inline", inline_calls));
  NEREID_RETURN_IF_ERROR(run_stage("cleanup", clean_up));
  NEREID_RETURN_IF_ERROR(
      run_stage("rewrite", [&](mlir::ModuleOp at) { return rewrite_composites(at, target); }));
  NEREID_RETURN_IF_ERROR(run_stage("prefetch", add_prefetches));
  return {};
}

}  // namespace nereid
