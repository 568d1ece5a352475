// Loads that the processor cannot see coming are asked for one iteration ahead.
//
// A load inside a loop whose address depends on another load of the same iteration (a page of the
// KV cache behind its page table) starts with a miss every time: no hardware prefetcher follows it.
// For these the address computation is copied, for the next iteration, to the loop's beginning, and
// for the first one before the loop. Copies of the tt.load with the attribute `prefetch` (first
// row, rows) follow; the lowering turns them into prefetch instructions (prefetch_op.cc). Lines
// asked for all at once fill the queue of misses, and everything behind them waits: a large tile
// has the attribute `spread` too, and the dot behind it asks for a few lines with each of its
// steps; of a smaller one, or without dots, parts stand at several places of the loop's body.
// Streams (evict_first) are asked for further ahead, what loads beside the loop read of them too.
#include "llvm/ADT/MapVector.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "src/compiler/dialect/tt.h"
#include "src/compiler/front/rewrite.h"

namespace nereid {
namespace {

namespace tt = mlir::triton;
namespace scf = mlir::scf;
namespace arith = mlir::arith;

constexpr int64_t kSmallestTileBytes = 1024;
constexpr int64_t kStreamBytes = 16384;      // of rows that share a stream: what the next ones need
constexpr int64_t kRowStreamBytes = 4096;    // of one row: no further than processors look ahead
constexpr int64_t kSpreadTileBytes = 2048;   // more than is in flight: over a dot
constexpr int64_t kSpreadStreamBytes = 256;  // of a stream, whose loads come in a row
constexpr int64_t kParts = 4;                // of a tile, asked for at different places

int64_t tile_bytes(tt::LoadOp load) {
  auto tile = mlir::dyn_cast<mlir::RankedTensorType>(load.getType());
  if (!tile || tile.getRank() > 3 || !tile.getElementType().isIntOrFloat()) return 0;
  return tile.getNumElements() * tile.getElementTypeBitWidth() / 8;
}

bool is_stream(tt::LoadOp load) {
  const auto policy = mlir::dyn_cast_or_null<tt::CachePolicyAttr>(load.getCachePolicyAttr());
  return policy && policy.getEvictionPolicy() == tt::EvictionPolicy::EVICT_FIRST;
}

// What an address is made of inside a loop's body, in program order.
struct Slice {
  llvm::SmallVector<mlir::Operation*, 16> ops;
  bool indirect = false;  // another load is among them
};

// Does a load of the slice read where another one says? Loads that only the induction variable
// places are of what the loop reads anyway, but what they bring may change until then, and
// be no place at all.
bool loads_where_loaded(const Slice& slice) {
  llvm::DenseSet<mlir::Operation*> loaded;
  for (mlir::Operation* op : slice.ops) {
    const bool uses = llvm::any_of(op->getOperands(), [&](mlir::Value operand) {
      return loaded.contains(operand.getDefiningOp());
    });
    const bool loads = mlir::isa<tt::LoadOp>(op);
    if (uses && loads) return true;
    if (uses || loads) loaded.insert(op);
  }
  return false;
}

// nullopt: it depends on more than the induction variable, and on what tables hold at places that
// depend on nothing else.
std::optional<Slice> slice_of(mlir::Value address, scf::ForOp loop) {
  Slice slice;
  llvm::DenseSet<mlir::Operation*> seen;
  llvm::SmallVector<mlir::Value, 16> work = {address};
  while (!work.empty()) {
    mlir::Value value = work.pop_back_val();
    if (value == loop.getInductionVar()) continue;
    if (llvm::is_contained(loop.getRegionIterArgs(), value)) return std::nullopt;
    mlir::Operation* op = value.getDefiningOp();
    if (!op || op->getBlock() != loop.getBody() || !seen.insert(op).second) continue;
    auto load = mlir::dyn_cast<tt::LoadOp>(op);
    if (load && mlir::isa<mlir::RankedTensorType>(load.getType())) return std::nullopt;
    if (op->getNumRegions() > 0 || (!load && !mlir::isMemoryEffectFree(op))) return std::nullopt;
    slice.indirect |= load != nullptr;
    work.append(op->operand_begin(), op->operand_end());
  }
  for (mlir::Operation& op : *loop.getBody()) {
    if (seen.contains(&op)) slice.ops.push_back(&op);
  }
  if (loads_where_loaded(slice)) return std::nullopt;
  return slice;
}

// The slice, with `index` for the induction variable; returns the address.
mlir::Value copy_slice(mlir::OpBuilder& builder, const Slice& slice, tt::LoadOp load,
                       mlir::Value variable, mlir::Value index) {
  mlir::IRMapping mapping;
  mapping.map(variable, index);
  for (mlir::Operation* op : slice.ops) builder.clone(*op, mapping);
  return mapping.lookupOrDefault(load.getPtr());
}

// Rows of a tile, along its last dimension; of a tile of rank 1, one.
int64_t rows_of(tt::LoadOp load) {
  auto shape = mlir::cast<mlir::RankedTensorType>(load.getType()).getShape();
  return llvm::product_of(shape.drop_back());
}

// Asks for part `part` of the rows that a load from `address` would read.
tt::LoadOp ask_for(mlir::OpBuilder& builder, tt::LoadOp load, mlir::Value address, int64_t part,
                   int64_t parts) {
  mlir::IRMapping mapping;
  mapping.map(load.getPtr(), address);
  auto copy = mlir::cast<tt::LoadOp>(builder.clone(*load, mapping));
  copy.getMaskMutable().clear();
  copy.getOtherMutable().clear();
  int64_t rows = rows_of(load) / parts;
  copy->setAttr("prefetch", builder.getDenseI64ArrayAttr({part * rows, rows}));
  return copy;
}

mlir::Value constant_like(mlir::OpBuilder& builder, mlir::Location at, mlir::Value like,
                          int64_t value) {
  return arith::ConstantOp::create(builder, at, builder.getIntegerAttr(like.getType(), value));
}

// Places in a loop's body with work between them.
llvm::SmallVector<mlir::Operation*, 8> places_in(scf::ForOp loop) {
  llvm::SmallVector<mlir::Operation*, 8> places;
  for (mlir::Operation& op : *loop.getBody()) {
    if (mlir::isa<tt::DotOp, tt::ReduceOp>(op) || op.hasTrait<mlir::OpTrait::IsTerminator>())
      places.push_back(&op);
  }
  return places;
}

llvm::SmallVector<tt::DotOp, 2> dots_in(scf::ForOp loop) {
  llvm::SmallVector<tt::DotOp, 2> dots;
  for (auto dot : loop.getBody()->getOps<tt::DotOp>()) {
    if (mlir::cast<mlir::RankedTensorType>(dot.getType()).getRank() == 2) dots.push_back(dot);
  }
  return dots;
}

// Leaves it to dot `place`, or one behind that, to ask for a few lines at a time: a tile has a dot
// of its own where it can, since several at once are too many as well. The dot is one that comes
// after the address; without any, all is asked for where it stands.
void spread_over(tt::LoadOp ahead, llvm::ArrayRef<tt::DotOp> dots, size_t place) {
  place = std::min(place, dots.size() - 1);
  while (place < dots.size() && dots[place]->isBeforeInBlock(ahead)) ++place;
  if (place == dots.size()) return;
  ahead->moveBefore(dots[place]);
  ahead->setAttr("spread", mlir::UnitAttr::get(ahead.getContext()));
}

// A tile of rows and of `least` bytes, with an address that is as cheap to have later.
bool may_spread(tt::LoadOp load, const Slice& slice, int64_t least) {
  const bool stored = llvm::any_of(slice.ops, [](mlir::Operation* op) {
    return mlir::isa<tt::CatOp, tt::DotOp, tt::GatherOp, tt::HistogramOp, tt::ReduceOp, tt::ScanOp>(
        op);
  });
  return !stored && tile_bytes(load) >= least && rows_of(load) > 1;
}

void prefetch(scf::ForOp loop, tt::LoadOp load, const Slice& slice, size_t& place) {
  mlir::Location at = load.getLoc();
  mlir::OpBuilder builder(loop);
  mlir::Value begin = loop.getLowerBound(), end = loop.getUpperBound();
  auto runs = arith::CmpIOp::create(builder, at, arith::CmpIPredicate::slt, begin, end);
  auto branch = scf::IfOp::create(builder, at, runs, /*withElseRegion=*/false);
  builder.setInsertionPointToStart(branch.thenBlock());
  mlir::Value first = copy_slice(builder, slice, load, loop.getInductionVar(), begin);
  ask_for(builder, load, first, 0, 1);
  // The last iteration asks for its own tile again, so that every table entry read is a valid one.
  builder.setInsertionPointToStart(loop.getBody());
  mlir::Value one = constant_like(builder, at, begin, 1);
  mlir::Value next = arith::AddIOp::create(builder, at, loop.getInductionVar(), one);
  mlir::Value last = arith::SubIOp::create(builder, at, end, one);
  next = arith::MinSIOp::create(builder, at, next, last);
  mlir::Value address = copy_slice(builder, slice, load, loop.getInductionVar(), next);
  if (auto dots = dots_in(loop); !dots.empty() && may_spread(load, slice, kSpreadTileBytes)) {
    spread_over(ask_for(builder, load, address, 0, 1), dots, place++);
    return;
  }
  int64_t parts = rows_of(load) % kParts == 0 ? kParts : 1;
  auto places = places_in(loop);
  for (int64_t part = 0; part < parts; ++part, ++place) {
    builder.setInsertionPoint(places[place % places.size()]);
    ask_for(builder, load, address, part, parts);
  }
}

// What an address was made from: the pointer that a stream's loads have in common.
mlir::Value base_of(mlir::Value address) {
  while (mlir::Operation* op = address.getDefiningOp()) {
    if (!mlir::isa<tt::AddPtrOp, tt::BroadcastOp, tt::ExpandDimsOp, tt::SplatOp, tt::BitcastOp>(op))
      break;
    address = op->getOperand(0);
  }
  return address;
}

// Bytes of each stream, by its base.
using StreamBytes = llvm::MapVector<mlir::Value, int64_t>;

// What one row is multiplied with is read once; of more, tiles of rows find it in a core's own
// cache, and meanwhile what the next ones need can come from further on.
bool multiplies_one_row(llvm::ArrayRef<tt::DotOp> dots) {
  return !dots.empty() && llvm::all_of(dots, [](tt::DotOp dot) {
    return mlir::cast<mlir::RankedTensorType>(dot.getType()).getDimSize(0) == 1;
  });
}

// The streams of a loop advance together: by as many iterations as the widest needs. Returns by how
// many bytes each is asked for ahead.
StreamBytes prefetch_streams(scf::ForOp loop, llvm::ArrayRef<tt::LoadOp> streams, int64_t step) {
  int64_t widest = 1;
  StreamBytes bytes;
  for (tt::LoadOp load : streams)
    widest = std::max(widest, bytes[base_of(load.getPtr())] += tile_bytes(load));
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockBegin(loop.getBody());
  mlir::Location at = loop.getLoc();
  const auto dots = dots_in(loop);
  const int64_t most = multiplies_one_row(dots) ? kRowStreamBytes : kStreamBytes;
  const int64_t iterations = std::max<int64_t>(1, most / widest);
  for (auto& [base, ahead] : bytes) ahead *= iterations;
  mlir::Value distance = constant_like(builder, at, loop.getInductionVar(), iterations * step);
  mlir::Value later = arith::AddIOp::create(builder, at, loop.getInductionVar(), distance);
  size_t place = 0;
  for (tt::LoadOp load : streams) {
    std::optional<Slice> slice = slice_of(load.getPtr(), loop);
    if (!slice || slice->indirect) continue;
    builder.setInsertionPoint(load);  // of several of one stream, not all at once
    mlir::Value address = copy_slice(builder, *slice, load, loop.getInductionVar(), later);
    tt::LoadOp copy = ask_for(builder, load, address, 0, 1);
    if (!dots.empty() && may_spread(load, *slice, kSpreadStreamBytes))
      spread_over(copy, dots, place++);
  }
  return bytes;
}

// What a load beside a stream's loop reads (the end of a panel) lies in line with what the loop
// reads, and is asked for as far ahead.
void prefetch_beside(tt::LoadOp load, int64_t bytes) {
  mlir::OpBuilder builder(load);
  auto tile = mlir::cast<mlir::RankedTensorType>(load.getType());
  auto offsets = mlir::RankedTensorType::get(tile.getShape(), builder.getI32Type());
  const auto elements = static_cast<int32_t>(bytes * 8 / tile.getElementTypeBitWidth());
  auto ahead = arith::ConstantOp::create(builder, load.getLoc(),
                                         mlir::DenseElementsAttr::get(offsets, elements));
  auto address =
      tt::AddPtrOp::create(builder, load.getLoc(), load.getPtr().getType(), load.getPtr(), ahead);
  ask_for(builder, load, address, 0, 1);
}

}  // namespace

void insert_prefetches(mlir::ModuleOp module) {
  llvm::MapVector<mlir::Operation*, llvm::SmallVector<tt::LoadOp, 8>> loads;
  llvm::SmallVector<tt::LoadOp, 4> beside;
  StreamBytes ahead;
  module->walk([&](tt::LoadOp load) {
    if (tile_bytes(load) == 0) return;
    if (mlir::isa<scf::ForOp>(load->getParentOp())) {
      loads[load->getParentOp()].push_back(load);
    } else if (is_stream(load)) {
      beside.push_back(load);
    }
  });
  for (auto& [parent, inside] : loads) {
    auto loop = mlir::cast<scf::ForOp>(parent);
    auto step = loop.getStep().getDefiningOp<arith::ConstantOp>();
    auto by = step ? mlir::dyn_cast<mlir::IntegerAttr>(step.getValue()) : nullptr;
    if (!by || by.getInt() <= 0) continue;
    llvm::SmallVector<tt::LoadOp, 4> streams;
    size_t place = 0;
    for (tt::LoadOp load : inside) {
      if (is_stream(load)) {
        streams.push_back(load);
      } else if (by.getInt() == 1 && tile_bytes(load) >= kSmallestTileBytes) {
        std::optional<Slice> slice = slice_of(load.getPtr(), loop);
        if (slice && slice->indirect) prefetch(loop, load, *slice, place);
      }
    }
    if (streams.empty()) continue;
    for (auto [base, bytes] : prefetch_streams(loop, streams, by.getInt())) ahead[base] = bytes;
  }
  for (tt::LoadOp load : beside) {
    if (auto stream = ahead.find(base_of(load.getPtr())); stream != ahead.end())
      prefetch_beside(load, stream->second);
  }
}

}  // namespace nereid
