// Facts about TTIR values that need no code: shapes, kinds of ops, steps along dimensions.
#include "src/compiler/lower/plan.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;

int64_t num_elements(mlir::Type type) {
  auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type);
  return tensor ? tensor.getNumElements() : 1;
}

unsigned element_bytes(mlir::Type element) {
  if (mlir::isa<tt::PointerType>(element)) return 8;
  if (element.isIndex()) return 8;
  return std::max(1u, element.getIntOrFloatBitWidth() / 8);
}

llvm::ArrayRef<int64_t> shape_of(mlir::Value value) {
  auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(value.getType());
  return tensor ? tensor.getShape() : llvm::ArrayRef<int64_t>();
}

bool is_tensor(mlir::Value value) {
  return mlir::isa<mlir::RankedTensorType>(value.getType());
}

bool is_elementwise_op(mlir::Operation* op) {
  if (mlir::isa<arith::ConstantOp>(op)) return false;
  llvm::StringRef dialect = op->getName().getDialectNamespace();
  if (dialect == "arith" || dialect == "math") return true;
  return mlir::isa<tt::AddPtrOp, tt::BitcastOp, tt::FpToFpOp, tt::ClampFOp, tt::PreciseSqrtOp,
                   tt::PreciseDivFOp, tt::ApproxDivFOp, tt::MulhiUIOp, tt::PairDotOp,
                   tt::PairScaleOp, tt::IntToPtrOp, tt::PtrToIntOp>(op) ||
         (mlir::isa<tt::ExternElementwiseOp>(op) &&
          mlir::cast<tt::ExternElementwiseOp>(op).getPure());
}

bool is_lazy_op(mlir::Operation* op) {
  return is_elementwise_op(op) ||
         mlir::isa<arith::ConstantOp, mlir::ub::PoisonOp, tt::LoadOp, tt::SplatOp, tt::MakeRangeOp,
                   tt::ExpandDimsOp, tt::BroadcastOp, tt::ReshapeOp, tt::TransOp, tt::JoinOp,
                   tt::SplitOp, tt::GatherOp>(op);
}

bool is_uniform_tensor(mlir::Value value) {
  mlir::Operation* op = value.getDefiningOp();
  if (!op) return false;
  if (mlir::isa<tt::SplatOp>(op)) return true;
  if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) {
    auto dense = mlir::dyn_cast<mlir::DenseElementsAttr>(constant.getValue());
    return dense && dense.isSplat();
  }
  bool passes_through =
      is_elementwise_op(op) ||
      mlir::isa<tt::ExpandDimsOp, tt::BroadcastOp, tt::ReshapeOp, tt::TransOp>(op);
  return passes_through && op->getNumOperands() > 0 &&
         llvm::all_of(op->getOperands(),
                      [](mlir::Value v) { return !is_tensor(v) || is_uniform_tensor(v); });
}

std::optional<int64_t> splat_of(mlir::Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  if (!constant) return std::nullopt;
  auto dense = mlir::dyn_cast<mlir::DenseIntElementsAttr>(constant.getValue());
  if (!dense || !dense.isSplat()) return std::nullopt;
  return dense.getSplatValue<llvm::APInt>().getSExtValue();
}

static bool is_never_negative(mlir::Value value, int depth) {
  mlir::Operation* op = value.getDefiningOp();
  if (!op || depth > 32) return false;
  if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) {
    auto dense = mlir::dyn_cast<mlir::DenseIntElementsAttr>(constant.getValue());
    if (dense) return llvm::none_of(dense, [](const llvm::APInt& x) { return x.isNegative(); });
    auto scalar = mlir::dyn_cast<mlir::IntegerAttr>(constant.getValue());
    return scalar && !scalar.getValue().isNegative();
  }
  auto operand = [&](unsigned at) { return is_never_negative(op->getOperand(at), depth + 1); };
  if (mlir::isa<arith::ExtUIOp, tt::MakeRangeOp>(op)) return true;
  if (mlir::isa<arith::AndIOp>(op)) return operand(0) || operand(1);
  if (mlir::isa<arith::OrIOp, arith::XOrIOp, arith::MaxSIOp>(op)) return operand(0) && operand(1);
  if (mlir::isa<arith::ShRUIOp, arith::ShRSIOp, arith::ExtSIOp, tt::SplatOp, tt::ExpandDimsOp,
                tt::BroadcastOp, tt::ReshapeOp, tt::TransOp>(op)) {
    return operand(0);
  }
  return false;
}

bool is_never_negative(mlir::Value value) {
  return is_never_negative(value, 0);
}

static int64_t largest_byte(mlir::Value value, int depth) {
  constexpr int64_t kLargest = 127;
  mlir::Operation* op = value.getDefiningOp();
  if (!op || depth > 32) return kLargest;
  if (mlir::isa<arith::ConstantOp>(op)) {
    const int64_t number = splat_of(value).value_or(kLargest);
    return number < 0 ? kLargest : number;
  }
  if (mlir::isa<arith::AndIOp>(op)) {
    return std::min(largest_byte(op->getOperand(0), depth + 1),
                    largest_byte(op->getOperand(1), depth + 1));
  }
  if (mlir::isa<tt::ExpandDimsOp, tt::BroadcastOp, tt::ReshapeOp, tt::TransOp>(op)) {
    return largest_byte(op->getOperand(0), depth + 1);
  }
  return kLargest;
}

int64_t largest_byte(mlir::Value value) {
  return largest_byte(value, 0);
}

mlir::Value pointer_root(mlir::Value pointer) {
  for (int depth = 0; depth < 64; ++depth) {
    if (auto argument = mlir::dyn_cast<mlir::BlockArgument>(pointer)) {
      mlir::Operation* parent = argument.getOwner()->getParentOp();
      if (mlir::isa<tt::FuncOp>(parent)) {
        return argument.getOwner()->isEntryBlock() ? pointer : mlir::Value();
      }
      auto loop = mlir::dyn_cast<mlir::scf::ForOp>(parent);
      if (!loop || argument.getArgNumber() == 0) return {};
      pointer = loop.getInitArgs()[argument.getArgNumber() - 1];
      continue;
    }
    mlir::Operation* op = pointer.getDefiningOp();
    if (mlir::isa<tt::AddPtrOp, tt::SplatOp, tt::ExpandDimsOp, tt::BroadcastOp, tt::ReshapeOp,
                  tt::TransOp, tt::BitcastOp>(op)) {
      pointer = op->getOperand(0);
      continue;
    }
    if (auto loop = mlir::dyn_cast<mlir::scf::ForOp>(op)) {
      pointer = loop.getInitArgs()[mlir::cast<mlir::OpResult>(pointer).getResultNumber()];
      continue;
    }
    return {};
  }
  return {};
}

namespace {

Step constant_step(int64_t value) {
  return {Step::Kind::kConstant, value};
}
Step opaque_step() {
  return {Step::Kind::kOpaque, 0};
}

Step add_steps(Step a, Step b, int64_t sign) {
  if (a.kind == Step::Kind::kOpaque || b.kind == Step::Kind::kOpaque) return opaque_step();
  if (a.kind == Step::Kind::kDynamic || b.kind == Step::Kind::kDynamic) {
    return {Step::Kind::kDynamic, 0};
  }
  return constant_step(a.value + sign * b.value);
}

// The value of a splat integer constant.
std::optional<int64_t> splat_constant(mlir::Value value) {
  mlir::Attribute attribute;
  mlir::Operation* op = value.getDefiningOp();
  while (op && mlir::isa<tt::SplatOp, tt::ExpandDimsOp, tt::BroadcastOp>(op)) {
    op = op->getOperand(0).getDefiningOp();
  }
  auto constant = mlir::dyn_cast_or_null<arith::ConstantOp>(op);
  if (!constant) return std::nullopt;
  attribute = constant.getValue();
  if (auto integer = mlir::dyn_cast<mlir::IntegerAttr>(attribute)) return integer.getInt();
  auto dense = mlir::dyn_cast<mlir::DenseIntElementsAttr>(attribute);
  if (dense && dense.isSplat()) return dense.getSplatValue<llvm::APInt>().getSExtValue();
  return std::nullopt;
}

Step multiply_step(mlir::Value x, Step step, mlir::Value y, Step other) {
  if (step.is(0) && other.is(0)) return constant_step(0);
  if (!other.is(0)) {
    std::swap(step, other);
    std::swap(x, y);
  }
  if (!other.is(0) || step.kind == Step::Kind::kOpaque) return opaque_step();
  auto factor = splat_constant(y);
  if (factor && step.kind == Step::Kind::kConstant) return constant_step(step.value * *factor);
  return {Step::Kind::kDynamic, 0};
}

// A dimension of a reshape's result as a dimension of its source, when they coincide from the
// right.
std::optional<int64_t> reshaped_dim(tt::ReshapeOp op, int64_t dim) {
  auto from = shape_of(op.getSrc()), to = shape_of(op.getResult());
  int64_t inner = 1;
  for (int64_t d = dim + 1; d < static_cast<int64_t>(to.size()); ++d) inner *= to[d];
  int64_t source_inner = 1;
  for (int64_t d = static_cast<int64_t>(from.size()) - 1; d >= 0; --d) {
    if (source_inner == inner && from[d] > 1) return d;
    source_inner *= from[d];
    if (source_inner > inner) return d;  // inside a bigger source dimension
  }
  return std::nullopt;
}

Step step_of_op(mlir::Operation* op, mlir::Value value, int64_t dim, const Plan& plan) {
  if (auto range = mlir::dyn_cast<tt::MakeRangeOp>(op)) return constant_step(1);
  if (auto expand = mlir::dyn_cast<tt::ExpandDimsOp>(op)) {
    int64_t axis = expand.getAxis();
    if (dim == axis) return constant_step(0);
    return step_along(expand.getSrc(), dim < axis ? dim : dim - 1, plan);
  }
  if (auto broadcast = mlir::dyn_cast<tt::BroadcastOp>(op)) {
    if (shape_of(broadcast.getSrc())[dim] == 1) return constant_step(0);
    return step_along(broadcast.getSrc(), dim, plan);
  }
  if (auto trans = mlir::dyn_cast<tt::TransOp>(op)) {
    return step_along(trans.getSrc(), trans.getOrder()[dim], plan);
  }
  if (auto reshape = mlir::dyn_cast<tt::ReshapeOp>(op)) {
    auto source_dim = reshaped_dim(reshape, dim);
    return source_dim ? step_along(reshape.getSrc(), *source_dim, plan) : opaque_step();
  }
  if (mlir::isa<arith::AddIOp, tt::AddPtrOp, arith::SubIOp>(op)) {
    int64_t sign = mlir::isa<arith::SubIOp>(op) ? -1 : 1;
    return add_steps(step_along(op->getOperand(0), dim, plan),
                     step_along(op->getOperand(1), dim, plan), sign);
  }
  if (mlir::isa<arith::MulIOp>(op)) {
    return multiply_step(op->getOperand(0), step_along(op->getOperand(0), dim, plan),
                         op->getOperand(1), step_along(op->getOperand(1), dim, plan));
  }
  if (mlir::isa<arith::ExtSIOp, arith::ExtUIOp, arith::TruncIOp, tt::BitcastOp>(op)) {
    return step_along(op->getOperand(0), dim, plan);
  }
  if (is_elementwise_op(op) || mlir::isa<tt::LoadOp>(op)) {
    bool uniform = llvm::all_of(op->getOperands(), [&](mlir::Value operand) {
      return !is_tensor(operand) || step_along(operand, dim, plan).is(0);
    });
    return uniform ? constant_step(0) : opaque_step();
  }
  return opaque_step();
}

}  // namespace

Step step_along(mlir::Value value, int64_t dim, const Plan& plan) {
  if (!is_tensor(value) || shape_of(value)[dim] == 1) return constant_step(0);
  if (is_uniform_tensor(value)) return constant_step(0);
  if (auto it = plan.inductions.find(value); it != plan.inductions.end()) {
    return step_along(it->second.init, dim, plan);
  }
  if (plan.stored(value)) return opaque_step();
  mlir::Operation* op = value.getDefiningOp();
  if (!op) return opaque_step();
  if (auto loop = mlir::dyn_cast<mlir::scf::ForOp>(op)) {
    unsigned index = mlir::cast<mlir::OpResult>(value).getResultNumber();
    return step_along(loop.getRegionIterArg(index), dim, plan);
  }
  return step_of_op(op, value, dim, plan);
}

}  // namespace nereid::lower
