// Bytes of 8 bits without a sign, multiplied in two parts: kernels write two dots, of the low seven
// bits and of the highest one, since bytes of tl.dot have signs. Processors whose instruction wants
// one operand without signs take the bytes whole.
#include "mlir/IR/Matchers.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/rewrite.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

// low = dot(a, u & 127, 128 * high (+ start)), high = dot(a, (u >> 7) & 1, 0).
struct TwoParts {
  tt::DotOp low;
  Value bytes;  // u
  Value start;  // none: zero, as high starts from
  tt::DotOp high;
};

// u of `u & 127`.
Value low_bits(Value value) {
  auto masked = value.getDefiningOp<arith::AndIOp>();
  return masked && is_constant(masked.getRhs(), 127) ? masked.getLhs() : Value();
}

// u of `(u >> 7) & 1`.
Value highest_bit(Value value) {
  auto masked = value.getDefiningOp<arith::AndIOp>();
  if (!masked || !is_constant(masked.getRhs(), 1)) return {};
  mlir::Operation* shift = masked.getLhs().getDefiningOp();
  if (!shift || !mlir::isa<arith::ShRSIOp, arith::ShRUIOp>(shift)) return {};
  return is_constant(shift->getOperand(1), 7) ? shift->getOperand(0) : Value();
}

// The dot of `dot * 128`.
tt::DotOp scaled_dot(Value value) {
  auto product = value.getDefiningOp<arith::MulIOp>();
  if (!product || !is_constant(product.getRhs(), 128)) return {};
  return product.getLhs().getDefiningOp<tt::DotOp>();
}

std::optional<TwoParts> match(tt::DotOp low) {
  TwoParts parts{.low = low, .bytes = low_bits(low.getB())};
  for (Value operand : {low.getA(), low.getB()})
    if (!mlir::getElementTypeOrSelf(operand.getType()).isInteger(8)) return std::nullopt;
  parts.high = scaled_dot(low.getC());
  if (auto sum = low.getC().getDefiningOp<arith::AddIOp>()) {
    const bool first = static_cast<bool>(scaled_dot(sum.getLhs()));
    parts.high = scaled_dot(first ? sum.getLhs() : sum.getRhs());
    parts.start = first ? sum.getRhs() : sum.getLhs();
  }
  if (!parts.bytes || !parts.high || parts.high.getA() != low.getA() ||
      highest_bit(parts.high.getB()) != parts.bytes ||
      !mlir::matchPattern(parts.high.getC(), mlir::m_Zero()))
    return std::nullopt;
  return parts;
}

}  // namespace

void combine_unsigned_dots(mlir::ModuleOp module, const TargetInfo& target, bool& changed) {
  if (!target.wants_unsigned_operand()) return;
  llvm::SmallVector<TwoParts, 4> found;
  module->walk([&](tt::DotOp op) {
    if (auto parts = match(op)) found.push_back(*parts);
  });
  for (TwoParts& parts : found) {
    mlir::OpBuilder builder(parts.low);
    auto type = mlir::cast<mlir::RankedTensorType>(parts.bytes.getType());
    Value wide = arith::ExtUIOp::create(builder, parts.low.getLoc(),
                                        type.clone(builder.getIntegerType(16)), parts.bytes);
    parts.low.getBMutable().assign(wide);
    parts.low.getCMutable().assign(parts.start ? parts.start : parts.high.getC());
    changed = true;
  }
}

}  // namespace nereid
