// Internals of make_plan (plan.cc: which tensors are stored, hazards.cc: which loads a write
// endangers, storage.cc: where buffers lie).
#pragma once

#include "src/compiler/lower/plan.h"

namespace nereid::lower {

// Tiles up to this many elements are unrolled and live in registers.
int64_t small_tile_elements(const TargetInfo& target);

class Planner {
 public:
  Planner(mlir::triton::FuncOp func, const TargetInfo& target);
  Plan run();

 private:
  // The ops in whose loop nests a value is evaluated, and how often for each of its elements.
  struct Readers {
    llvm::SmallVector<std::pair<mlir::Operation*, double>, 4> roots;
    unsigned last = 0;         // last position of a reader, loops entered in between included
    bool other_block = false;  // read in another basic block of the same region
  };

  void number(mlir::Operation* op);
  void find_inductions();
  std::pair<int, mlir::Operation*> loops_between(mlir::Block* outer, mlir::Operation* user);
  void add_reader(Readers& readers, mlir::Operation* root, double times);
  void inherit_readers(Readers& readers, mlir::Value through, double factor);
  void collect_readers(mlir::Value value);
  double own_cost(mlir::Operation* op);
  double lazy_cost(mlir::Value value);
  bool is_yielded(mlir::Value value);
  bool is_index_like(mlir::Value value);
  bool decide(mlir::Operation* op, mlir::Value value);

  // hazards.cc
  bool reads_in_place(mlir::Operation* op, mlir::Value carried);
  bool addresses_differ(mlir::Value pointer);
  bool load_is_endangered(mlir::triton::LoadOp load, const Readers& readers);

  // storage.cc
  void assign_buffers();
  void assign_loop(mlir::scf::ForOp loop);
  void share_with_carried(mlir::Value yielded, mlir::Value carried, int buffer);
  bool ends_in_reader(mlir::Value value, mlir::Operation* reader);
  void share_with_reader(mlir::Value value, mlir::Operation* reader, int buffer);
  void share_with_branches(mlir::scf::IfOp branch);
  int buffer_for(mlir::Value result);
  int new_buffer(mlir::Value value);
  void extend(int buffer, mlir::Value value, unsigned from);
  void place_buffers();

  mlir::triton::FuncOp func_;
  const TargetInfo& target_;
  int64_t small_elements_;
  Plan plan_;
  unsigned counter_ = 0;
  std::vector<mlir::Operation*> order_;  // program order, outer ops first
  std::vector<unsigned> writes_;         // positions of ops that write memory
  llvm::DenseMap<mlir::Value, Readers> readers_;
  llvm::DenseMap<mlir::Value, double> costs_;
  llvm::DenseSet<mlir::Value> stored_;
};

}  // namespace nereid::lower
