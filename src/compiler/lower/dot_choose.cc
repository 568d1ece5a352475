// Where a dot reads its operands. Each way is tried on code that is thrown away, and the cheapest
// wins: the cost of an access pattern is known for certain only once it is emitted.
#include <numeric>

#include "src/base/check.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

// Runs `probe` on code that is thrown away.
void Emitter::try_out(llvm::function_ref<void(llvm::BasicBlock*)> probe) {
  llvm::IRBuilderBase::InsertPointGuard guard(builder_);
  auto* block = new_block("probe");
  builder_.SetInsertPoint(block);
  std::vector<Memo> saved = std::move(memos_);
  memos_.clear();
  memos_.emplace_back();
  probe(block);
  memos_ = std::move(saved);
  NEREID_CHECK(builder_.GetInsertBlock() == block, "a probe opened a loop");
  for (llvm::Instruction& instruction : *block) {
    align_hints_.erase(&instruction);
    nonnegative_hints_.erase(&instruction);
  }
  block->eraseFromParent();
}

// Would the lanes of `point` be one plain, unmasked vector load?
bool Emitter::loads_contiguously(mlir::Value value, const Point& point) {
  auto element = mlir::getElementTypeOrSelf(value.getType());
  if (plan_.stored(value)) return false;
  bool answer = false;
  try_out([&](llvm::BasicBlock*) {
    auto [load, at] = find_load(value, point);
    if (!load || load.getMask()) return;
    Lanes pointer = eval(load.getPtr(), at);
    answer = point.lanes == 1 ? pointer.uniform() : pointer.affine() && !pointer.scale;
    for (unsigned lane = 0; answer && lane < point.lanes && point.lanes > 1; ++lane) {
      answer = (*pointer.pattern)[lane] == int64_t{lane} * element_bytes(element);
    }
  });
  return answer;
}

// Vector instructions for the lanes of `point`, roughly in cycles.
double Emitter::cost_at(mlir::Value value, llvm::function_ref<Point()> point, mlir::Type as) {
  double cost = 0;
  try_out([&](llvm::BasicBlock* block) {
    Point at = point();
    mlir::Type from = mlir::getElementTypeOrSelf(value.getType());
    Lanes lanes = convert_lanes(eval(value, at), from, as, at.lanes);
    if (lanes.uniform()) cost += 1;
    for (llvm::Instruction& instruction : *block) {
      auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
      if (call && call->getIntrinsicID() == llvm::Intrinsic::masked_gather) {
        cost += 20;
      } else if (llvm::isa<llvm::LoadInst>(instruction) && !instruction.getType()->isVectorTy()) {
        cost += 1;
      } else if (auto* type = llvm::dyn_cast<llvm::FixedVectorType>(instruction.getType())) {
        unsigned bits = type->getPrimitiveSizeInBits().getFixedValue();
        cost += std::max(1.0, double(bits) / (8 * target_.vector_bytes));
      }
    }
  });
  return cost;
}

// An index that no folding sees through.
Value* Emitter::unknown_index() {
  llvm::Type* type = builder_.getInt64Ty();
  return builder_.CreateFreeze(llvm::PoisonValue::get(type));
}

Pattern Emitter::steps(unsigned lanes) {
  std::vector<int64_t> iota(lanes);
  for (unsigned lane = 0; lane < lanes; ++lane) iota[lane] = lane;
  return patterns_.intern(std::move(iota));
}

void Emitter::choose_operands(DotPlan& dot) {
  mlir::Value a = dot.op.getA(), b = dot.op.getB();
  mlir::Type from_a = mlir::getElementTypeOrSelf(a.getType());
  mlir::Type from_b = mlir::getElementTypeOrSelf(b.getType());
  unsigned group = static_cast<unsigned>(dot.group), lanes = dot.lanes, width = lanes * group;
  bool many_registers = target_.vector_registers >= 32;
  dot.block_rows = std::min<int64_t>(dot.m, many_registers ? 8 : 4);
  double uses = double((dot.m + dot.block_rows - 1) / dot.block_rows);

  // b as vectors along n, groups of k inside.
  double in_place = cost_at(
      b, [&] { return group_point(dot, unknown_index(), 0, unknown_index()); }, dot.compute);
  double rows = group * cost_at(
                            b,
                            [&] {
                              Coord k{.base = unknown_index(), .align = 1};
                              return dot.point(
                                  {k, scaled_coord(unknown_index(), lanes, steps(lanes))}, lanes);
                            },
                            dot.compute) +
                group;
  bool square = dot.k % width == 0 && lanes >= 4 && from_b == dot.compute &&
                element_bytes(dot.compute) * group == element_bytes(dot.accumulator);
  double columns = 1e9;
  if (square) {
    columns =
        5 + cost_at(
                b,
                [&] {
                  Coord n{.base = unknown_index(), .align = 1};
                  return dot.point({scaled_coord(unknown_index(), width, steps(width)), n}, width);
                },
                dot.compute);
  }
  double packing = std::min(rows, columns) + 1 + uses;
  dot.b_source = in_place * uses <= packing ? BSource::kInPlace
                 : columns < rows           ? BSource::kTransposed
                                            : BSource::kRows;
  double outer = (std::min(packing, in_place * uses) + double(dot.m)) / group;

  // Few rows of a: vectors along k instead, summed up at the end.
  unsigned along = static_cast<unsigned>(std::gcd<int64_t>(dot.k, target_.vector_bytes / 4));
  bool possible = dot.m <= 4 && along == unsigned(target_.vector_bytes) / 4 &&
                  dot.accumulator.isF32() && dot.kind != DotKind::kInt8;
  if (possible) {
    mlir::Type f32 = dot.accumulator;
    double inner =
        double(dot.m) + double(dot.m) * 10 * along / double(dot.k) +
        cost_at(
            b,
            [&] {
              Coord n{.base = unknown_index(), .align = 1};
              return dot.point({scaled_coord(unknown_index(), along, steps(along)), n}, along);
            },
            f32);
    dot.inner_product = inner < outer;
  }
  if (dot.inner_product) return;

  // a: one scalar (or group along k) at a time, spread over the lanes while it is loaded.
  Coord a_k = scaled_coord(i64(0), dot.group, steps(group));
  Point first = dot.point({constant_coord(0), a_k}, group);
  const Buffer* stored = plan_.find(a);
  dot.a_in_place =
      from_a == dot.compute && (stored ? !stored->on_stack : loads_contiguously(a, first));
  if (dot.a_in_place && !stored) {
    auto load = find_load(a, first).first;
    for (size_t dim = 0; dim < shape_of(load.getPtr()).size(); ++dim) {
      dot.a_in_place &= step_along(load.getPtr(), dim, plan_).kind != Step::Kind::kOpaque;
    }
  }
}

}  // namespace nereid::lower
