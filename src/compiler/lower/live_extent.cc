// How much of a tensor anybody can see. A kernel that has 3 rows of work makes a tile of 4, since
// tiles are powers of two, and masks the last one off where it stores; dots need not compute it.
#include "llvm/ADT/DenseSet.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "src/compiler/lower/plan.h"

namespace nereid::lower {
namespace {

namespace tt = mlir::triton;
namespace scf = mlir::scf;
namespace arith = mlir::arith;

struct Place {
  mlir::Value value;
  int64_t dim;
};

// From this index on along `dim`, a mask is certainly false.
int64_t end_of_mask(mlir::Value mask, int64_t dim, int depth = 0) {
  const int64_t all = shape_of(mask)[static_cast<size_t>(dim)];
  mlir::Operation* op = mask.getDefiningOp();
  if (!op || depth > 16 || all == 1) return all;
  if (mlir::isa<arith::AndIOp>(op)) {
    return std::min(end_of_mask(op->getOperand(0), dim, depth + 1),
                    end_of_mask(op->getOperand(1), dim, depth + 1));
  }
  if (mlir::isa<tt::BroadcastOp>(op)) {
    mlir::Value source = op->getOperand(0);
    if (shape_of(source)[static_cast<size_t>(dim)] != all) return all;
    return end_of_mask(source, dim, depth + 1);
  }
  if (auto expand = mlir::dyn_cast<tt::ExpandDimsOp>(op)) {
    const int64_t axis = expand.getAxis();
    return dim == axis ? all : end_of_mask(expand.getSrc(), dim > axis ? dim - 1 : dim, depth + 1);
  }
  auto compare = mlir::dyn_cast<arith::CmpIOp>(op);
  if (!compare) return all;
  auto range = compare.getLhs().getDefiningOp<tt::MakeRangeOp>();
  const std::optional<int64_t> bound = splat_of(compare.getRhs());
  const bool below = compare.getPredicate() == arith::CmpIPredicate::slt ||
                     compare.getPredicate() == arith::CmpIPredicate::ult;
  if (!range || !bound || *bound < 0 || !below) return all;
  return std::clamp<int64_t>(*bound - range.getStart(), 0, all);
}

// Follows a tensor to everything that is made of it.
class Readers {
 public:
  // The largest extent that is seen of what is made of `place`, along its dimension.
  int64_t extent(Place place) {
    work_.push_back(place);
    while (!work_.empty()) {
      const Place next = work_.pop_back_val();
      if (!seen_.insert({next.value, next.dim}).second) continue;
      for (mlir::OpOperand& use : next.value.getUses()) visit(use, next.dim);
    }
    return extent_;
  }

 private:
  void see(int64_t extent) { extent_ = std::max(extent_, extent); }
  void see_all(const mlir::OpOperand& use, int64_t dim) {
    see(shape_of(use.get())[static_cast<size_t>(dim)]);
  }
  void follow(mlir::Value value, int64_t dim) { work_.push_back({value, dim}); }

  void visit(mlir::OpOperand& use, int64_t dim) {
    mlir::Operation* op = use.getOwner();
    const unsigned index = use.getOperandNumber();
    if (auto store = mlir::dyn_cast<tt::StoreOp>(op)) {
      if (!store.getMask() || use.get() == store.getMask()) return see_all(use, dim);
      return see(end_of_mask(store.getMask(), dim));
    }
    if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
      // An address that nobody wants the contents of is read all the same.
      const bool instead = load.getOther() && use.get() == load.getOther() &&
                           use.get() != load.getMask() && use.get() != load.getPtr();
      return instead ? follow(load.getResult(), dim) : see_all(use, dim);
    }
    if (is_elementwise_op(op)) {
      for (mlir::Value result : op->getResults()) follow(result, dim);
      return;
    }
    if (mlir::isa<tt::BroadcastOp>(op)) {
      const auto at = static_cast<size_t>(dim);
      if (shape_of(op->getResult(0))[at] != shape_of(use.get())[at]) return see_all(use, dim);
      return follow(op->getResult(0), dim);
    }
    if (auto expand = mlir::dyn_cast<tt::ExpandDimsOp>(op)) {
      return follow(op->getResult(0), dim < int64_t{expand.getAxis()} ? dim : dim + 1);
    }
    if (auto reduce = mlir::dyn_cast<tt::ReduceOp>(op)) {
      const int64_t axis = reduce.getAxis();
      if (dim == axis || reduce->getNumResults() <= index) return see_all(use, dim);
      for (mlir::Value result : reduce->getResults()) {
        if (!is_tensor(result)) return see_all(use, dim);
        follow(result, dim > axis ? dim - 1 : dim);
      }
      return;
    }
    if (auto dot = mlir::dyn_cast<tt::DotOp>(op)) {
      const auto rank = static_cast<int64_t>(shape_of(use.get()).size());
      const bool summed = index < 2 && dim == (index == 0 ? rank - 1 : rank - 2);
      return summed ? see_all(use, dim) : follow(dot.getD(), dim);
    }
    if (auto loop = mlir::dyn_cast<scf::ForOp>(op)) {
      const unsigned first = loop.getNumControlOperands();
      if (index < first) return see_all(use, dim);
      follow(loop.getRegionIterArg(index - first), dim);
      return follow(loop.getResult(index - first), dim);
    }
    if (mlir::isa<scf::YieldOp>(op)) {
      mlir::Operation* parent = op->getParentOp();
      if (auto loop = mlir::dyn_cast<scf::ForOp>(parent)) {
        follow(loop.getRegionIterArg(index), dim);
        return follow(loop.getResult(index), dim);
      }
      if (mlir::isa<scf::IfOp>(parent)) return follow(parent->getResult(index), dim);
    }
    see_all(use, dim);
  }

  llvm::SmallVector<Place, 16> work_;
  llvm::DenseSet<std::pair<mlir::Value, int64_t>> seen_;
  int64_t extent_ = 0;
};

}  // namespace

int64_t live_extent(mlir::Value value, int64_t dim) {
  return Readers().extent({value, dim});
}

}  // namespace nereid::lower
