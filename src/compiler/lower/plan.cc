// Decides, before any code is emitted, which tensors are kept in a buffer and which are recomputed
// where they are read. Works backwards through the program: how often a value is read is known once
// it is known which of its users are recomputed.
#include "src/compiler/lower/plan.h"

#include "src/compiler/lower/planner.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace scf = mlir::scf;
namespace arith = mlir::arith;

Planner::Planner(tt::FuncOp func, const TargetInfo& target) : func_(func), target_(target) {
  small_elements_ = small_tile_elements(target);
}

int64_t small_tile_elements(const TargetInfo& target) {
  return std::max<int64_t>(128, 16 * std::max(8, target.lanes(4)));
}

Plan Planner::run() {
  number(func_.getOperation());
  find_inductions();
  for (mlir::Operation* op : llvm::reverse(order_)) {
    if (auto loop = mlir::dyn_cast<scf::ForOp>(op)) {
      for (mlir::Value argument : loop.getRegionIterArgs()) collect_readers(argument);
    }
    if (auto loop = mlir::dyn_cast<scf::WhileOp>(op)) {
      for (mlir::Value argument : loop.getBeforeArguments()) collect_readers(argument);
      for (mlir::Value argument : loop.getAfterArguments()) collect_readers(argument);
    }
    for (mlir::Value result : op->getResults()) {
      if (!is_tensor(result)) continue;
      collect_readers(result);
      if (decide(op, result)) stored_.insert(result);
    }
  }
  assign_buffers();
  place_buffers();
  return std::move(plan_);
}

void Planner::number(mlir::Operation* op) {
  plan_.position[op] = ++counter_;
  if (op != func_.getOperation()) order_.push_back(op);
  bool writes = mlir::isa<tt::StoreOp, tt::AtomicRMWOp, tt::AtomicCASOp, tt::AtomicStoreOp,
                          tt::AtomicLoadOp, tt::AtomicPollOp, tt::DescriptorStoreOp,
                          tt::DescriptorReduceOp, tt::DescriptorScatterOp, tt::CallOp>(op);
  if (auto assembly = mlir::dyn_cast<tt::ElementwiseInlineAsmOp>(op)) writes = !assembly.getPure();
  if (writes) writes_.push_back(counter_);
  // The regions of reduce, scan and map_elementwise hold scalars only.
  if (!mlir::isa<tt::ReduceOp, tt::ScanOp, tt::MapElementwiseOp>(op)) {
    for (mlir::Region& region : op->getRegions()) {
      for (mlir::Block& block : region) {
        for (mlir::Operation& inner : block) number(&inner);
      }
    }
  }
  plan_.end_position[op] = counter_;
}

// yield = arg + uniform + uniform ...
void Planner::find_inductions() {
  for (mlir::Operation* op : order_) {
    auto loop = mlir::dyn_cast<scf::ForOp>(op);
    if (!loop) continue;
    auto* yield = loop.getBody()->getTerminator();
    for (auto [index, argument] : llvm::enumerate(loop.getRegionIterArgs())) {
      if (!is_tensor(argument)) continue;
      mlir::Type element = mlir::getElementTypeOrSelf(argument.getType());
      bool pointer = mlir::isa<tt::PointerType>(element);
      if (!pointer && !element.isInteger()) continue;
      Induction induction{loop.getInitArgs()[index], {}, pointer};
      mlir::Value value = yield->getOperand(index);
      bool found = value == argument;
      while (!found) {
        mlir::Operation* step = value.getDefiningOp();
        if (!mlir::isa_and_nonnull<tt::AddPtrOp, arith::AddIOp>(step)) break;
        mlir::Value base = step->getOperand(0), increment = step->getOperand(1);
        if (mlir::isa<arith::AddIOp>(step) && is_uniform_tensor(base)) std::swap(base, increment);
        if (!is_uniform_tensor(increment)) break;
        induction.increments.push_back(increment);
        value = base;
        found = value == argument;
      }
      if (found) plan_.inductions[argument] = std::move(induction);
    }
  }
}

// Loops between the block that defines a value and an op that uses it; the outermost one too.
std::pair<int, mlir::Operation*> Planner::loops_between(mlir::Block* outer, mlir::Operation* user) {
  int loops = 0;
  mlir::Operation* outermost = nullptr;
  mlir::Operation* op = user;
  while (op && op->getBlock() != outer) {
    op = op->getParentOp();
    if (!op || op == func_.getOperation()) return {loops, outermost};
    if (mlir::isa<scf::ForOp, scf::WhileOp>(op)) {
      ++loops;
      outermost = op;
    }
  }
  return {loops, outermost};
}

void Planner::add_reader(Readers& readers, mlir::Operation* root, double times) {
  for (auto& [known, count] : readers.roots) {
    if (known == root) {
      count = std::max(count, times);
      return;
    }
  }
  readers.roots.push_back({root, times});
}

void Planner::inherit_readers(Readers& readers, mlir::Value through, double factor) {
  const Readers& inner = readers_[through];
  for (auto [root, times] : inner.roots) add_reader(readers, root, times * factor);
  readers.last = std::max(readers.last, inner.last);
  readers.other_block |= inner.other_block;
}

void Planner::collect_readers(mlir::Value value) {
  if (!is_tensor(value)) return;
  Readers readers;
  mlir::Block* home = value.getParentBlock();
  for (mlir::OpOperand& use : value.getUses()) {
    mlir::Operation* user = use.getOwner();
    auto [loops, outermost] = loops_between(home, user);
    double factor = 1;
    for (int loop = 0; loop < loops; ++loop) factor *= 8;
    unsigned last = outermost ? plan_.end_position[outermost] : plan_.position[user];
    readers.last = std::max(readers.last, last);
    mlir::Operation* ancestor = home->findAncestorOpInBlock(*user);
    readers.other_block |= ancestor == nullptr;
    if (auto loop = mlir::dyn_cast<scf::ForOp>(user)) {
      int64_t index = static_cast<int64_t>(use.getOperandNumber()) - 3;
      if (index >= 0 && plan_.inductions.count(loop.getRegionIterArg(index))) {
        inherit_readers(readers, loop.getRegionIterArg(index), factor * 8);
        inherit_readers(readers, loop.getResult(index), factor);
        readers.last = std::max(readers.last, plan_.end_position[user]);
        continue;
      }
    }
    if (is_lazy_op(user)) {
      bool through = false;
      for (mlir::Value result : user->getResults()) {
        if (!is_tensor(result) || stored_.count(result)) {
          add_reader(readers, user, factor);
          continue;
        }
        through = true;
        double ratio = 1;
        if (mlir::isa<tt::BroadcastOp>(user)) {
          ratio = double(num_elements(result.getType())) / num_elements(value.getType());
        }
        inherit_readers(readers, result, factor * ratio);
      }
      if (through) continue;
    }
    add_reader(readers, user, factor);
  }
  readers_[value] = std::move(readers);
}

double Planner::own_cost(mlir::Operation* op) {
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    Step step = step_along(load.getPtr(), shape_of(load.getPtr()).size() - 1, plan_);
    if (step.kind != Step::Kind::kConstant || step.value < 0 || step.value > 1) {
      bool any_unit = false;
      for (size_t dim = 0; dim < shape_of(load.getPtr()).size(); ++dim) {
        any_unit |= step_along(load.getPtr(), dim, plan_).is(1);
      }
      if (!any_unit) return 16;
    }
    return load.getMask() ? 2 : 1;
  }
  if (mlir::isa<arith::ConstantOp, tt::SplatOp, tt::MakeRangeOp, tt::ExpandDimsOp, tt::BroadcastOp,
                tt::TransOp, tt::AddPtrOp, arith::BitcastOp, tt::BitcastOp>(op)) {
    return 0;
  }
  if (mlir::isa<tt::GatherOp>(op)) return 16;
  if (mlir::isa<tt::ReshapeOp, tt::JoinOp, tt::SplitOp>(op)) return 1;
  llvm::StringRef dialect = op->getName().getDialectNamespace();
  if (mlir::isa<mlir::math::AbsFOp, mlir::math::FmaOp, mlir::math::FloorOp, mlir::math::CeilOp>(op))
    return 1;
  if (dialect == "math") return 12;
  if (mlir::isa<tt::FpToFpOp, tt::ExternElementwiseOp, tt::PairDotOp, tt::PairScaleOp>(op))
    return 10;
  if (mlir::isa<arith::DivFOp, tt::PreciseDivFOp, tt::ApproxDivFOp, arith::RemFOp>(op)) return 6;
  mlir::Type element = mlir::getElementTypeOrSelf(op->getResult(0).getType());
  if (mlir::isa<arith::DivSIOp, arith::RemSIOp, arith::DivUIOp, arith::RemUIOp>(op)) return 3;
  if (mlir::isa<arith::ExtSIOp, arith::ExtUIOp, arith::AddIOp, arith::MulIOp, arith::SubIOp,
                arith::CmpIOp, arith::AndIOp>(op) &&
      element.getIntOrFloatBitWidth() != 8) {
    return 0.4;
  }
  return 1;
}

// Cost per element of evaluating `value` where it is read. Values that will surely be stored count
// as one read.
double Planner::lazy_cost(mlir::Value value) {
  mlir::Operation* op = value.getDefiningOp();
  if (!op || !is_lazy_op(op) || !is_tensor(value)) return 0.5;
  if (is_uniform_tensor(value)) return 0.2;
  auto it = costs_.find(value);
  if (it != costs_.end()) return it->second;
  double cost = own_cost(op);
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    if (load.getMask()) cost += 0.5 * lazy_cost(load.getMask());
  } else {
    for (mlir::Value operand : op->getOperands()) {
      bool spread = mlir::isa<tt::BroadcastOp>(op);
      if (is_tensor(operand)) cost += (spread ? 0.3 : 1) * lazy_cost(operand);
    }
  }
  cost = std::min(cost, 1e5);
  costs_[value] = cost;
  return cost;
}

bool Planner::is_yielded(mlir::Value value) {
  for (mlir::OpOperand& use : value.getUses()) {
    mlir::Operation* user = use.getOwner();
    if (mlir::isa<scf::YieldOp>(user) && mlir::isa<scf::ForOp>(user->getParentOp())) {
      auto loop = mlir::cast<scf::ForOp>(user->getParentOp());
      if (plan_.inductions.count(loop.getRegionIterArg(use.getOperandNumber()))) continue;
      return true;
    }
    if (mlir::isa<scf::YieldOp, scf::ConditionOp, mlir::cf::BranchOp, mlir::cf::CondBranchOp>(user))
      return true;
  }
  return false;
}

// Computed from ranges, constants and scalars only: mostly folded into addresses.
bool Planner::is_index_like(mlir::Value value) {
  llvm::SmallVector<mlir::Value, 16> work = {value};
  llvm::DenseSet<mlir::Value> seen;
  while (!work.empty()) {
    mlir::Value next = work.pop_back_val();
    if (!is_tensor(next) || !seen.insert(next).second) continue;
    if (plan_.inductions.count(next)) continue;
    mlir::Operation* op = next.getDefiningOp();
    if (!op || stored_.count(next) || mlir::isa<tt::LoadOp, tt::GatherOp>(op)) return false;
    if (!is_lazy_op(op)) return false;
    work.append(op->operand_begin(), op->operand_end());
  }
  return true;
}

bool Planner::decide(mlir::Operation* op, mlir::Value value) {
  if (!is_lazy_op(op)) {
    if (auto loop = mlir::dyn_cast<scf::ForOp>(op)) {
      unsigned index = mlir::cast<mlir::OpResult>(value).getResultNumber();
      return !plan_.inductions.count(loop.getRegionIterArg(index));
    }
    return true;
  }
  const Readers& readers = readers_[value];
  if (readers.roots.empty()) return false;
  if (mlir::isa<arith::ConstantOp>(op)) return false;
  if (is_yielded(value)) return true;
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    if (load_is_endangered(load, readers)) return true;
  }
  for (mlir::OpOperand& use : value.getUses()) {
    auto gather = mlir::dyn_cast<tt::GatherOp>(use.getOwner());
    if (gather && use.getOperandNumber() == 0) return true;
  }
  mlir::Type element = mlir::getElementTypeOrSelf(value.getType());
  if (mlir::isa<tt::PointerType>(element) || is_uniform_tensor(value)) return false;
  double times = 0;
  for (auto [root, count] : readers.roots) times += count;
  double cost = lazy_cost(value);
  bool small = num_elements(value.getType()) <= small_elements_;
  if (element.isInteger() && cost < (is_index_like(value) ? 40 : 4) && !mlir::isa<tt::LoadOp>(op)) {
    return false;
  }
  if (small) return times > 1.01 && cost >= 1.5;
  return (cost - 1) * times > cost + 3;
}

Plan make_plan(tt::FuncOp func, const TargetInfo& target) {
  return Planner(func, target).run();
}

}  // namespace nereid::lower
