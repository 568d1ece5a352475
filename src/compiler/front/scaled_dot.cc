// Block-scaled dots: operands are decoded to f32 (exact for every microscaling format), multiplied
// with their scales, and go to a plain tt.dot.
#include "src/compiler/front/rewrite.h"
#include "src/compiler/front/tile_builder.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

class ScaledDotRewriter {
 public:
  ScaledDotRewriter(mlir::OpBuilder& builder, tt::DotScaledOp op)
      : t_(builder, op.getLoc()), op_(op) {}

  mlir::LogicalResult run();

 private:
  struct Operand {
    Value values;  // (M, K) or (K, N), perhaps packed in pairs
    Value scale;   // (rows, K / block), null for none
    tt::ScaleDotElemType type;
    bool k_packed;
    bool is_a;
  };

  Value decode(const Operand& operand);  // null on failure
  Value unpack_pairs(const Operand& operand);
  Value decode_e2m1(Value codes);
  Value decode_scale(Value scale);
  Value expand_scale(const Operand& operand, llvm::ArrayRef<int64_t> shape);
  mlir::RankedTensorType type_of(Value v) {
    return mlir::cast<mlir::RankedTensorType>(v.getType());
  }
  mlir::Type f32() { return t_.b.getF32Type(); }
  mlir::RankedTensorType like(Value v, mlir::Type element) { return type_of(v).clone(element); }

  TileBuilder t_;
  tt::DotScaledOp op_;
};

// e2m1 codes in the low 4 bits of i32 -> f32: exponent and mantissa placed, then scaled.
Value ScaledDotRewriter::decode_e2m1(Value codes) {
  auto& b = t_.b;
  mlir::Type wide = codes.getType();
  auto constant = [&](int64_t value) { return t_.integer(value, wide); };
  auto shift = [&](Value value, int64_t bits) -> Value {
    return arith::ShLIOp::create(b, t_.location, value, constant(bits));
  };
  Value magnitude = shift(arith::AndIOp::create(b, t_.location, codes, constant(7)), 22);
  Value sign = shift(arith::AndIOp::create(b, t_.location, codes, constant(8)), 28);
  mlir::Type real = like(codes, f32());
  Value placed = tt::BitcastOp::create(b, t_.location, real, magnitude);
  Value number =
      arith::MulFOp::create(b, t_.location, placed, t_.number(std::ldexp(1.0, 126), real));
  Value bits = tt::BitcastOp::create(b, t_.location, wide, number);
  bits = arith::OrIOp::create(b, t_.location, bits, sign);
  return tt::BitcastOp::create(b, t_.location, real, bits);
}

// Two codes per byte, the low one first, along K or along the other dimension.
Value ScaledDotRewriter::unpack_pairs(const Operand& operand) {
  auto& b = t_.b;
  Value bytes = operand.values;
  Value wide = arith::ExtUIOp::create(b, t_.location, like(bytes, t_.i32()), bytes);
  Value low = decode_e2m1(wide);
  Value high =
      decode_e2m1(arith::ShRUIOp::create(b, t_.location, wide, t_.integer(4, wide.getType())));
  llvm::SmallVector<int64_t> shape(type_of(bytes).getShape());
  int64_t rank = static_cast<int64_t>(shape.size());
  llvm::SmallVector<int64_t> joined_shape(shape);
  joined_shape.push_back(2);
  Value pairs = tt::JoinOp::create(b, t_.location, t_.tensor(joined_shape, f32()), low, high);
  bool along_last = operand.is_a == operand.k_packed;  // K is last in A, first in B
  int64_t packed_dim = along_last ? rank - 1 : rank - 2;
  if (!along_last) {  // (..., K/2, N, 2) -> (..., K/2, 2, N)
    llvm::SmallVector<int32_t> order;
    for (int64_t dim = 0; dim < rank - 1; ++dim) order.push_back(static_cast<int32_t>(dim));
    order.push_back(static_cast<int32_t>(rank));
    order.push_back(static_cast<int32_t>(rank - 1));
    llvm::SmallVector<int64_t> swapped(joined_shape);
    std::swap(swapped[rank - 1], swapped[rank]);
    pairs = tt::TransOp::create(b, t_.location, t_.tensor(swapped, f32()), pairs, order);
  }
  shape[packed_dim] *= 2;
  return t_.reshape(pairs, shape);
}

// i8 holds an exponent (e8m0: 2^(x - 127), 255 is NaN); other types hold the factor itself.
Value ScaledDotRewriter::decode_scale(Value scale) {
  auto& b = t_.b;
  mlir::Type element = type_of(scale).getElementType();
  mlir::Type real = like(scale, f32());
  if (!element.isInteger()) {
    if (element.isF32()) return scale;
    return tt::FpToFpOp::create(b, t_.location, real, scale, tt::RoundingModeAttr());
  }
  Value wide = arith::ExtUIOp::create(b, t_.location, like(scale, t_.i32()), scale);
  Value shifted = arith::ShLIOp::create(b, t_.location, wide, t_.integer(23, wide.getType()));
  // 0 means 2^-127, which is subnormal in f32.
  Value is_zero = t_.compare(arith::CmpIPredicate::eq, wide, t_.integer(0, wide.getType()));
  Value is_nan = t_.compare(arith::CmpIPredicate::eq, wide, t_.integer(255, wide.getType()));
  auto pick = [&](Value condition, int64_t bits, Value otherwise) -> Value {
    return arith::SelectOp::create(b, t_.location, condition, t_.integer(bits, wide.getType()),
                                   otherwise);
  };
  Value bits = pick(is_nan, 0x7fc00000, pick(is_zero, 0x00400000, shifted));
  return tt::BitcastOp::create(b, t_.location, real, bits);
}

// (rows, K / block) -> factors of the operand's shape.
Value ScaledDotRewriter::expand_scale(const Operand& operand, llvm::ArrayRef<int64_t> shape) {
  auto& b = t_.b;
  Value scale = decode_scale(operand.scale);
  llvm::SmallVector<int64_t> grouped(type_of(scale).getShape());
  int64_t rank = static_cast<int64_t>(grouped.size());
  int64_t k = operand.is_a ? shape[rank - 1] : shape[rank - 2];
  int64_t groups = grouped.back();
  grouped.push_back(1);
  Value wide = tt::ExpandDimsOp::create(b, t_.location, t_.tensor(grouped, f32()), scale,
                                        static_cast<uint32_t>(rank));
  grouped.back() = k / groups;
  wide = t_.broadcast(wide, grouped);
  llvm::SmallVector<int64_t> flat(grouped.begin(), grouped.end() - 2);
  flat.push_back(k);
  wide = t_.reshape(wide, flat);
  if (operand.is_a) return wide;
  llvm::SmallVector<int32_t> order;
  for (int64_t dim = 0; dim < rank - 2; ++dim) order.push_back(static_cast<int32_t>(dim));
  order.push_back(static_cast<int32_t>(rank - 1));
  order.push_back(static_cast<int32_t>(rank - 2));
  return tt::TransOp::create(b, t_.location, t_.tensor(shape, f32()), wide, order);
}

Value ScaledDotRewriter::decode(const Operand& operand) {
  auto& b = t_.b;
  mlir::Type element = type_of(operand.values).getElementType();
  Value values;
  if (operand.type == tt::ScaleDotElemType::E2M1) {
    if (!element.isInteger(8)) {
      op_.emitError("'tt.dot_scaled' has e2m1 values not in i8");
      return {};
    }
    values = unpack_pairs(operand);
  } else if (mlir::isa<mlir::FloatType>(element)) {
    values = element.isF32() ? operand.values
                             : tt::FpToFpOp::create(b, t_.location, like(operand.values, f32()),
                                                    operand.values, tt::RoundingModeAttr())
                                   .getResult();
  } else {
    bool e4m3 = operand.type == tt::ScaleDotElemType::E4M3;
    if (!e4m3 && operand.type != tt::ScaleDotElemType::E5M2) {
      op_.emitError() << "'tt.dot_scaled' of " << tt::stringifyScaleDotElemType(operand.type)
                      << " is not supported";
      return {};
    }
    mlir::Type fp8 = e4m3 ? mlir::Type(mlir::Float8E4M3FNType::get(b.getContext()))
                          : mlir::Type(mlir::Float8E5M2Type::get(b.getContext()));
    Value codes = tt::BitcastOp::create(b, t_.location, like(operand.values, fp8), operand.values);
    values =
        tt::FpToFpOp::create(b, t_.location, like(codes, f32()), codes, tt::RoundingModeAttr());
  }
  if (!operand.scale) return values;
  Value factors = expand_scale(operand, type_of(values).getShape());
  return arith::MulFOp::create(b, t_.location, values, factors).getResult();
}

mlir::LogicalResult ScaledDotRewriter::run() {
  Value a = decode({op_.getA(), op_.getAScale(), op_.getAElemType(), op_.getLhsKPack(), true});
  if (!a) return mlir::failure();
  Value b = decode({op_.getB(), op_.getBScale(), op_.getBElemType(), op_.getRhsKPack(), false});
  if (!b) return mlir::failure();
  Value dot = tt::DotOp::create(t_.b, t_.location, op_.getType(), a, b, op_.getC(),
                                tt::InputPrecision::IEEE, /*maxNumImpreciseAcc=*/0);
  op_.replaceAllUsesWith(dot);
  op_->erase();
  return mlir::success();
}

}  // namespace

mlir::LogicalResult rewrite_scaled_dots(mlir::ModuleOp module, bool& changed) {
  llvm::SmallVector<tt::DotScaledOp> dots;
  module->walk([&](tt::DotScaledOp op) { dots.push_back(op); });
  for (tt::DotScaledOp op : dots) {
    mlir::OpBuilder builder(op);
    if (failed(ScaledDotRewriter(builder, op).run())) return mlir::failure();
    changed = true;
  }
  return mlir::success();
}

}  // namespace nereid
