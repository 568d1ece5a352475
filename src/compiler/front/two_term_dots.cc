// A number of 15 bits as two bytes, x = f * first + second, multiplied term by term: kernels write
// two dots, since tl.dot takes bytes at most. Processors without dot products of bytes widen them
// to 16 bits first, and x fits there.
#include "mlir/IR/Matchers.h"
#include "src/compiler/front/rewrite.h"
#include "src/compiler/front/tile_builder.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using mlir::Value;

// Two dots of bytes with the same b: second = dot(a', b, f * first), first = dot(a, b, 0).
struct TwoTerms {
  tt::DotOp first, second;
  arith::MulIOp product;
  int64_t factor = 0;
};

std::optional<TwoTerms> match(tt::DotOp second) {
  TwoTerms terms{.second = second};
  terms.product = second.getC().getDefiningOp<arith::MulIOp>();
  if (!terms.product || !terms.product->hasOneUse()) return std::nullopt;
  terms.first = terms.product.getLhs().getDefiningOp<tt::DotOp>();
  llvm::APInt factor;
  if (!terms.first || !terms.first->hasOneUse() || terms.first.getB() != second.getB() ||
      !mlir::matchPattern(terms.first.getC(), mlir::m_Zero()) ||
      !mlir::matchPattern(terms.product.getRhs(), mlir::m_ConstantInt(&factor)))
    return std::nullopt;
  for (Value bytes : {terms.first.getA(), second.getA(), second.getB()})
    if (!mlir::getElementTypeOrSelf(bytes.getType()).isInteger(8)) return std::nullopt;
  terms.factor = factor.getSExtValue();
  // So that -128 * f - 128 and 127 * f + 127 fit into 16 bits, whatever the sign of f.
  if (terms.factor < -255 || terms.factor > 255) return std::nullopt;
  return terms;
}

}  // namespace

void combine_two_term_dots(mlir::ModuleOp module, const TargetInfo& target) {
  if (!target.has_avx2 || target.has_int8_dot) return;
  llvm::SmallVector<TwoTerms, 4> found;
  module->walk([&](tt::DotOp op) {
    if (auto terms = match(op)) found.push_back(*terms);
  });
  for (TwoTerms& terms : found) {
    mlir::OpBuilder builder(terms.second);
    TileBuilder t(builder, terms.second.getLoc());
    Value x = t.extend(terms.first.getA(), builder.getIntegerType(16));
    x = t.multiply(x, t.integer(terms.factor, x.getType()));
    x = t.add(x, t.extend(terms.second.getA(), builder.getIntegerType(16)));
    terms.second.getAMutable().assign(x);
    terms.second.getCMutable().assign(terms.first.getC());
    terms.product.erase();
    terms.first.erase();
  }
}

}  // namespace nereid
