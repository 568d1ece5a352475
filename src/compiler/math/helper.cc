// Internal helper functions of the generated module, and calls of libm lane by lane.
#include "src/compiler/math/emit_util.h"
#include "src/compiler/math/math.h"
#include "src/compiler/target.h"

namespace nereid::math {
namespace {

std::string type_name(llvm::Type* type) {
  llvm::Type* scalar = type->getScalarType();
  std::string name = scalar->isIntegerTy() ? "i" : "f";
  name += std::to_string(scalar->getScalarSizeInBits());
  return type->isVectorTy() ? "v" + std::to_string(lanes_of(type)) + name : name;
}

}  // namespace

llvm::Value* call_helper(llvm::IRBuilderBase& builder, const std::string& name,
                         llvm::ArrayRef<llvm::Value*> arguments, bool always_inline,
                         const BodyEmitter& body, llvm::Type* result_type) {
  llvm::Type* type = arguments[0]->getType();
  llvm::Module& module = *builder.GetInsertBlock()->getModule();
  std::string full_name = "nereid." + name + "." + type_name(type);
  llvm::Function* function = module.getFunction(full_name);
  if (!function) {
    llvm::SmallVector<llvm::Type*> types;
    for (llvm::Value* argument : arguments) types.push_back(argument->getType());
    auto* function_type = llvm::FunctionType::get(result_type ? result_type : type, types, false);
    function = llvm::Function::Create(function_type, llvm::GlobalValue::InternalLinkage, full_name,
                                      module);
    if (always_inline) function->addFnAttr(llvm::Attribute::AlwaysInline);
    function->setMemoryEffects(llvm::MemoryEffects::none());
    function->addFnAttr(llvm::Attribute::WillReturn);
    function->addFnAttr(llvm::Attribute::NoUnwind);
    function->addFnAttr(llvm::Attribute::Speculatable);
    llvm::IRBuilder<> inner(llvm::BasicBlock::Create(module.getContext(), "entry", function));
    llvm::Value* result = body(inner, function);
    inner.CreateRet(result);
  }
  llvm::CallInst* call = builder.CreateCall(function, arguments);
  return call;
}

}  // namespace nereid::math

namespace nereid {

llvm::Value* emit_libm(llvm::IRBuilderBase& builder, llvm::StringRef name,
                       llvm::ArrayRef<llvm::Value*> arguments, const TargetInfo& target) {
  llvm::Type* type = arguments[0]->getType();
  llvm::Type* scalar = type->getScalarType();
  if (scalar->isHalfTy() || scalar->isBFloatTy()) {
    FloatKind kind = scalar->isHalfTy() ? FloatKind::kF16 : FloatKind::kBf16;
    llvm::SmallVector<llvm::Value*> wide;
    for (llvm::Value* argument : arguments)
      wide.push_back(
          convert_float(builder, argument, kind, FloatKind::kF32, Rounding::kNearestEven, target));
    return convert_float(builder, emit_libm(builder, name, wide, target), FloatKind::kF32, kind,
                         Rounding::kNearestEven, target);
  }
  llvm::Module& module = *builder.GetInsertBlock()->getModule();
  llvm::SmallVector<llvm::Type*> types(arguments.size(), scalar);
  std::string symbol = name.str() + (scalar->isFloatTy() ? "f" : "");
  auto callee = module.getOrInsertFunction(symbol, llvm::FunctionType::get(scalar, types, false));
  if (auto* function = llvm::dyn_cast<llvm::Function>(callee.getCallee())) {
    function->setMemoryEffects(llvm::MemoryEffects::none());  // errno is not looked at
    function->addFnAttr(llvm::Attribute::WillReturn);
    function->addFnAttr(llvm::Attribute::NoUnwind);
  }
  if (!type->isVectorTy()) return builder.CreateCall(callee, arguments);
  llvm::Value* result = llvm::PoisonValue::get(type);
  for (unsigned lane = 0; lane < math::lanes_of(type); ++lane) {
    llvm::SmallVector<llvm::Value*> scalars;
    for (llvm::Value* argument : arguments)
      scalars.push_back(builder.CreateExtractElement(argument, uint64_t{lane}));
    result =
        builder.CreateInsertElement(result, builder.CreateCall(callee, scalars), uint64_t{lane});
  }
  return result;
}

}  // namespace nereid
