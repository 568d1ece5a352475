// Ops that rearrange or count elements and need storage of their own: cat, histogram,
// map_elementwise.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

void Emitter::emit_unsplat(tt::UnsplatOp op) {
  set_scalar(op.getResult(), eval_uniform(op.getSrc()));
}

// Visits the elements of a shape one by one.
void Emitter::for_each_element(mlir::Value shaped, llvm::function_ref<void(const Point&)> body) {
  auto shape = shape_of(shaped);
  NestShape nest = make_nest(shape, 1, {});
  if (!shape.empty()) nest.inner_dim = static_cast<int64_t>(shape.size()) - 1;
  nest.unrolled = num_elements(shaped.getType()) <= 8;
  emit_nest(nest, body);
}

void Emitter::emit_cat(tt::CatOp op) {
  const Buffer* buffer = plan_.find(op.getResult());
  if (!buffer) return;
  Storage storage = storage_of(*buffer);
  int64_t begin = 0;
  for (mlir::Value part : {op.getLhs(), op.getRhs()}) {
    NestShape nest = plan_nest(shape_of(part), {part});
    emit_nest(nest, [&](const Point& point) {
      Point to = point;
      to.coords[0].base = builder_.CreateAdd(point.coords[0].base, i64(begin));
      to.coords[0].align = 1;
      store_storage(storage, to, eval(part, point));
    });
    begin += shape_of(part)[0];
  }
}

// Several values may fall into one bin, so elements are counted one by one.
void Emitter::emit_histogram(tt::HistogramOp op) {
  const Buffer* buffer = plan_.find(op.getResult());
  if (!buffer) return;
  Storage storage = storage_of(*buffer);
  NestShape clear = plan_nest(buffer->shape, {});
  llvm::Type* type = type_of(buffer->element);
  Value* zero = llvm::Constant::getNullValue(type);
  emit_nest(clear, [&](const Point& point) {
    store_storage(storage, point,
                  Lanes::make_vector(vector_of(Lanes::make_uniform(zero), point.lanes)));
  });
  for_each_element(op.getSrc(), [&](const Point& point) {
    Value* bin = vector_of(eval(op.getSrc(), point), 1);
    Value* limit = llvm::ConstantInt::get(bin->getType(), buffer->shape[0]);
    Value* counted = buffer->shape[0] > (int64_t{1} << (bin->getType()->getIntegerBitWidth() - 1))
                         ? builder_.CreateICmpSGE(bin, llvm::Constant::getNullValue(bin->getType()))
                         : builder_.CreateICmpULT(bin, limit);
    if (op.getMask())
      counted = builder_.CreateAnd(counted, vector_of(eval(op.getMask(), point), 1));
    Value* index =
        builder_.CreateSelect(counted, builder_.CreateZExt(bin, builder_.getInt64Ty()), i64(0));
    Value* slot = builder_.CreateGEP(type, storage.base, index);
    Value* count = builder_.CreateLoad(type, slot);
    builder_.CreateStore(builder_.CreateAdd(count, builder_.CreateZExt(counted, type)), slot);
  });
}

// A scalar region, `pack` elements at a time: operands come grouped by source.
void Emitter::emit_map(tt::MapElementwiseOp op) {
  if (!op.getScalarOp().hasOneBlock()) {
    fail(op, "control flow inside of the mapped function is not supported", nullptr);
    return;
  }
  int64_t pack = op.getPack();
  mlir::Value shaped = op.getSrcs()[0];
  auto shape = shape_of(shaped);
  int64_t inner = static_cast<int64_t>(shape.size()) - 1;
  if (shape[inner] % pack != 0) {
    fail(op, "pack must divide the last dimension", nullptr);
    return;
  }
  NestShape nest = make_nest(shape, 1, {});
  nest.inner_dim = inner;
  nest.unrolled = false;
  nest.shape[inner] /= pack;
  emit_nest(nest, [&](const Point& point) {
    auto at = [&](int64_t k) {
      Point element = point;
      Value* base = builder_.CreateMul(point.coords[inner].base, i64(pack), "", true, true);
      element.coords[inner] = {.base = builder_.CreateAdd(base, i64(k)), .align = 1};
      return element;
    };
    mlir::Block& block = op.getScalarOp().front();
    unsigned argument = 0;
    for (mlir::Value source : op.getSrcs()) {
      for (int64_t k = 0; k < pack; ++k) {
        set_scalar(block.getArgument(argument++), vector_of(eval(source, at(k)), 1));
      }
    }
    auto nest_memos = std::exchange(memos_, {});  // each op of the block starts its own
    uint64_t nest_temps = temp_used_;
    emit_block(block);
    memos_ = std::move(nest_memos);
    temp_used_ = nest_temps;
    unsigned out = 0;
    mlir::Operation* end = block.getTerminator();
    for (mlir::Value result : op.getResult()) {
      const Buffer* buffer = plan_.find(result);
      for (int64_t k = 0; k < pack; ++k, ++out) {
        if (!buffer) continue;
        store_storage(storage_of(*buffer), at(k),
                      Lanes::make_uniform(scalar(end->getOperand(out))));
      }
    }
  });
}

}  // namespace nereid::lower
