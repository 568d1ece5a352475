// Emits the LLVM IR of one tt.func: walks its ops in order, computes scalars as they come, and
// opens a loop nest for each tensor that is stored, written to memory or reduced. Inside a nest
// everything else is evaluated on demand, a few lanes at a time (eval_*.cc).
//
// One class over several files; each file says what part of it it holds.
#pragma once

#include <functional>
#include <optional>

#include "llvm/Analysis/InstSimplifyFolder.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "src/compiler/lower/lane.h"
#include "src/compiler/lower/plan.h"
#include "src/compiler/math/math.h"

namespace nereid::lower {

using Builder = llvm::IRBuilder<llvm::InstSimplifyFolder>;

// Integers are evaluated exactly (kValue), or as parts of an address (kAddress), where arithmetic
// of 32 bits and more may be assumed not to wrap: an address that wraps would be outside of any
// object. Narrower arithmetic and truncations wrap on purpose and are exact in both.
enum class Mode { kValue, kAddress };

// How a nest walks a shape: `lanes` elements at once, spread over the dimensions by `lane_shape`.
struct NestShape {
  llvm::SmallVector<int64_t, 4> shape;
  llvm::SmallVector<int64_t, 4> lane_shape;  // product == lanes; per dimension a divisor of shape
  llvm::SmallVector<int64_t, 4> lane_order;  // dimensions, the fastest first
  unsigned lanes = 1;
  int64_t inner_dim = 0;  // its loop is the innermost
  bool unrolled = false;
};

// A loop-carried tensor kept as a scalar: value = init + offset (elements for pointers).
struct Offset {
  mlir::Value init;
  llvm::Value* offset = nullptr;
  bool pointer = false;
};

struct DotPlan;

class Emitter {
 public:
  Emitter(mlir::triton::FuncOp func, const TargetInfo& target, llvm::Module& module);
  llvm::LogicalResult run();

  // Stored elements, row-major.
  struct Storage {
    llvm::Value* base = nullptr;
    llvm::SmallVector<int64_t, 4> strides;  // elements
    mlir::Type element;
  };

  using Values = llvm::SmallVector<llvm::Value*, 4>;

 private:
  // --- types.cc: types, constants, diagnostics ---------------------------------------------------
  llvm::Type* type_of(mlir::Type element);      // as an SSA value
  llvm::Type* memory_type(mlir::Type element);  // as stored: i1 takes a byte
  llvm::Type* widen(llvm::Type* scalar, unsigned lanes);
  llvm::Value* i64(int64_t value) { return builder_.getInt64(value); }
  llvm::Value* i32(int64_t value) { return builder_.getInt32(static_cast<uint32_t>(value)); }
  llvm::Constant* attribute_constant(mlir::Attribute attribute, mlir::Type element);
  llvm::Value* fail(mlir::Operation* op, const llvm::Twine& what, llvm::Type* type);
  Lanes fail_lanes(mlir::Operation* op, const llvm::Twine& what, mlir::Type element);
  llvm::AllocaInst* stack_slot(llvm::Type* type, const llvm::Twine& name);
  static constexpr unsigned kNowhereBytes = 64;
  llvm::Value* dummy_slot();  // where masked-off accesses go: kNowhereBytes, aligned to them
  llvm::Value* scratch_temp(uint64_t bytes);  // valid during the current op
  int64_t known_align(llvm::Value* value, int depth = 0);
  bool known_nonnegative(llvm::Value* value, int depth = 0);

  // --- entry.cc: the exported function and its record
  // ---------------------------------------------
  void make_body_function();
  void make_entry();
  void make_info();

  // --- control.cc: ops in program order, scalars, control flow ---------------------------
  void emit_block(mlir::Block& block);
  void emit_op(mlir::Operation* op);
  bool emit_own_op(mlir::Operation* op);
  void emit_plain_op(mlir::Operation* op);
  void emit_scalar_op(mlir::Operation* op);
  void start_op(mlir::Operation* op);
  llvm::PHINode* open_carried(mlir::scf::ForOp op, unsigned k, llvm::BasicBlock* before);
  void hint_offset(mlir::scf::ForOp op, unsigned k, llvm::PHINode* offset);
  llvm::Value* next_carried(mlir::scf::ForOp op, unsigned k, llvm::PHINode* phi);
  void emit_for(mlir::scf::ForOp op);
  void emit_if(mlir::scf::IfOp op);
  void emit_while(mlir::scf::WhileOp op);
  void copy_tensors(mlir::ValueRange from, mlir::ValueRange to);
  void copy_tensor(mlir::Value from, const Buffer& to);
  // A phi whose second incoming value is not known yet. Until close_phi it holds a placeholder, so
  // that the folding builder never takes it for its first value.
  llvm::PHINode* open_phi(llvm::Value* first, llvm::BasicBlock* from, const llvm::Twine& name = "");
  void close_phi(llvm::PHINode* phi, llvm::Value* second, llvm::BasicBlock* from);
  llvm::BasicBlock* new_block(const llvm::Twine& name);
  llvm::Value* scalar(mlir::Value value);
  void set_scalar(mlir::Value value, llvm::Value* result);

  // --- nest.cc: loop nests over tiles
  // ---------------------------------------------------------------
  using PointFn = llvm::function_ref<void(const Point&)>;
  NestShape plan_nest(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<mlir::Value> values,
                      llvm::ArrayRef<mlir::Value> stores = {});
  NestShape make_nest(llvm::ArrayRef<int64_t> shape, unsigned lanes, llvm::ArrayRef<int64_t> order);
  void emit_nest(const NestShape& nest, PointFn body);
  void nest_level(const NestShape& nest, llvm::ArrayRef<int64_t> dims, Point& point, PointFn body);
  // for (i = begin; i < end; i += step) body(i); i is i64 and a multiple of step when begin is.
  void emit_loop(llvm::Value* begin, llvm::Value* end, llvm::Value* step,
                 llvm::function_ref<void(llvm::Value*)> body, int unroll = 1);
  unsigned lanes_for(llvm::ArrayRef<mlir::Value> values);
  int lane_score(mlir::Value value, int64_t dim, llvm::DenseSet<std::pair<mlir::Value, int64_t>>&);
  unsigned widest_element(mlir::Value value, llvm::DenseSet<mlir::Value>& seen);
  bool small(int64_t elements) const { return elements <= small_elements_; }

  // --- coords.cc: coordinates
  // ---------------------------------------------------------------------
  Coord constant_coord(int64_t value);
  Coord scaled_coord(llvm::Value* index, int64_t step, Pattern pattern);
  Coord linearize(llvm::ArrayRef<Coord> coords, llvm::ArrayRef<int64_t> strides, unsigned lanes);
  std::pair<Coord, Coord> divide(const Coord& coord, int64_t divisor, unsigned lanes);
  llvm::Value* coord_vector(const Coord& coord, unsigned lanes);
  Coord coord_from_lanes(const Lanes& value, unsigned lanes);
  Point with_coords(const Point& point, llvm::ArrayRef<Coord> coords);
  Point reshape_point(const Point& point, llvm::ArrayRef<int64_t> to, llvm::ArrayRef<int64_t> from);
  Point constant_point(llvm::ArrayRef<int64_t> indices);

  // --- eval.cc: values at a point
  // --------------------------------------------------------------------
  Lanes eval(mlir::Value value, const Point& point, Mode mode = Mode::kValue);
  Lanes eval_op(mlir::Operation* op, mlir::Value value, const Point& point, Mode mode);
  Lanes eval_shape_op(mlir::Operation* op, mlir::Value value, const Point& point, Mode mode);
  Lanes eval_elementwise(mlir::Operation* op, mlir::Value value, const Point& point, Mode mode);
  Lanes eval_load(mlir::triton::LoadOp op, const Point& point);
  Lanes eval_constant(mlir::arith::ConstantOp op, const Point& point);
  Lanes eval_join(mlir::triton::JoinOp op, const Point& point, Mode mode);
  Lanes eval_gather(mlir::triton::GatherOp op, const Point& point);
  Lanes eval_offset(const Offset& offset, mlir::Value value, const Point& point, Mode mode);
  llvm::Value* eval_vector(mlir::Value value, const Point& point);
  llvm::Value* vector_of(const Lanes& value, unsigned lanes);
  llvm::Value* eval_uniform(mlir::Value value);  // a uniform tensor as a scalar

  // --- affine.cc: integer and pointer arithmetic on Lanes
  // -----------------------------------------
  std::optional<Lanes> affine_op(mlir::Operation* op, llvm::ArrayRef<Lanes> operands,
                                 unsigned lanes, Mode mode);
  std::optional<Lanes> add_lanes(const Lanes& a, const Lanes& b, bool subtract);
  std::optional<Lanes> multiply_lanes(const Lanes& a, const Lanes& b);
  std::optional<Lanes> divide_lanes(mlir::Operation* op, const Lanes& a, const Lanes& b,
                                    bool remainder);
  Lanes add_pointer(const Lanes& pointer, const Lanes& offset, mlir::Type pointee, unsigned lanes);
  static bool may_wrap(llvm::Type* type);  // also within addresses
  Lanes unwrap_lanes(const Lanes& x, unsigned lanes);
  Pattern combine(Pattern a, Pattern b, int64_t sign);
  Lanes settle(const Lanes& value);  // what lanes share goes into the base
  Pattern scale_pattern(Pattern pattern, int64_t factor);

  // --- elementwise.cc, cast.cc, math_ops.cc: one op on scalars or vectors
  // ------------------------------------------
  llvm::Value* emit_elementwise(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> operands,
                                unsigned result = 0);
  llvm::Value* emit_integer(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> x, unsigned result);
  llvm::Value* emit_float(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> x);
  llvm::Value* emit_cast(mlir::Operation* op, llvm::Value* x);
  llvm::Value* emit_math_op(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> x);
  llvm::Value* emit_wide_math(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> x);
  llvm::Value* emit_extern(mlir::triton::ExternElementwiseOp op, llvm::ArrayRef<llvm::Value*> x);
  // pair_ops.cc
  llvm::Value* emit_pair_op(mlir::Operation* op, llvm::ArrayRef<llvm::Value*> x);
  llvm::Value* add_pair_dot(llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_compare(mlir::Operation* op, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_divide(mlir::Operation* op, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_variable_shift(mlir::Operation* op, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_shift(mlir::Operation* op, llvm::Value* a, llvm::Value* b);
  llvm::Value* range_minmax(bool is_max, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_minmax(mlir::Operation* op, llvm::Value* a, llvm::Value* b);
  llvm::Value* to_f32(llvm::Value* x, mlir::Type from);
  llvm::Value* from_f32(llvm::Value* x, mlir::Type to, Rounding rounding = Rounding::kNearestEven);
  llvm::Value* convert_float(llvm::Value* x, mlir::Type from, mlir::Type to, Rounding rounding);
  llvm::Value* integer_to_small_float(llvm::Value* x, bool is_signed, mlir::Type to);
  // Runs a region of scalar ops (combiners) on scalars or vectors.
  llvm::SmallVector<llvm::Value*, 4> emit_combiner(mlir::Region& region,
                                                   llvm::ArrayRef<llvm::Value*> arguments);

  // --- memory.cc: lanes to and from memory
  // ---------------------------------------------------------
  struct Access {
    Lanes pointer;  // bytes
    mlir::Type element;
    std::optional<Lanes> mask;
    bool private_memory = false;  // scratch or stack: reading between lanes is harmless
    unsigned align = 1;
  };
  Lanes load_lanes(const Access& access, const std::optional<Lanes>& other, unsigned lanes);
  void store_lanes(const Access& access, const Lanes& value, unsigned lanes);
  llvm::Value* load_contiguous(llvm::Value* base, const Access& access, llvm::Value* mask,
                               llvm::Value* other, unsigned lanes);
  // mask: none, one for all lanes, or a vector.
  void store_contiguous(llvm::Value* base, const Access& access, llvm::Value* mask,
                        llvm::Value* value);
  llvm::Value* load_every_other(const Access& access, unsigned lanes);
  llvm::Value* load_pattern(const Access& access, llvm::Value* mask, llvm::Value* other,
                            unsigned lanes);
  bool store_pattern(const Access& access, llvm::Value* mask, llvm::Value* value, unsigned lanes);
  Lanes load_uniform(const Access& access, const std::optional<Lanes>& other, unsigned lanes);
  llvm::Value* load_gather(const Access& access, llvm::Value* mask, llvm::Value* other,
                           unsigned lanes);
  void store_scatter(const Access& access, llvm::Value* mask, llvm::Value* value, unsigned lanes);
  llvm::Value* lane_pointer(const Lanes& pointer, unsigned lane);
  llvm::Value* slice(llvm::Value* vector, unsigned begin, unsigned count);
  llvm::Value* concat(llvm::ArrayRef<llvm::Value*> parts);
  llvm::Value* from_memory(llvm::Value* value, mlir::Type element);
  llvm::Value* to_memory(llvm::Value* value, mlir::Type element);

  // --- buffers.cc: stored tensors ---------------------------------------------------------------
  Storage storage_of(const Buffer& buffer);
  Storage temp_storage(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  Lanes storage_pointer(const Storage& storage, const Point& point);
  Lanes load_storage(const Storage& storage, const Point& point);
  void store_storage(const Storage& storage, const Point& point, const Lanes& value);
  void materialize(mlir::Value value);
  void fill_storage(const Storage& storage, llvm::ArrayRef<int64_t> shape, mlir::Value value);

  // --- ops with loop nests of their own
  // -----------------------------------------------------------
  void emit_store(mlir::triton::StoreOp op);  // store_op.cc
  void emit_scalar_load(mlir::triton::LoadOp op);
  void emit_prefetch(mlir::triton::LoadOp op);  // prefetch_op.cc
  void emit_prefetch_lines(mlir::triton::LoadOp op, llvm::Value* first, int64_t count);
  void begin_spread(int64_t steps);
  void advance_spread();
  void emit_reduce(mlir::triton::ReduceOp op);  // reduce.cc
  void reduce_along_lanes(mlir::triton::ReduceOp op, const NestShape& nest);
  void reduce_across(mlir::triton::ReduceOp op, const NestShape& nest);
  std::vector<Values> reduce_sequence(mlir::Region& combiner, int64_t count, int64_t width,
                                      bool unrolled,
                                      llvm::function_ref<Values(llvm::Value*, int64_t)> at);
  Values reduce_lanes_together(mlir::Region& combiner, std::vector<Values> rows, unsigned lanes);
  Coord refine(const Coord& coarse, int64_t factor, int64_t offset, unsigned lanes);
  void store_reduced(mlir::triton::ReduceOp op, const Point& point,
                     llvm::ArrayRef<llvm::Value*> values);
  void emit_scan(mlir::triton::ScanOp op);  // scan.cc
  Values scan_lanes(mlir::triton::ScanOp op, Values values, unsigned lanes);
  Values scan_step(mlir::triton::ScanOp op, const Values& elements, const Values* carry,
                   unsigned width);
  void scan_sequence(mlir::triton::ScanOp op, int64_t count, bool unrolled,
                     llvm::function_ref<Values(llvm::Value*)> load,
                     llvm::function_ref<Values(Values, const Values*)> combine,
                     llvm::function_ref<void(llvm::Value*, const Values&)> store);
  void emit_histogram(mlir::triton::HistogramOp op);  // shape_ops.cc
  void emit_cat(mlir::triton::CatOp op);
  void emit_map(mlir::triton::MapElementwiseOp op);
  void emit_unsplat(mlir::triton::UnsplatOp op);
  void emit_atomic_rmw(mlir::triton::AtomicRMWOp op);  // atomics.cc
  void emit_atomic_cas(mlir::triton::AtomicCASOp op);
  void emit_atomic_access(mlir::Operation* op);
  void emit_atomic_poll(mlir::triton::AtomicPollOp op);
  llvm::Value* cas_loop(llvm::Value* pointer, llvm::Type* type, llvm::AtomicOrdering order,
                        llvm::function_ref<llvm::Value*(llvm::Value*)> update);
  llvm::Value* atomic_update(mlir::triton::AtomicRMWOp op, llvm::Value* pointer,
                             llvm::Value* value);
  void atomic_result(mlir::Value result, const Point& point, llvm::Value* value);
  void print_to_stderr(llvm::StringRef format, llvm::ArrayRef<llvm::Value*> values);
  void for_each_element(mlir::Value shaped, llvm::function_ref<void(const Point&)> body);
  llvm::Value* if_active(llvm::Value* mask, llvm::Type* type,
                         llvm::function_ref<llvm::Value*()> body);
  void emit_print(mlir::triton::PrintOp op);  // debug.cc
  void emit_assert(mlir::triton::AssertOp op);

  // --- dot.cc, dot_pack.cc, dot_kernel.cc, dot_inner.cc, dot_step.cc
  // ---------------------------------------------------------
  void emit_dot(mlir::triton::DotOp op);
  DotPlan plan_dot(mlir::triton::DotOp op);
  std::pair<mlir::triton::LoadOp, Point> find_load(mlir::Value value, Point point);
  void try_out(llvm::function_ref<void(llvm::BasicBlock*)> probe);  // dot_choose.cc
  double cost_at(mlir::Value value, llvm::function_ref<Point()> point, mlir::Type as);
  llvm::Value* unknown_index();
  Pattern steps(unsigned lanes);  // 0, 1, 2 ...
  void choose_operands(DotPlan& dot);
  double cost_along_k(DotPlan& dot, unsigned width, mlir::Type as);
  double choose_b(DotPlan& dot);
  bool reads_a_in_place(DotPlan& dot);
  void add_inner_sum(const DotPlan& dot, int64_t m, llvm::Value* n, llvm::Value* vector);
  void add_inner_sums(const DotPlan& dot, int64_t m, llvm::Value* n, llvm::Value* sums);
  llvm::Value* sums_of(llvm::ArrayRef<llvm::Value*> vectors);
  void store_inner_sums(const DotPlan& dot, llvm::Value* n, int64_t columns,
                        llvm::ArrayRef<llvm::AllocaInst*> slots, bool together);
  void keep_loads_behind(llvm::Type* type, llvm::Value* slot);
  void pin(llvm::Value* pointer);
  void pack_a(DotPlan& dot);
  void pack_a_words(DotPlan& dot);
  bool loads_contiguously(mlir::Value value, const Point& point);
  Lanes convert_lanes(const Lanes& value, mlir::Type from, mlir::Type to, unsigned lanes);
  Point group_point(const DotPlan& dot, llvm::Value* k_group, int64_t offset, llvm::Value* n_block);
  Coord group_coord(const DotPlan& dot, llvm::Value* k_group, int64_t offset, unsigned lanes,
                    int64_t div);
  llvm::SmallVector<llvm::Value*, 4> transpose(llvm::ArrayRef<llvm::Value*> rows);
  void pack_b(DotPlan& dot, const Storage& to);
  void pack_operands(DotPlan& dot);
  mlir::triton::DotOp packed_for(mlir::Value value);
  void pack_stored_b(mlir::triton::DotOp op, const Storage& to);
  void pack_b_transposed(DotPlan& dot);
  void pack_b_vectors(DotPlan& dot);
  void pack_b_rows(DotPlan& dot);
  void compute_correction(DotPlan& dot);
  llvm::Value* packed_b_address(const DotPlan& dot, llvm::Value* k_group, int64_t part,
                                llvm::Value* n_block);
  void store_packed_b(const DotPlan& dot, llvm::Value* k_group, llvm::Value* n_block,
                      llvm::Value* vector);
  llvm::Value* dot_step(const DotPlan& dot, llvm::Value* sum, llvm::Value* a, llvm::Value* b);
  llvm::Value* dot_bytes_x86(const DotPlan& dot, llvm::Value* sum, llvm::Value* a, llvm::Value* b);
  llvm::Value* dot_bytes_arm(const DotPlan& dot, llvm::Value* sum, llvm::Value* a, llvm::Value* b);
  llvm::Value* multiply_words(llvm::Value* x, llvm::Value* y);
  llvm::Value* multiply_pairs(llvm::Value* a, llvm::Value* b);
  llvm::Value* add_words(llvm::Value* sum, llvm::Value* words);
  llvm::Value* alternate_bytes(llvm::Value* bytes, bool odd, bool is_unsigned);
  llvm::Value* load_a(const DotPlan& dot, llvm::Value* m, llvm::Value* k_group, int64_t offset,
                      int64_t part);
  llvm::Value* load_b(const DotPlan& dot, llvm::Value* k_group, int64_t offset, int64_t part,
                      llvm::Value* n_block);
  llvm::Value* eval_b(const DotPlan& dot, llvm::Value* k_group, int64_t offset,
                      llvm::Value* n_block);
  llvm::Value* d_address(const DotPlan& dot, llvm::Value* m, llvm::Value* n_block);
  llvm::Value* dot_start(const DotPlan& dot, llvm::Value* m, llvm::Value* n_block);
  llvm::Value* add_sets(llvm::SmallVector<llvm::Value*, 8> sums);
  void store_sums(const DotPlan& dot, llvm::ArrayRef<llvm::AllocaInst*> slots, int64_t sets,
                  llvm::Value* m, llvm::Value* n_block, int64_t rows, int64_t columns);
  void dot_block(const DotPlan& dot, llvm::Value* m, llvm::Value* n_block, int64_t rows,
                 int64_t columns);
  void dot_block_short(const DotPlan& dot, llvm::Value* m, llvm::Value* n_block, int64_t rows,
                       int64_t columns);
  void clear_dead_rows(const DotPlan& dot, llvm::Value* n_block, int64_t columns);
  void emit_outer_product(DotPlan& dot);
  void emit_inner_product(const DotPlan& dot);
  // dot_tiles.cc
  bool suits_tiles(const DotPlan& dot) const;
  void choose_tile_shape();
  llvm::Constant* tile_configuration();
  struct TileRows {
    llvm::Value* first = nullptr;
    llvm::Value* stride = nullptr;  // bytes
  };
  TileRows tile_rows(mlir::Value value, const Point& point);
  llvm::Value* unfolded(llvm::Value* index);
  void load_tile(int64_t tile, const TileRows& rows);
  Point a_rows(const DotPlan& dot, llvm::Value* m, llvm::Value* k_group);
  Point b_rows(const DotPlan& dot, llvm::Value* k_group, llvm::Value* n_block);
  bool reads_a_tiles_in_place(const DotPlan& dot);
  bool reads_b_tiles_in_place(const DotPlan& dot);
  void load_a_tile(const DotPlan& dot, int64_t tile, llvm::Value* m, llvm::Value* k_group);
  void load_b_tile(const DotPlan& dot, int64_t tile, llvm::Value* k_group, llvm::Value* n_block);
  void begin_d_tile(const DotPlan& dot, int64_t tile, llvm::Value* m, llvm::Value* n_block);
  void store_d_tile(const DotPlan& dot, int64_t tile, llvm::Value* m, llvm::Value* n_block);
  void emit_tile_product(DotPlan& dot);

  // --- memo: what was evaluated already in this nest body ----------------------------------------
  struct MemoKey {
    mlir::Value value;
    Mode mode;
    unsigned lanes;
    llvm::SmallVector<Coord, 4> coords;
    bool operator<(const MemoKey& other) const;
  };
  using Memo = std::map<MemoKey, Lanes>;
  std::vector<Memo> memos_;  // one per open loop level; inner levels see outer ones
  class MemoLevel {
   public:
    explicit MemoLevel(Emitter& emitter) : emitter_(emitter) { emitter_.memos_.emplace_back(); }
    ~MemoLevel() { emitter_.memos_.pop_back(); }

   private:
    Emitter& emitter_;
  };

  // A prefetch that the next dot spreads over its steps.
  struct SpreadPrefetch {
    mlir::triton::LoadOp op;
    int64_t lines = 0;                 // at each step
    llvm::AllocaInst* next = nullptr;  // the first line of the next step's
  };
  llvm::SmallVector<SpreadPrefetch, 2> spread_;

  // Of the dots that tile registers compute; no groups: none.
  struct TileShape {
    int64_t rows = 0;    // of a and d
    int64_t groups = 0;  // of four bytes along k
  };

  mlir::triton::FuncOp func_;
  const TargetInfo& target_;
  llvm::Module& module_;
  llvm::LLVMContext& context_;
  Builder builder_;
  Plan plan_;
  int64_t small_elements_;
  TileShape tile_shape_;
  bool failed_ = false;

  llvm::Function* body_ = nullptr;
  llvm::Value* scratch_ = nullptr;
  llvm::Value* program_ids_[3] = {};
  llvm::Value* grid_[3] = {};
  llvm::Value* dummy_ = nullptr;
  llvm::Instruction* alloca_point_ = nullptr;
  llvm::DenseMap<mlir::Value, llvm::Value*> scalars_;
  llvm::DenseMap<mlir::Value, Offset> offsets_;
  llvm::DenseMap<const Buffer*, llvm::Value*> stack_buffers_;
  llvm::DenseMap<mlir::Operation*, llvm::GlobalVariable*> constants_;
  llvm::DenseMap<llvm::Value*, int64_t> align_hints_;  // values known to be multiples
  llvm::DenseSet<llvm::Value*> nonnegative_hints_;
  PatternPool patterns_;
  uint64_t temp_used_ = 0, temp_peak_ = 0;
  mlir::Operation* current_ = nullptr;
};

}  // namespace nereid::lower
