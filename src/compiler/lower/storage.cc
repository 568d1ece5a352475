// Gives every stored tensor a buffer, lets results overwrite operands that die there, and packs
// buffers into the scratch area so that tiles which are never alive together share memory.
#include "src/compiler/lower/planner.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace scf = mlir::scf;

constexpr uint64_t kMaxStackBytes = 64 << 10;
constexpr uint64_t kBufferAlign = 64;

int Planner::new_buffer(mlir::Value value) {
  auto type = mlir::cast<mlir::RankedTensorType>(value.getType());
  Buffer buffer;
  buffer.shape.assign(type.getShape().begin(), type.getShape().end());
  buffer.element = type.getElementType();
  buffer.bytes = type.getNumElements() * element_bytes(buffer.element);
  buffer.on_stack = type.getNumElements() <= small_elements_;
  buffer.first = ~0u;
  plan_.buffers.push_back(std::move(buffer));
  return static_cast<int>(plan_.buffers.size()) - 1;
}

// `value` lives in the buffer from position `from` to its last reader.
void Planner::extend(int index, mlir::Value value, unsigned from) {
  Buffer& buffer = plan_.buffers[index];
  const Readers& readers = readers_[value];
  buffer.first = std::min(buffer.first, from);
  buffer.last = std::max({buffer.last, from, readers.last});
  if (readers.other_block) {  // basic blocks are not in time order
    buffer.first = 0;
    buffer.last = counter_;
  }
}

// Lets the value that a loop yields for `carried` be computed in place.
void Planner::share_with_carried(mlir::Value yielded, mlir::Value carried, int buffer) {
  mlir::Operation* op = yielded.getDefiningOp();
  if (!op || !stored_.count(yielded) || plan_.stored(yielded)) return;
  if (op->getBlock() != carried.getParentBlock()) return;
  if (readers_[carried].last > plan_.position[op]) return;
  if (op->getNumRegions() != 0 || mlir::isa<tt::AtomicRMWOp, tt::AtomicCASOp>(op)) return;
  if (!reads_in_place(op, carried)) return;
  plan_.buffer_of[yielded] = buffer;
  auto dot = mlir::dyn_cast<tt::DotOp>(op);
  if (dot && readers_[dot.getC()].roots.size() == 1) {
    share_with_carried(dot.getC(), carried, buffer);
  }
}

// What a dot, or a loop for its result, starts from; null for others.
static mlir::Value start_of(mlir::Value value) {
  if (auto dot = value.getDefiningOp<tt::DotOp>()) return dot.getC();
  auto loop = value.getDefiningOp<scf::ForOp>();
  return loop ? loop.getInitArgs()[mlir::cast<mlir::OpResult>(value).getResultNumber()] : nullptr;
}

// Is `value` such a sum that nobody but `reader` reads, in the same block?
bool Planner::ends_in_reader(mlir::Value value, mlir::Operation* reader) {
  return start_of(value) && value.getParentBlock() == reader->getBlock() && value.hasOneUse() &&
         stored_.count(value);
}

// Lets such a sum grow where the reader wants it, and so on with what it starts from.
void Planner::share_with_reader(mlir::Value value, mlir::Operation* reader, int buffer) {
  if (!ends_in_reader(value, reader)) return;
  plan_.buffer_of[value] = buffer;
  share_with_reader(start_of(value), value.getDefiningOp(), buffer);
}

// Where a result is kept; a sum where it starts from, if that ends with it.
int Planner::buffer_for(mlir::Value result) {
  if (plan_.stored(result)) return plan_.buffer_of[result];
  mlir::Value start = start_of(result);
  const bool grows = start && ends_in_reader(start, result.getDefiningOp());
  return grows ? plan_.buffer_of[start] : new_buffer(result);
}

// Each branch computes in the place of the result what only its yield reads.
void Planner::share_with_branches(scf::IfOp branch) {
  for (mlir::Region& region : branch->getRegions()) {
    if (region.empty()) continue;
    mlir::Operation* yield = region.front().getTerminator();
    for (auto [result, yielded] : llvm::zip(branch.getResults(), yield->getOperands())) {
      if (plan_.stored(result)) share_with_reader(yielded, yield, plan_.buffer_of[result]);
    }
  }
}

void Planner::assign_loop(scf::ForOp loop) {
  auto* yield = loop.getBody()->getTerminator();
  for (auto [index, argument] : llvm::enumerate(loop.getRegionIterArgs())) {
    if (!is_tensor(argument) || plan_.inductions.count(argument)) continue;
    mlir::Value result = loop.getResult(index);
    int buffer = buffer_for(result);
    plan_.buffer_of[argument] = buffer;
    plan_.buffer_of[result] = buffer;
    extend(buffer, result, plan_.position[loop]);
    extend(buffer, argument, plan_.end_position[loop]);
    share_with_carried(yield->getOperand(index), argument, buffer);
  }
}

void Planner::assign_buffers() {
  for (mlir::Block& block : func_.getBody()) {
    if (block.isEntryBlock()) continue;
    for (mlir::Value argument : block.getArguments()) {
      if (!is_tensor(argument)) continue;
      int buffer = new_buffer(argument);
      plan_.buffer_of[argument] = buffer;
      plan_.buffers[buffer].first = 0;
      plan_.buffers[buffer].last = counter_;
    }
  }
  for (mlir::Operation* op : order_) {
    unsigned position = plan_.position[op];
    if (auto loop = mlir::dyn_cast<scf::ForOp>(op)) {
      assign_loop(loop);
      continue;
    }
    if (auto loop = mlir::dyn_cast<scf::WhileOp>(op)) {
      for (auto arguments : {loop.getBeforeArguments(), loop.getAfterArguments()}) {
        for (mlir::Value argument : arguments) {
          if (!is_tensor(argument)) continue;
          int buffer = plan_.buffer_of[argument] = new_buffer(argument);
          extend(buffer, argument, position);
          extend(buffer, argument, plan_.end_position[op]);
        }
      }
    }
    for (mlir::Value result : op->getResults()) {
      if (!stored_.count(result)) continue;
      int buffer = plan_.buffer_of[result] = buffer_for(result);
      extend(buffer, result, position);
      if (mlir::isa<scf::IfOp, scf::WhileOp>(op)) {
        Buffer& stored = plan_.buffers[buffer];
        stored.last = std::max(stored.last, plan_.end_position[op]);
      }
    }
    if (auto branch = mlir::dyn_cast<scf::IfOp>(op)) share_with_branches(branch);
  }
}

void Planner::place_buffers() {
  std::vector<Buffer*> in_scratch;
  uint64_t stack = 0;
  for (Buffer& buffer : plan_.buffers) {
    if (buffer.on_stack && stack + buffer.bytes <= kMaxStackBytes) {
      stack += buffer.bytes;
      continue;
    }
    buffer.on_stack = false;
    in_scratch.push_back(&buffer);
  }
  llvm::stable_sort(in_scratch, [](Buffer* a, Buffer* b) { return a->first < b->first; });
  std::vector<Buffer*> placed;
  for (Buffer* buffer : in_scratch) {
    std::vector<std::pair<uint64_t, uint64_t>> taken;  // [begin, end) of buffers alive at once
    for (Buffer* other : placed) {
      if (other->first <= buffer->last && buffer->first <= other->last) {
        taken.push_back({other->offset, other->offset + other->bytes});
      }
    }
    llvm::sort(taken);
    uint64_t offset = 0;
    for (auto [begin, end] : taken) {
      if (offset + buffer->bytes <= begin) break;
      offset = std::max(offset, llvm::alignTo(end, kBufferAlign));
    }
    buffer->offset = offset;
    placed.push_back(buffer);
    plan_.scratch_bytes =
        std::max(plan_.scratch_bytes, llvm::alignTo(offset + buffer->bytes, kBufferAlign));
  }
}

}  // namespace nereid::lower
