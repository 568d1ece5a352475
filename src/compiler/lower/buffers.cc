// Stored tensors: where their elements are, reading and writing them at a point, computing them.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

static llvm::SmallVector<int64_t, 4> row_major(llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t, 4> strides(shape.size());
  int64_t stride = 1;
  for (int64_t dim = static_cast<int64_t>(shape.size()) - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride *= shape[dim];
  }
  return strides;
}

Emitter::Storage Emitter::storage_of(const Buffer& buffer) {
  Storage storage{.base = nullptr, .strides = row_major(buffer.shape), .element = buffer.element};
  if (buffer.on_stack) {
    llvm::Value*& slot = stack_buffers_[&buffer];
    if (!slot) {
      slot = stack_slot(llvm::ArrayType::get(builder_.getInt8Ty(), buffer.bytes), "tile");
    }
    storage.base = slot;
  } else {
    storage.base =
        builder_.CreateConstInBoundsGEP1_64(builder_.getInt8Ty(), scratch_, buffer.offset);
  }
  return storage;
}

// Scratch for the current op only.
Emitter::Storage Emitter::temp_storage(llvm::ArrayRef<int64_t> shape, mlir::Type element) {
  int64_t elements = 1;
  for (int64_t extent : shape) elements *= extent;
  uint64_t bytes = elements * element_bytes(element);
  Storage storage{.base = nullptr, .strides = row_major(shape), .element = element};
  if (small(elements)) {
    storage.base = stack_slot(llvm::ArrayType::get(builder_.getInt8Ty(), bytes), "temp");
  } else {
    storage.base = scratch_temp(bytes);
  }
  return storage;
}

Lanes Emitter::storage_pointer(const Storage& storage, const Point& point) {
  int64_t size = element_bytes(storage.element);
  llvm::SmallVector<int64_t, 4> strides;
  for (int64_t stride : storage.strides) strides.push_back(stride * size);
  Coord offset = linearize(point.coords, strides, point.lanes);
  llvm::Type* bytes = builder_.getInt8Ty();
  if (offset.opaque)
    return Lanes::make_vector(builder_.CreateGEP(bytes, storage.base, offset.opaque));
  llvm::Value* base = builder_.CreateInBoundsGEP(bytes, storage.base, offset.base);
  return Lanes::make_affine(base, nullptr, offset.pattern);
}

static unsigned storage_align(const Emitter*, unsigned element, const Point& point) {
  // A full vector starts at a multiple of its size when the fastest lanes do.
  return element;
}

Lanes Emitter::load_storage(const Storage& storage, const Point& point) {
  Access access{.pointer = storage_pointer(storage, point),
                .element = storage.element,
                .mask = std::nullopt,
                .private_memory = true,
                .align = storage_align(this, element_bytes(storage.element), point)};
  return load_lanes(access, std::nullopt, point.lanes);
}

void Emitter::store_storage(const Storage& storage, const Point& point, const Lanes& value) {
  Access access{.pointer = storage_pointer(storage, point),
                .element = storage.element,
                .mask = std::nullopt,
                .private_memory = true,
                .align = storage_align(this, element_bytes(storage.element), point)};
  store_lanes(access, value, point.lanes);
}

// Evaluates `value` everywhere into `storage`.
void Emitter::fill_storage(const Storage& storage, llvm::ArrayRef<int64_t> shape,
                           mlir::Value value) {
  NestShape nest = plan_nest(shape, {value});
  emit_nest(nest, [&](const Point& point) { store_storage(storage, point, eval(value, point)); });
}

// Computes a stored tensor at its place in the program.
void Emitter::materialize(mlir::Value value) {
  const Buffer* buffer = plan_.find(value);
  Storage storage = storage_of(*buffer);
  mlir::Operation* op = value.getDefiningOp();
  int saved = plan_.buffer_of[value];
  plan_.buffer_of.erase(value);  // for the moment it is what its op computes
  if (auto dot = packed_for(value)) {
    pack_stored_b(dot, storage);
  } else {
    NestShape nest = plan_nest(buffer->shape, {value});
    emit_nest(nest, [&](const Point& point) {
      store_storage(storage, point, eval_op(op, value, point, Mode::kValue));
    });
  }
  plan_.buffer_of[value] = saved;
}

}  // namespace nereid::lower
