// tt.dot: which instruction, which operands are read where they are, which are packed first.
#include "src/compiler/lower/dot.h"

#include <numeric>

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using llvm::Value;

static bool is_zero_constant(mlir::Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  if (!constant) return false;
  auto dense = mlir::dyn_cast<mlir::DenseElementsAttr>(constant.getValue());
  if (!dense || !dense.isSplat()) return false;
  if (mlir::isa<mlir::FloatType>(dense.getElementType())) {
    llvm::APFloat number = dense.getSplatValue<llvm::APFloat>();
    return number.isPosZero();
  }
  return dense.getSplatValue<llvm::APInt>().isZero();
}

// The bytes that `value` widens to 16 bits without sign, as front/unsigned_dots.cc makes them.
static mlir::Value widened_bytes(mlir::Value value) {
  auto widened = value.getDefiningOp<arith::ExtUIOp>();
  const bool bytes = widened && mlir::getElementTypeOrSelf(widened.getIn().getType()).isInteger(8);
  return bytes ? widened.getIn() : mlir::Value();
}

DotPlan Emitter::plan_dot(tt::DotOp op) {
  DotPlan dot;
  dot.op = op;
  auto a = shape_of(op.getA()), b = shape_of(op.getB());
  size_t rank = a.size();
  dot.batched = rank == 3;
  dot.batch = rank == 3 ? a[0] : 1;
  dot.m = a[rank - 2];
  dot.rows = std::max<int64_t>(1, live_extent(op.getD(), static_cast<int64_t>(rank) - 2));
  dot.k = a[rank - 1];
  dot.n = b[rank - 1];
  dot.batch_coord = constant_coord(0);
  mlir::Type from_a = mlir::getElementTypeOrSelf(op.getA().getType());
  dot.b_value = op.getB();
  mlir::Type from_b = mlir::getElementTypeOrSelf(op.getB().getType());
  mlir::Type to = mlir::getElementTypeOrSelf(op.getType());
  mlir::MLIRContext* context = op.getContext();
  auto f32 = mlir::Float32Type::get(context);
  auto i32_type = mlir::IntegerType::get(context, 32);
  bool full_vectors = dot.n % (target_.vector_bytes / 4) == 0;
  if (to.isInteger()) {
    dot.accumulator = to.getIntOrFloatBitWidth() < 32 ? mlir::Type(i32_type) : to;
    mlir::Value unsigned_b = target_.wants_unsigned_operand() ? widened_bytes(op.getB()) : nullptr;
    bool bytes =
        from_a.isInteger(8) && (unsigned_b || from_b.isInteger(8)) && dot.accumulator.isInteger(32);
    if (bytes && has_byte_dot(target_) && full_vectors && dot.k % 4 == 0) {
      dot.kind = DotKind::kInt8;
      dot.group = 4;
      if (unsigned_b) dot.b_value = unsigned_b;
      dot.compute = mlir::getElementTypeOrSelf(dot.b_value.getType());
      dot.unsigned_b = unsigned_b || is_never_negative(op.getB());
      dot.words = has_short_sums(target_) && !dot.unsigned_b;
      if (has_short_sums(target_) && !dot.words) {
        dot.short_steps = 32767 / (2 * 128 * std::max<int64_t>(largest_byte(op.getB()), 1));
      }
    } else {
      dot.kind = DotKind::kInteger;
      dot.compute = dot.accumulator;
    }
  } else if (from_a.isF64() || from_b.isF64() || to.isF64()) {
    dot.compute = dot.accumulator = mlir::Float64Type::get(context);
  } else {
    dot.compute = dot.accumulator = f32;
    if (from_a.isBF16() && from_b.isBF16() && target_.has_bf16_dot && full_vectors &&
        dot.k % 2 == 0) {
      dot.kind = DotKind::kBf16;
      dot.group = 2;
      dot.compute = from_a;
    }
  }
  unsigned bytes = element_bytes(dot.accumulator);
  dot.lanes = static_cast<unsigned>(
      std::gcd<int64_t>(dot.n, target_.vector_bytes / static_cast<int>(bytes)));
  dot.tiles = tile_shape_.groups > 0 && suits_tiles(dot);
  dot.shifted_a = dot.kind == DotKind::kInt8 && target_.wants_unsigned_operand() &&
                  !dot.unsigned_b && !dot.tiles;
  return dot;
}

// The load at the bottom of a chain of shape ops, and the point it is read at.
std::pair<tt::LoadOp, Point> Emitter::find_load(mlir::Value value, Point point) {
  for (int depth = 0; depth < 16; ++depth) {
    if (plan_.stored(value)) return {};
    mlir::Operation* op = value.getDefiningOp();
    if (!op) return {};
    if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) return {load, point};
    if (auto trans = mlir::dyn_cast<tt::TransOp>(op)) {
      llvm::SmallVector<Coord, 4> coords(point.coords.size());
      for (auto [dim, source] : llvm::enumerate(trans.getOrder())) {
        coords[source] = point.coords[dim];
      }
      point = with_coords(point, coords);
      value = trans.getSrc();
    } else if (auto reshape = mlir::dyn_cast<tt::ReshapeOp>(op)) {
      point = reshape_point(point, shape_of(value), shape_of(reshape.getSrc()));
      value = reshape.getSrc();
    } else {
      return {};
    }
  }
  return {};
}

void Emitter::emit_dot(tt::DotOp op) {
  const Buffer* result = plan_.find(op.getD());
  if (!result) {  // nobody reads it
    spread_.clear();
    return;
  }
  DotPlan dot = plan_dot(op);
  mlir::Type to = mlir::getElementTypeOrSelf(op.getType());
  bool converted = to != dot.accumulator;
  Storage target = storage_of(*result);
  dot.d = converted ? temp_storage(result->shape, dot.accumulator) : target;
  dot.starts_from_zero = is_zero_constant(op.getC());
  const bool elsewhere = !dot.starts_from_zero && (converted || plan_.find(op.getC()) != result);
  dot.starts_in_place = elsewhere && !converted && dot.batch == 1 && dot.lanes > 1 && !dot.tiles;
  const auto bring_start = [&] {
    NestShape nest = plan_nest(result->shape, {op.getC()});
    emit_nest(nest, [&](const Point& point) {
      Lanes value = eval(op.getC(), point);
      if (converted) value = convert_lanes(value, to, dot.accumulator, point.lanes);
      store_storage(dot.d, point, value);
    });
  };
  if (elsewhere && !dot.starts_in_place) bring_start();
  auto one_batch = [&](Value* batch) {
    dot.batch_coord = {.base = batch, .align = 1};
    choose_operands(dot);
    if (dot.tiles) {
      pack_operands(dot);
      emit_tile_product(dot);
    } else if (dot.inner_product) {
      if (dot.starts_in_place) bring_start();
      emit_inner_product(dot);
    } else {
      pack_operands(dot);
      emit_outer_product(dot);
    }
  };
  if (dot.batch == 1) {
    one_batch(i64(0));
  } else {
    emit_loop(i64(0), i64(dot.batch), i64(1), one_batch);
  }
  spread_.clear();
  if (!converted) return;
  memos_.clear();
  NestShape nest = plan_nest(result->shape, {op.getD()});
  emit_nest(nest, [&](const Point& point) {
    Lanes value = load_storage(dot.d, point);
    store_storage(target, point, convert_lanes(value, dot.accumulator, to, point.lanes));
  });
}

// Between number types, integers among integers and floats among floats.
Lanes Emitter::convert_lanes(const Lanes& value, mlir::Type from, mlir::Type to, unsigned lanes) {
  if (from == to) return value;
  Value* x = value.uniform() ? value.value : vector_of(value, lanes);
  Value* out = nullptr;
  if (mlir::isa<mlir::FloatType>(from)) {
    out = convert_float(x, from, to, Rounding::kNearestEven);
  } else {
    llvm::Type* type = type_of(to);
    if (x->getType()->isVectorTy()) type = widen(type, lanes);
    out = builder_.CreateSExtOrTrunc(x, type);
  }
  return out->getType()->isVectorTy() ? Lanes::make_vector(out) : Lanes::make_uniform(out);
}

}  // namespace nereid::lower
