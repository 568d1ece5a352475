// Ops in program order: scalars at once, tensors where the plan says, structured control flow.
#include "llvm/ADT/TypeSwitch.h"
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace scf = mlir::scf;
namespace arith = mlir::arith;

llvm::BasicBlock* Emitter::new_block(const llvm::Twine& name) {
  return llvm::BasicBlock::Create(context_, name, body_);
}

llvm::PHINode* Emitter::open_phi(llvm::Value* first, llvm::BasicBlock* from,
                                 const llvm::Twine& name) {
  auto* phi = builder_.CreatePHI(first->getType(), 2, name);
  phi->addIncoming(first, from);
  // Until the second value is known: an instruction, so that LLVM may look at the phi meanwhile.
  auto* placeholder = new llvm::FreezeInst(llvm::PoisonValue::get(first->getType()));
  if (llvm::Instruction* terminator = from->getTerminator())
    placeholder->insertBefore(terminator->getIterator());
  else
    placeholder->insertInto(from, from->end());
  phi->addIncoming(placeholder, from);
  return phi;
}

void Emitter::close_phi(llvm::PHINode* phi, llvm::Value* second, llvm::BasicBlock* from) {
  auto* placeholder = llvm::cast<llvm::FreezeInst>(phi->getIncomingValue(1));
  phi->setIncomingValue(1, second);
  phi->setIncomingBlock(1, from);
  placeholder->eraseFromParent();
}

llvm::Value* Emitter::scalar(mlir::Value value) {
  auto it = scalars_.find(value);
  if (it != scalars_.end()) return it->second;
  mlir::Operation* op = value.getDefiningOp();
  return fail(op ? op : current_, "has no scalar value here", type_of(value.getType()));
}

void Emitter::set_scalar(mlir::Value value, llvm::Value* result) {
  scalars_[value] = result;
}

void Emitter::emit_block(mlir::Block& block) {
  for (mlir::Operation& op : block.without_terminator()) {
    if (failed_) return;
    emit_op(&op);
  }
}

// An op with code of its own. False: not such an op.
bool Emitter::emit_own_op(mlir::Operation* op) {
  bool known = true;
  llvm::TypeSwitch<mlir::Operation*>(op)
      .Case([&](scf::ForOp loop) { emit_for(loop); })
      .Case([&](scf::IfOp branch) { emit_if(branch); })
      .Case([&](scf::WhileOp loop) { emit_while(loop); })
      .Case([&](tt::StoreOp store) { emit_store(store); })
      .Case([&](tt::ReduceOp reduce) { emit_reduce(reduce); })
      .Case([&](tt::ScanOp scan) { emit_scan(scan); })
      .Case([&](tt::DotOp dot) { emit_dot(dot); })
      .Case([&](tt::LoadOp load) {
        known = load->hasAttr("prefetch");
        if (known) emit_prefetch(load);
      })
      .Case([&](tt::UnsplatOp unsplat) { emit_unsplat(unsplat); })
      .Case([&](tt::HistogramOp histogram) { emit_histogram(histogram); })
      .Case([&](tt::CatOp cat) { emit_cat(cat); })
      .Case([&](tt::MapElementwiseOp map) { emit_map(map); })
      .Case([&](tt::AtomicRMWOp rmw) { emit_atomic_rmw(rmw); })
      .Case([&](tt::AtomicCASOp cas) { emit_atomic_cas(cas); })
      .Case<tt::AtomicLoadOp, tt::AtomicStoreOp>([&](auto access) { emit_atomic_access(access); })
      .Case([&](tt::AtomicPollOp poll) { emit_atomic_poll(poll); })
      .Case([&](tt::PrintOp print) { emit_print(print); })
      .Case([&](tt::AssertOp check) { emit_assert(check); })
      .Case([&](tt::GetProgramIdOp id) { set_scalar(id, program_ids_[id.getAxisAsInt()]); })
      .Case([&](tt::GetNumProgramsOp count) { set_scalar(count, grid_[count.getAxisAsInt()]); })
      .Default([&](mlir::Operation*) { known = false; });
  return known;
}

void Emitter::emit_scalar_op(mlir::Operation* op) {
  if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) {
    llvm::Constant* value = attribute_constant(constant.getValue(), constant.getType());
    set_scalar(constant, value ? value : fail(op, "not supported", type_of(constant.getType())));
  } else if (mlir::isa<mlir::ub::PoisonOp>(op)) {
    set_scalar(op->getResult(0), llvm::Constant::getNullValue(type_of(op->getResult(0).getType())));
  } else if (auto load = mlir::dyn_cast<tt::LoadOp>(op)) {
    emit_scalar_load(load);
  } else if (is_elementwise_op(op)) {
    Values operands;
    for (mlir::Value operand : op->getOperands()) operands.push_back(scalar(operand));
    for (mlir::OpResult result : op->getResults()) {
      set_scalar(result, emit_elementwise(op, operands, result.getResultNumber()));
    }
  } else {
    fail(op, "not supported", nullptr);
  }
}

void Emitter::emit_plain_op(mlir::Operation* op) {
  bool tensor = op->getNumResults() > 0 && is_tensor(op->getResult(0));
  if (op->getNumResults() == 0 || (tensor && !is_lazy_op(op))) {
    fail(op, "not supported", nullptr);
  } else if (!tensor) {
    emit_scalar_op(op);
  } else {
    for (mlir::Value result : op->getResults()) {
      if (plan_.stored(result)) materialize(result);
    }
  }
}

void Emitter::emit_op(mlir::Operation* op) {
  mlir::Operation* outer = current_;
  start_op(op);
  // Waiting means nothing here: one thread runs the whole program, and programs of one launch see
  // everything that was written before it.
  bool nothing_to_do =
      mlir::isa<tt::GridDependencyWaitOp, tt::GridDependencyLaunchDependentsOp>(op) ||
      llvm::is_contained({"llvm.intr.assume", "gpu.barrier", "ttg.barrier"},
                         op->getName().getStringRef());
  if (!nothing_to_do && !emit_own_op(op)) emit_plain_op(op);
  current_ = outer;
}

// What is emitted from here on belongs to `op`; nothing that was evaluated before still counts.
void Emitter::start_op(mlir::Operation* op) {
  current_ = op;
  temp_used_ = 0;
  memos_.clear();
}

// Copies a tensor (stored or not) into a buffer.
void Emitter::copy_tensor(mlir::Value from, const Buffer& to) {
  const Buffer* source = plan_.find(from);
  if (source == &to) return;
  fill_storage(storage_of(to), to.shape, from);
}

// to[k] = from[k] for all k at once: sources that an earlier copy would overwrite are saved first.
void Emitter::copy_tensors(mlir::ValueRange from, mlir::ValueRange to) {
  llvm::SmallVector<std::pair<Storage, int>, 4> saved(from.size(), {Storage{}, -1});
  for (size_t k = 0; k < from.size(); ++k) {
    if (!is_tensor(from[k]) || !plan_.find(to[k])) continue;
    for (size_t earlier = 0; earlier < k; ++earlier) {
      const Buffer* target = plan_.find(to[earlier]);
      if (!is_tensor(from[k]) || !target || target != plan_.find(from[k])) continue;
      if (plan_.find(from[earlier]) == target) continue;  // not overwritten
      saved[k] = {temp_storage(shape_of(from[k]), mlir::getElementTypeOrSelf(from[k].getType())),
                  1};
      fill_storage(saved[k].first, shape_of(from[k]), from[k]);
      break;
    }
  }
  for (size_t k = 0; k < from.size(); ++k) {
    const Buffer* target = is_tensor(from[k]) ? plan_.find(to[k]) : nullptr;
    if (!target) continue;
    memos_.clear();
    if (saved[k].second < 0) {
      copy_tensor(from[k], *target);
      continue;
    }
    Storage storage = storage_of(*target);
    NestShape nest = plan_nest(target->shape, {});
    emit_nest(nest, [&](const Point& point) {
      store_storage(storage, point, load_storage(saved[k].first, point));
    });
  }
}

// The phi of a loop-carried scalar, or of the offset that stands for a carried tensor; null for
// tensors in buffers.
llvm::PHINode* Emitter::open_carried(scf::ForOp op, unsigned k, llvm::BasicBlock* before) {
  mlir::Value argument = op.getRegionIterArg(k);
  auto induction = plan_.inductions.find(argument);
  if (induction != plan_.inductions.end()) {
    bool pointer = induction->second.pointer;
    llvm::Type* type = pointer ? builder_.getInt64Ty() : type_of(argument.getType());
    auto* phi = open_phi(llvm::ConstantInt::get(type, 0), before, "offset");
    offsets_[argument] = offsets_[op.getResult(k)] = Offset{op.getInitArgs()[k], phi, pointer};
    return phi;
  }
  if (is_tensor(argument)) return nullptr;
  auto* phi = open_phi(scalar(op.getInitArgs()[k]), before);
  set_scalar(argument, phi);
  set_scalar(op.getResult(k), phi);
  return phi;
}

// Offsets that grow by loop-invariant steps: what divides all steps divides the offset.
void Emitter::hint_offset(scf::ForOp op, unsigned k, llvm::PHINode* offset) {
  auto induction = plan_.inductions.find(op.getRegionIterArg(k));
  if (induction == plan_.inductions.end()) return;
  int64_t align = int64_t{1} << 30;
  bool nonnegative = true;
  for (mlir::Value increment : induction->second.increments) {
    if (op.getRegion().isAncestor(increment.getParentRegion())) return;
    memos_.clear();
    llvm::Value* value = eval_uniform(increment);
    align = std::min(align, known_align(value));
    nonnegative &= known_nonnegative(value);
  }
  align_hints_[offset] = align;
  if (nonnegative && !may_wrap(offset->getType())) nonnegative_hints_.insert(offset);
}

llvm::Value* Emitter::next_carried(scf::ForOp op, unsigned k, llvm::PHINode* phi) {
  auto induction = plan_.inductions.find(op.getRegionIterArg(k));
  if (induction == plan_.inductions.end()) {
    return scalar(op.getBody()->getTerminator()->getOperand(k));
  }
  llvm::Value* sum = phi;
  for (mlir::Value increment : induction->second.increments) {
    memos_.clear();
    llvm::Value* value = eval_uniform(increment);
    sum = builder_.CreateAdd(sum, builder_.CreateSExtOrTrunc(value, sum->getType()));
  }
  return sum;
}

void Emitter::emit_for(scf::ForOp op) {
  llvm::Value *begin = scalar(op.getLowerBound()), *end = scalar(op.getUpperBound()),
              *step = scalar(op.getStep());
  llvm::SmallVector<mlir::Value, 4> arguments(op.getRegionIterArgs());
  copy_tensors(op.getInitArgs(), arguments);
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto *header = new_block("for"), *body = new_block("body"), *exit = new_block("end");
  builder_.CreateBr(header);
  builder_.SetInsertPoint(header);
  auto* index = open_phi(begin, before, "iv");
  align_hints_[index] = std::min(known_align(begin), known_align(step));
  if (known_nonnegative(begin)) nonnegative_hints_.insert(index);
  set_scalar(op.getInductionVar(), index);
  llvm::SmallVector<llvm::PHINode*, 4> carried;
  for (unsigned k = 0; k < arguments.size(); ++k) carried.push_back(open_carried(op, k, before));
  bool is_unsigned = op->hasAttr("unsignedCmp");
  llvm::Value* more =
      is_unsigned ? builder_.CreateICmpULT(index, end) : builder_.CreateICmpSLT(index, end);
  builder_.CreateCondBr(more, body, exit);
  builder_.SetInsertPoint(body);
  for (unsigned k = 0; k < arguments.size(); ++k) hint_offset(op, k, carried[k]);
  emit_block(*op.getBody());
  mlir::Operation* yield = op.getBody()->getTerminator();
  start_op(yield);
  copy_tensors(yield->getOperands(), arguments);
  Values next;
  for (unsigned k = 0; k < arguments.size(); ++k) {
    next.push_back(carried[k] ? next_carried(op, k, carried[k]) : nullptr);
  }
  llvm::Value* next_index = builder_.CreateAdd(index, step);
  llvm::BasicBlock* latch = builder_.GetInsertBlock();
  for (auto [phi, value] : llvm::zip(carried, next)) {
    if (phi) close_phi(phi, value, latch);
  }
  close_phi(index, next_index, latch);
  builder_.CreateBr(header);
  builder_.SetInsertPoint(exit);
}

void Emitter::emit_if(scf::IfOp op) {
  auto *then_block = new_block("then"), *else_block = new_block("else"), *join = new_block("join");
  builder_.CreateCondBr(scalar(op.getCondition()), then_block, else_block);
  llvm::SmallVector<llvm::Value*, 4> values[2];
  llvm::BasicBlock* ends[2];
  mlir::Region* regions[2] = {&op.getThenRegion(), &op.getElseRegion()};
  llvm::BasicBlock* starts[2] = {then_block, else_block};
  for (int side = 0; side < 2; ++side) {
    builder_.SetInsertPoint(starts[side]);
    if (!regions[side]->empty()) {
      mlir::Block& block = regions[side]->front();
      emit_block(block);
      mlir::Operation* yield = block.getTerminator();
      start_op(yield);
      copy_tensors(yield->getOperands(), op.getResults());
      for (mlir::Value value : yield->getOperands()) {
        values[side].push_back(is_tensor(value) ? nullptr : scalar(value));
      }
    }
    ends[side] = builder_.GetInsertBlock();
    builder_.CreateBr(join);
  }
  builder_.SetInsertPoint(join);
  for (auto [k, result] : llvm::enumerate(op.getResults())) {
    if (is_tensor(result)) continue;
    auto* phi = builder_.CreatePHI(type_of(result.getType()), 2);
    for (int side = 0; side < 2; ++side) phi->addIncoming(values[side][k], ends[side]);
    set_scalar(result, phi);
  }
}

void Emitter::emit_while(scf::WhileOp op) {
  copy_tensors(op.getInits(), op.getBeforeArguments());
  llvm::BasicBlock* entry = builder_.GetInsertBlock();
  auto *header = new_block("while"), *body = new_block("do"), *exit = new_block("end");
  builder_.CreateBr(header);
  builder_.SetInsertPoint(header);
  llvm::SmallVector<llvm::PHINode*, 4> carried(op.getInits().size(), nullptr);
  for (auto [k, argument] : llvm::enumerate(op.getBeforeArguments())) {
    if (is_tensor(argument)) continue;
    carried[k] = open_phi(scalar(op.getInits()[k]), entry);
    set_scalar(argument, carried[k]);
  }
  emit_block(*op.getBeforeBody());
  auto condition = op.getConditionOp();
  start_op(condition);
  copy_tensors(condition.getArgs(), op.getAfterArguments());
  memos_.clear();
  for (auto [k, value] : llvm::enumerate(condition.getArgs())) {
    if (is_tensor(value)) {
      if (const Buffer* result = plan_.find(op.getResult(k))) {
        fill_storage(storage_of(*result), result->shape, op.getAfterArguments()[k]);
        memos_.clear();
      }
      continue;
    }
    set_scalar(op.getAfterArguments()[k], scalar(value));
    set_scalar(op.getResult(k), scalar(value));
  }
  builder_.CreateCondBr(scalar(condition.getCondition()), body, exit);
  builder_.SetInsertPoint(body);
  emit_block(*op.getAfterBody());
  mlir::Operation* yield = op.getAfterBody()->getTerminator();
  start_op(yield);
  copy_tensors(yield->getOperands(), op.getBeforeArguments());
  for (size_t k = 0; k < carried.size(); ++k) {
    if (carried[k]) close_phi(carried[k], scalar(yield->getOperand(k)), builder_.GetInsertBlock());
  }
  builder_.CreateBr(header);
  builder_.SetInsertPoint(exit);
}

}  // namespace nereid::lower
