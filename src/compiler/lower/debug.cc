// tt.print and tt.assert, by way of libc's dprintf and abort.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

// dprintf(2, format, ...)
void Emitter::print_to_stderr(llvm::StringRef format, llvm::ArrayRef<Value*> values) {
  auto* type = llvm::FunctionType::get(builder_.getInt32Ty(),
                                       {builder_.getInt32Ty(), builder_.getPtrTy()}, true);
  llvm::FunctionCallee print = module_.getOrInsertFunction("dprintf", type);
  llvm::SmallVector<Value*, 8> arguments = {builder_.getInt32(2),
                                            builder_.CreateGlobalString(format)};
  arguments.append(values.begin(), values.end());
  builder_.CreateCall(print, arguments);
}

static std::string escaped(llvm::StringRef text) {
  std::string out;
  for (char c : text) out += c == '%' ? std::string("%%") : std::string(1, c);
  return out;
}

// One line per element: "pid (x, y, z) idx (i, j) prefix: value".
void Emitter::emit_print(tt::PrintOp op) {
  std::string prefix = escaped(op.getPrefix());
  llvm::SmallVector<Value*, 8> ids(program_ids_, program_ids_ + 3);
  if (op.getArgs().empty()) {
    print_to_stderr("pid (%d, %d, %d)" + prefix + "\n", ids);
    return;
  }
  for (auto [k, argument] : llvm::enumerate(op.getArgs())) {
    mlir::Type element = mlir::getElementTypeOrSelf(argument.getType());
    bool is_signed = op.getIsSigned().size() > k && op.getIsSigned()[k];
    auto print = [&](const Point& point) {
      Value* value = vector_of(eval(argument, point), 1);
      std::string format = "pid (%d, %d, %d) idx (";
      llvm::SmallVector<Value*, 8> values(ids);
      for (auto [dim, coord] : llvm::enumerate(point.coords)) {
        format += dim ? ", %ld" : "%ld";
        values.push_back(coord.base);
      }
      format += ")" + prefix;
      if (value->getType()->isPointerTy()) {
        format += "%p";
      } else if (mlir::isa<mlir::FloatType>(element)) {
        value = to_f32(value, element);
        value = builder_.CreateFPExt(value, builder_.getDoubleTy());
        format += "%f";
      } else {
        bool extend = is_signed && !element.isInteger(1);
        value = extend ? builder_.CreateSExt(value, builder_.getInt64Ty())
                       : builder_.CreateZExt(value, builder_.getInt64Ty());
        format += op.getHex() ? "0x%lx" : is_signed ? "%ld" : "%lu";
      }
      values.push_back(value);
      print_to_stderr(format + "\n", values);
    };
    for_each_element(argument, print);
  }
}

void Emitter::emit_assert(tt::AssertOp op) {
  auto check = [&](const Point& point) {
    Value* holds = vector_of(eval(op.getCondition(), point), 1);
    Value* broken = builder_.CreateNot(holds);
    if_active(broken, nullptr, [&]() -> Value* {
      std::string where;
      llvm::raw_string_ostream(where) << op.getLoc();
      print_to_stderr(escaped(where) + ": pid (%d, %d, %d): assertion failed: " +
                          escaped(op.getMessage()) + "\n",
                      {program_ids_[0], program_ids_[1], program_ids_[2]});
      auto* type = llvm::FunctionType::get(builder_.getVoidTy(), false);
      builder_.CreateCall(module_.getOrInsertFunction("abort", type));
      return nullptr;
    });
  };
  for_each_element(op.getCondition(), check);
}

}  // namespace nereid::lower
