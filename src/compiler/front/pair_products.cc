// Two products of 16-bit numbers and their sum, which x86 makes with one instruction, vpmaddwd, or
// with another one adds to a sum, vpdpwssd. Kernels write them on 32-bit words (linear_pairs.py):
//
//   low(a) * low(w) + low(b) * high(w)      low(v) = (v << 16) >> 16, high(v) = v >> 16
//
// becomes `tt.pair_dot a, b << 16, w`, and where both a and b are (low(v) * part + 16384) >> 15,
// for the two halves of one word of parts, `tt.pair_scale` makes them, with vpmulhrsw.
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/rewrite.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

Value without_broadcast(Value value) {
  auto wide = value.getDefiningOp<tt::BroadcastOp>();
  return wide ? wide.getSrc() : value;
}

// v of `v >> 16`, below a broadcast.
Value upper_source(Value value) {
  auto shift = without_broadcast(value).getDefiningOp<arith::ShRSIOp>();
  return shift && is_constant(shift.getRhs(), 16) ? shift.getLhs() : Value();
}

// v of `(v << 16) >> 16`, below a broadcast.
Value lower_source(Value value) {
  const Value up = upper_source(value);
  auto shift = up ? up.getDefiningOp<arith::ShLIOp>() : nullptr;
  return shift && is_constant(shift.getRhs(), 16) ? shift.getLhs() : Value();
}

// The sources of low(low) * low(words) + low(high) * high(words), each as wide as it is there or
// narrower.
struct Pair {
  Value low, high, words;
};

std::optional<Pair> match_products(Value first, Value second) {
  auto low = first.getDefiningOp<arith::MulIOp>(), high = second.getDefiningOp<arith::MulIOp>();
  if (!low || !high) return std::nullopt;
  Pair pair{.low = lower_source(low.getLhs()),
            .high = lower_source(high.getLhs()),
            .words = lower_source(low.getRhs())};
  if (!pair.low || !pair.high || !pair.words || upper_source(high.getRhs()) != pair.words)
    return std::nullopt;
  return pair;
}

// The product of `(product + 16384) >> 15`.
Value rounded_product(Value value) {
  auto shift = value.getDefiningOp<arith::ShRSIOp>();
  if (!shift || !is_constant(shift.getRhs(), 15)) return {};
  auto sum = shift.getLhs().getDefiningOp<arith::AddIOp>();
  return sum && is_constant(sum.getRhs(), 16384) ? sum.getLhs() : Value();
}

class Rewriter {
 public:
  explicit Rewriter(arith::AddIOp op) : op_(op), builder_(op) {}

  Value dot(Pair pair) {
    if (auto scaled = match_scaled(pair)) {
      const Value both =
          make<tt::PairScaleOp>(scaled->low, shifted_up(scaled->high), scaled->words);
      return make<tt::PairDotOp>(both, both, pair.words);
    }
    return make<tt::PairDotOp>(pair.low, shifted_up(pair.high), pair.words);
  }

 private:
  static std::optional<Pair> match_scaled(const Pair& pair) {
    const Value low = rounded_product(pair.low), high = rounded_product(pair.high);
    return low && high ? match_products(low, high) : std::nullopt;
  }

  // A word with the lower half of `value` in its upper one.
  Value shifted_up(Value value) {
    if (Value source = upper_source(value)) return source;
    value = widened(value);
    const Value sixteen = arith::ConstantOp::create(
        builder_, op_.getLoc(),
        mlir::DenseElementsAttr::get(mlir::cast<mlir::ShapedType>(value.getType()),
                                     builder_.getI32IntegerAttr(16)));
    return arith::ShLIOp::create(builder_, op_.getLoc(), value, sixteen);
  }

  Value widened(Value value) {
    if (value.getType() == op_.getType()) return value;
    return tt::BroadcastOp::create(builder_, op_.getLoc(), op_.getType(), value);
  }

  template <typename PairOp>
  Value make(Value low, Value high, Value words) {
    return PairOp::create(builder_, op_.getLoc(), op_.getType(), widened(low), widened(high),
                          widened(words));
  }

  arith::AddIOp op_;
  mlir::OpBuilder builder_;
};

}  // namespace

void combine_pair_products(mlir::ModuleOp module, const TargetInfo& target, bool& changed) {
  if (!target.has_avx2) return;
  llvm::SmallVector<arith::AddIOp, 16> sums;
  module->walk([&](arith::AddIOp op) {
    auto type = mlir::dyn_cast<mlir::RankedTensorType>(op.getType());
    if (type && type.getElementType().isInteger(32)) sums.push_back(op);
  });
  for (arith::AddIOp op : sums) {
    const auto pair = match_products(op.getLhs(), op.getRhs());
    if (!pair) continue;
    op.replaceAllUsesWith(Rewriter(op).dot(*pair));
    op.erase();
    changed = true;
  }
}

}  // namespace nereid
