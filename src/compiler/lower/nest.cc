// Loop nests over tiles: which dimension becomes vector lanes, how many, and the loops around them.
#include <numeric>

#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;

// Bytes of the widest element that is computed with when `value` is evaluated; index arithmetic
// does not count, since it mostly stays scalar.
unsigned Emitter::widest_element(mlir::Value value, llvm::DenseSet<mlir::Value>& seen) {
  if (!is_tensor(value) || !seen.insert(value).second) return 1;
  mlir::Type element = mlir::getElementTypeOrSelf(value.getType());
  mlir::Operation* op = value.getDefiningOp();
  bool recurse = op && is_lazy_op(op) && !plan_.stored(value);
  unsigned widest = 1;
  bool copies =
      !op || mlir::isa<tt::LoadOp, tt::BitcastOp, tt::ReshapeOp, tt::TransOp, tt::SplatOp,
                       tt::BroadcastOp, tt::ExpandDimsOp, arith::ConstantOp, arith::SelectOp>(op);
  if (!is_uniform_tensor(value) && !mlir::isa<tt::PointerType>(element)) {
    widest = element_bytes(element);
    if (mlir::isa<mlir::FloatType>(element) && !copies) widest = std::max(widest, 4u);
  }
  if (!recurse) return widest;
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    if (load.getOther()) widest = std::max(widest, widest_element(load.getOther(), seen));
    return widest;
  }
  if (mlir::isa<arith::CmpIOp>(op)) return widest;
  for (mlir::Value operand : op->getOperands()) {
    widest = std::max(widest, widest_element(operand, seen));
  }
  return widest;
}

unsigned Emitter::lanes_for(llvm::ArrayRef<mlir::Value> values) {
  unsigned widest = 1;
  llvm::DenseSet<mlir::Value> seen;
  for (mlir::Value value : values) widest = std::max(widest, widest_element(value, seen));
  return static_cast<unsigned>(target_.vector_bytes) / std::min(widest, 8u);
}

// How well lanes along `dim` suit the memory accesses that evaluating `value` makes.
int Emitter::lane_score(mlir::Value value, int64_t dim,
                        llvm::DenseSet<std::pair<mlir::Value, int64_t>>& seen) {
  if (!is_tensor(value) || !seen.insert({value, dim}).second) return 0;
  if (shape_of(value)[dim] == 1) return 0;
  if (const Buffer* buffer = plan_.find(value)) {
    int64_t inner = 1;
    for (size_t d = dim + 1; d < buffer->shape.size(); ++d) inner *= buffer->shape[d];
    return inner == 1 ? 2 : -2;
  }
  mlir::Operation* op = value.getDefiningOp();
  if (!op || !is_lazy_op(op)) return 0;
  if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    Step step = step_along(load.getPtr(), dim, plan_);
    if (step.kind == Step::Kind::kConstant) {
      if (step.value == 1) return 4;
      if (step.value == 0) return 1;
      return step.value == -1 ? 3 : -3;
    }
    return -4;
  }
  if (auto expand = mlir::dyn_cast<tt::ExpandDimsOp>(op)) {
    int64_t axis = expand.getAxis();
    return dim == axis ? 0 : lane_score(expand.getSrc(), dim < axis ? dim : dim - 1, seen);
  }
  if (auto trans = mlir::dyn_cast<tt::TransOp>(op)) {
    return lane_score(trans.getSrc(), trans.getOrder()[dim], seen);
  }
  if (auto reshape = mlir::dyn_cast<tt::ReshapeOp>(op)) {
    auto from = shape_of(reshape.getSrc()), to = shape_of(value);
    int64_t inner = 1, source_inner = 1;
    for (size_t d = dim + 1; d < to.size(); ++d) inner *= to[d];
    for (int64_t d = static_cast<int64_t>(from.size()) - 1; d >= 0; --d) {
      if (from[d] > 1 && source_inner == inner) return lane_score(reshape.getSrc(), d, seen);
      source_inner *= from[d];
    }
    return 0;
  }
  if (mlir::isa<tt::JoinOp>(op)) {
    if (dim + 1 == static_cast<int64_t>(shape_of(value).size())) return 1;
    return lane_score(op->getOperand(0), dim, seen) + lane_score(op->getOperand(1), dim, seen);
  }
  if (mlir::isa<tt::BroadcastOp>(op) || is_elementwise_op(op)) {
    int score = 0;
    for (mlir::Value operand : op->getOperands()) score += lane_score(operand, dim, seen);
    return score;
  }
  if (mlir::isa<tt::SplitOp>(op)) return lane_score(op->getOperand(0), dim, seen);
  return 0;
}

// `lanes` elements, filled up along the dimensions of `order`.
NestShape Emitter::make_nest(llvm::ArrayRef<int64_t> shape, unsigned lanes,
                             llvm::ArrayRef<int64_t> order) {
  NestShape nest;
  nest.shape.assign(shape.begin(), shape.end());
  nest.lane_shape.assign(shape.size(), 1);
  nest.lane_order.assign(order.begin(), order.end());
  int64_t rest = lanes, total = 1;
  for (int64_t dim : order) {
    int64_t take = std::gcd(shape[dim], rest);
    nest.lane_shape[dim] = take;
    rest /= take;
    if (take < shape[dim]) break;
  }
  nest.lanes = 1;
  for (int64_t take : nest.lane_shape) nest.lanes *= static_cast<unsigned>(take);
  for (int64_t extent : shape) total *= extent;
  nest.inner_dim = order.empty() ? 0 : order[0];
  nest.unrolled = small(total) || total == nest.lanes;
  return nest;
}

NestShape Emitter::plan_nest(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<mlir::Value> values,
                             llvm::ArrayRef<mlir::Value> stores) {
  int64_t rank = static_cast<int64_t>(shape.size()), best = rank - 1;
  int best_score = INT_MIN;
  for (int64_t dim = rank - 1; dim >= 0; --dim) {
    if (shape[dim] == 1) continue;
    llvm::DenseSet<std::pair<mlir::Value, int64_t>> seen;
    int score = 0;
    for (mlir::Value value : values) score += lane_score(value, dim, seen);
    for (mlir::Value pointer : stores) {
      Step step = step_along(pointer, dim, plan_);
      score += step.is(1) ? 5 : step.is(0) ? 0 : -5;
    }
    if (score > best_score) {
      best_score = score;
      best = dim;
    }
  }
  llvm::SmallVector<int64_t, 4> order;
  if (rank > 0) order.push_back(best);
  for (int64_t dim = rank - 1; dim >= 0; --dim) {
    if (dim != best) order.push_back(dim);
  }
  unsigned lanes = lanes_for(values);
  if (best_score < 0) lanes = std::min(lanes, 16u);  // element by element: keep the code short
  return make_nest(shape, lanes, order);
}

void Emitter::emit_loop(llvm::Value* begin, llvm::Value* end, llvm::Value* step,
                        llvm::function_ref<void(llvm::Value*)> body, int unroll) {
  auto* first = llvm::dyn_cast<llvm::ConstantInt>(begin);
  auto* last = llvm::dyn_cast<llvm::ConstantInt>(end);
  auto* stride = llvm::dyn_cast<llvm::ConstantInt>(step);
  if (first && last && stride) {
    int64_t low = first->getSExtValue(), high = last->getSExtValue();
    if (low >= high) return;
    if (low + stride->getSExtValue() >= high) {
      MemoLevel level(*this);
      body(begin);
      return;
    }
  }
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto *header = new_block("loop"), *exit = new_block("done");
  llvm::Value* enter = builder_.CreateICmpSLT(begin, end);
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(enter); known && known->isOne()) {
    builder_.CreateBr(header);
  } else {
    builder_.CreateCondBr(enter, header, exit);
  }
  builder_.SetInsertPoint(header);
  auto* index = open_phi(begin, before);
  align_hints_[index] = std::min(known_align(begin), known_align(step));
  if (known_nonnegative(begin)) nonnegative_hints_.insert(index);
  {
    MemoLevel level(*this);
    body(index);
  }
  llvm::Value* next = builder_.CreateAdd(index, step, "", true, true);
  close_phi(index, next, builder_.GetInsertBlock());
  auto* branch = builder_.CreateCondBr(builder_.CreateICmpSLT(next, end), header, exit);
  llvm::SmallVector<llvm::Metadata*, 3> notes = {nullptr};
  auto note = [&](llvm::StringRef name, std::optional<int> value) {
    llvm::SmallVector<llvm::Metadata*, 2> parts = {llvm::MDString::get(context_, name)};
    if (value) parts.push_back(llvm::ConstantAsMetadata::get(builder_.getInt32(*value)));
    notes.push_back(llvm::MDNode::get(context_, parts));
  };
  if (unroll > 1)
    note("llvm.loop.unroll.count", unroll);
  else
    note("llvm.loop.unroll.disable", std::nullopt);
  auto* node = llvm::MDNode::getDistinct(context_, notes);
  node->replaceOperandWith(0, node);
  branch->setMetadata(llvm::LLVMContext::MD_loop, node);
  builder_.SetInsertPoint(exit);
}

// Coordinates of all lanes relative to the point's base, per dimension.
static std::vector<int64_t> lane_offsets(const NestShape& nest, int64_t dim) {
  std::vector<int64_t> offsets(nest.lanes);
  int64_t inner = 1;
  for (int64_t d : nest.lane_order) {
    if (d == dim) break;
    inner *= nest.lane_shape[d];
  }
  for (unsigned lane = 0; lane < nest.lanes; ++lane) {
    offsets[lane] = (lane / inner) % nest.lane_shape[dim];
  }
  return offsets;
}

void Emitter::nest_level(const NestShape& nest, llvm::ArrayRef<int64_t> dims, Point& point,
                         PointFn body) {
  if (dims.empty()) {
    body(point);
    return;
  }
  int64_t dim = dims.front(), step = nest.lane_shape[dim], count = nest.shape[dim] / step;
  Pattern pattern = patterns_.intern(lane_offsets(nest, dim));
  auto at = [&](llvm::Value* index) {
    point.coords[dim] = scaled_coord(index, step, pattern);
    nest_level(nest, dims.drop_front(), point, body);
  };
  if (nest.unrolled || count == 1) {
    for (int64_t index = 0; index < count; ++index) at(i64(index));
    return;
  }
  bool innermost = dims.size() == 1;
  emit_loop(i64(0), i64(count), i64(1), at, innermost && count % 2 == 0 ? 2 : 1);
}

// Calls `body` with every point of the nest, in row-major order with the lane dimension innermost.
void Emitter::emit_nest(const NestShape& nest, PointFn body) {
  llvm::SmallVector<int64_t, 4> dims;
  int64_t rank = static_cast<int64_t>(nest.shape.size());
  for (int64_t dim = 0; dim < rank; ++dim) {
    if (dim != nest.inner_dim) dims.push_back(dim);
  }
  if (rank > 0) dims.push_back(nest.inner_dim);
  Point point;
  point.lanes = nest.lanes;
  point.coords.resize(rank);
  MemoLevel level(*this);
  nest_level(nest, dims, point, body);
}

}  // namespace nereid::lower
