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

// Vectors of b along k, for one n: what transposing and the inner product read.
double Emitter::cost_along_k(DotPlan& dot, unsigned width, mlir::Type as) {
  auto point = [&] {
    Coord n{.base = unknown_index(), .align = 1};
    return dot.point({scaled_coord(unknown_index(), width, steps(width)), n}, width);
  };
  return cost_at(dot.b_value, point, as);
}

// How b reaches the inner loop; the cost of that and of the arithmetic, per vector of d and k.
double Emitter::choose_b(DotPlan& dot) {
  mlir::Value b = dot.b_value;
  if (const Buffer* stored = plan_.find(b); stored && packed_for(b)) {
    dot.b = storage_of(*stored);
    dot.b_source = BSource::kInPlace;
    return 0;
  }
  unsigned group = static_cast<unsigned>(dot.group), lanes = dot.lanes, width = lanes * group;
  const auto blocks = (dot.rows + dot.block_rows - 1) / dot.block_rows;
  double uses = double(blocks);
  auto vector = [&] { return group_point(dot, unknown_index(), 0, unknown_index()); };
  auto row = [&] {
    Coord k{.base = unknown_index(), .align = 1};
    return dot.point({k, scaled_coord(unknown_index(), lanes, steps(lanes))}, lanes);
  };
  // Bytes to words: both halves.
  const double split = dot.words ? 3 : 0, parts = double(dot.parts());
  double once = cost_at(b, vector, dot.compute), in_place = uses * (once + split);
  if (dot.tiles) in_place = reads_b_tiles_in_place(dot) ? 0 : 1e9;
  double rows = group * cost_at(b, row, dot.compute) + group;
  bool square = dot.k % width == 0 && lanes >= 4 &&
                mlir::getElementTypeOrSelf(b.getType()) == dot.compute &&
                element_bytes(dot.compute) * group == element_bytes(dot.accumulator);
  double columns = square ? 5 + cost_along_k(dot, width, dot.compute) : 1e9;
  double cheapest = std::min({once, rows, columns});
  double packing = cheapest + split + parts * (1 + uses);
  dot.b_source = in_place <= packing   ? BSource::kInPlace
                 : cheapest == once    ? BSource::kVectors
                 : cheapest == columns ? BSource::kTransposed
                                       : BSource::kRows;
  dot.b_plain = dot.b_source == BSource::kInPlace &&
                mlir::getElementTypeOrSelf(b.getType()) == dot.compute &&
                loads_contiguously(b, vector());
  return (std::min(packing, in_place) + double(dot.rows)) / group;
}

// a is read one scalar (or group along k) at a time and spread over the lanes while it is loaded.
bool Emitter::reads_a_in_place(DotPlan& dot) {
  mlir::Value a = dot.op.getA();
  if (dot.shifted_a || dot.words) return false;  // changed while it is packed
  if (mlir::getElementTypeOrSelf(a.getType()) != dot.compute) return false;
  if (const Buffer* stored = plan_.find(a)) return !stored->on_stack;
  unsigned group = static_cast<unsigned>(dot.group);
  Coord k = scaled_coord(i64(0), dot.group, steps(group));
  Point first = dot.point({constant_coord(0), k}, group);
  if (!loads_contiguously(a, first)) return false;
  auto load = find_load(a, first).first;
  for (size_t dim = 0; dim < shape_of(load.getPtr()).size(); ++dim) {
    if (step_along(load.getPtr(), dim, plan_).kind == Step::Kind::kOpaque) return false;
  }
  return true;
}

void Emitter::choose_operands(DotPlan& dot) {
  // By two vectors, these are as many sums as registers hold beside two vectors of b and one of a.
  // AVX2's bytes need more registers on the way.
  int64_t rows = target_.vector_registers >= 32 ? 8 : dot.kind == DotKind::kInt8 ? 4 : 6;
  dot.block_rows = std::min<int64_t>(dot.rows, rows);
  double outer = choose_b(dot);
  if (dot.tiles) {
    dot.a_in_place = reads_a_tiles_in_place(dot);
    return;
  }
  // Few rows of a: vectors along k instead, summed up at the end.
  unsigned along = static_cast<unsigned>(std::gcd<int64_t>(dot.k, target_.vector_bytes / 4));
  bool possible = dot.m <= 4 && along == unsigned(target_.vector_bytes) / 4 &&
                  dot.accumulator.isF32() && dot.kind != DotKind::kInt8;
  if (possible) {
    double sums = double(dot.m) * 10 * along / double(dot.k);
    double inner = double(dot.m) + sums + cost_along_k(dot, along, dot.accumulator);
    dot.inner_product = inner < outer;
  }
  if (!dot.inner_product) dot.a_in_place = reads_a_in_place(dot);
}

}  // namespace nereid::lower
