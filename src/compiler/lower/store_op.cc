// tt.store of tiles and scalars.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;

void Emitter::emit_store(tt::StoreOp op) {
  mlir::Type element = mlir::getElementTypeOrSelf(op.getValue().getType());
  Access access{.element = element, .mask = std::nullopt, .align = element_bytes(element)};
  if (!is_tensor(op.getPtr())) {
    access.pointer = Lanes::make_uniform(scalar(op.getPtr()));
    if (op.getMask()) access.mask = Lanes::make_uniform(scalar(op.getMask()));
    store_lanes(access, Lanes::make_uniform(scalar(op.getValue())), 1);
    return;
  }
  NestShape nest = plan_nest(shape_of(op.getPtr()), {op.getValue()}, {op.getPtr()});
  emit_nest(nest, [&](const Point& point) {
    Access at = access;
    at.pointer = eval(op.getPtr(), point);
    if (op.getMask()) at.mask = eval(op.getMask(), point);
    store_lanes(at, eval(op.getValue(), point), point.lanes);
  });
}

void Emitter::emit_scalar_load(tt::LoadOp op) {
  Access access{.pointer = Lanes::make_uniform(scalar(op.getPtr())),
                .element = op.getType(),
                .mask = std::nullopt,
                .align = element_bytes(op.getType())};
  std::optional<Lanes> other;
  if (op.getMask()) access.mask = Lanes::make_uniform(scalar(op.getMask()));
  if (op.getOther()) other = Lanes::make_uniform(scalar(op.getOther()));
  set_scalar(op.getResult(), load_lanes(access, other, 1).value);
}

}  // namespace nereid::lower
