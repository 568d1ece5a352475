// Checks that a parsed module is TTIR and nothing else, so that the stages after it need not.
#include <cctype>

#include "llvm/Support/MathExtras.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/diagnostics.h"
#include "src/compiler/front/front.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;

bool is_scalar(mlir::Type type) {
  if (auto integer = mlir::dyn_cast<mlir::IntegerType>(type))
    return integer.isSignless() &&
           llvm::is_contained({1u, 4u, 8u, 16u, 32u, 64u}, integer.getWidth());
  return mlir::isa<mlir::Float8E4M3FNType, mlir::Float8E4M3FNUZType, mlir::Float8E5M2Type,
                   mlir::Float8E5M2FNUZType, mlir::Float16Type, mlir::BFloat16Type,
                   mlir::Float32Type, mlir::Float64Type>(type);
}

bool is_value_type(mlir::Type type) {
  if (auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type)) {
    if (tensor.getEncoding() || !tensor.hasStaticShape()) return false;
    int64_t elements = 1;
    for (int64_t size : tensor.getShape()) {
      if (size < 1 || size > tt::kMaxTensorElements) return false;
      elements *= size;
      if (elements > tt::kMaxTensorElements) return false;
    }
    type = tensor.getElementType();
    return llvm::isPowerOf2_64(elements) && (is_scalar(type) || mlir::isa<tt::PointerType>(type));
  }
  return is_scalar(type) || mlir::isa<tt::PointerType, tt::TensorDescType>(type);
}

// Structured control flow that Triton makes; scf.parallel and the like are not part of TTIR.
bool is_known_op(mlir::Operation* op) {
  llvm::StringRef dialect = op->getName().getDialectNamespace();
  if (dialect == "tt" || dialect == "arith" || dialect == "math") return true;
  return mlir::isa<mlir::ModuleOp, mlir::scf::ForOp, mlir::scf::IfOp, mlir::scf::WhileOp,
                   mlir::scf::YieldOp, mlir::scf::ConditionOp, mlir::cf::BranchOp,
                   mlir::cf::CondBranchOp, mlir::ub::PoisonOp, mlir::LLVM::AssumeOp,
                   tt::gpu::BarrierOp>(op);
}

mlir::LogicalResult check_types(mlir::Operation* op) {
  auto check = [&](mlir::Type type) -> mlir::LogicalResult {
    if (is_value_type(type)) return mlir::success();
    return op->emitError() << "'" << op->getName() << "' has a value of type " << type
                           << ", which is not a type of TTIR";
  };
  for (mlir::Type type : op->getResultTypes())
    if (failed(check(type))) return mlir::failure();
  for (mlir::Region& region : op->getRegions())
    for (mlir::Block& block : region)
      for (mlir::Type type : block.getArgumentTypes())
        if (failed(check(type))) return mlir::failure();
  return mlir::success();
}

bool is_c_identifier(llvm::StringRef name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front()))) return false;
  return llvm::all_of(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; });
}

mlir::LogicalResult check_kernel(tt::FuncOp function) {
  if (!is_c_identifier(function.getName()))
    return function.emitError() << "kernel name '" << function.getName()
                                << "' is not a C identifier";
  if (function.getNumResults() != 0)
    return function.emitError() << "kernel '" << function.getName() << "' returns values";
  for (mlir::Type type : function.getArgumentTypes())
    if (mlir::isa<mlir::RankedTensorType>(type) || type.isInteger(4))
      return function.emitError() << "kernel '" << function.getName()
                                  << "' has an argument of type " << type;
  return mlir::success();
}

mlir::LogicalResult check_op(mlir::Operation* op) {
  if (!is_known_op(op)) return op->emitError() << "'" << op->getName() << "' is not an op of TTIR";
  if (mlir::isa<mlir::ModuleOp>(op) && op->getParentOp())
    return op->emitError() << "nested modules are not supported";
  if (mlir::isa_and_nonnull<mlir::ModuleOp>(op->getParentOp()) && !mlir::isa<tt::FuncOp>(op))
    return op->emitError() << "'" << op->getName() << "' outside of a tt.func";
  return check_types(op);
}

}  // namespace

Status check_ttir(mlir::ModuleOp module) {
  DiagnosticCollector diagnostics(module.getContext());
  bool has_kernel = false;
  mlir::WalkResult walked = module->walk([&](mlir::Operation* op) {
    if (failed(check_op(op))) return mlir::WalkResult::interrupt();
    auto function = mlir::dyn_cast<tt::FuncOp>(op);
    if (!function) return mlir::WalkResult::advance();
    if (function.isExternal()) {
      function.emitError() << "tt.func '" << function.getName() << "' has no body";
      return mlir::WalkResult::interrupt();
    }
    if (!function.isPublic()) return mlir::WalkResult::advance();
    has_kernel = true;
    return failed(check_kernel(function)) ? mlir::WalkResult::interrupt()
                                          : mlir::WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return error("{}", diagnostics.first_error("the module is not TTIR"));
  if (!has_kernel) return error("found no public tt.func, expected at least one kernel");
  return {};
}

}  // namespace nereid
