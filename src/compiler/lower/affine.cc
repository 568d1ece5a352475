// Integer and pointer arithmetic that keeps "base + pattern" visible: what makes unit strides,
// uniform rows and `offs // 32` known at the place where memory is touched.
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;

Pattern Emitter::combine(Pattern a, Pattern b, int64_t sign) {
  if (!b) return a;
  std::vector<int64_t> sum(b->size());
  for (size_t lane = 0; lane < sum.size(); ++lane) {
    sum[lane] = (a ? (*a)[lane] : 0) + sign * (*b)[lane];
  }
  return patterns_.intern(std::move(sum));
}

Pattern Emitter::scale_pattern(Pattern pattern, int64_t factor) {
  if (!pattern) return nullptr;
  std::vector<int64_t> scaled(*pattern);
  for (int64_t& offset : scaled) offset *= factor;
  return patterns_.intern(std::move(scaled));
}

Lanes Emitter::settle(const Lanes& value) {
  if (!value.affine() || value.scale) return value;
  int64_t shared = value.pattern->front();
  if (shared == 0) return value;
  std::vector<int64_t> rest(*value.pattern);
  for (int64_t& offset : rest) offset -= shared;
  llvm::Type* type = value.value->getType();
  llvm::Value* base =
      type->isPointerTy()
          ? builder_.CreateGEP(builder_.getInt8Ty(), value.value, i64(shared))
          : builder_.CreateAdd(value.value, llvm::ConstantInt::getSigned(type, shared, true));
  return Lanes::make_affine(base, nullptr, patterns_.intern(std::move(rest)));
}

std::optional<Lanes> Emitter::add_lanes(const Lanes& a, const Lanes& b, bool subtract) {
  if (a.vector() || b.vector()) return std::nullopt;
  llvm::Value* base =
      subtract ? builder_.CreateSub(a.value, b.value) : builder_.CreateAdd(a.value, b.value);
  int64_t sign = subtract ? -1 : 1;
  if (!b.pattern) return Lanes::make_affine(base, a.scale, a.pattern);
  if (!a.pattern) {
    if (!subtract) return Lanes::make_affine(base, b.scale, b.pattern);
    return Lanes::make_affine(base, b.scale, scale_pattern(b.pattern, -1));
  }
  if (a.scale != b.scale) {
    if (!a.scale && a.constant_offset()) return add_lanes(settle(a), b, subtract);
    if (!b.scale && b.constant_offset()) return add_lanes(a, settle(b), subtract);
    return std::nullopt;
  }
  return Lanes::make_affine(base, a.scale, combine(a.pattern, b.pattern, sign));
}

std::optional<Lanes> Emitter::multiply_lanes(const Lanes& a, const Lanes& b) {
  if (a.vector() || b.vector() || (a.pattern && b.pattern)) return std::nullopt;
  if (!a.pattern)
    return b.pattern ? multiply_lanes(b, a)
                     : Lanes::make_uniform(builder_.CreateMul(a.value, b.value));
  llvm::Value* base = builder_.CreateMul(a.value, b.value);
  auto* constant = llvm::dyn_cast<llvm::ConstantInt>(b.value);
  if (constant && constant->getValue().isSignedIntN(31)) {
    return Lanes::make_affine(base, a.scale, scale_pattern(a.pattern, constant->getSExtValue()));
  }
  if (auto shared = a.constant_offset(); shared && !a.scale) {
    return multiply_lanes(settle(a), b);
  }
  llvm::Value* scale = a.scale ? builder_.CreateMul(a.scale, b.value) : b.value;
  return Lanes::make_affine(base, scale, a.pattern);
}

// Programs use narrow integers because these wrap; 32 bits and more are indices that do not.
bool Emitter::may_wrap(llvm::Type* type) {
  return type->isIntegerTy() && type->getIntegerBitWidth() < 32;
}

// An affine value is exact modulo 2^width only. Here the same lanes such that reading each as
// `value + scale * pattern[lane]` without wrapping is exact too: folded where the base is constant,
// else a vector.
Lanes Emitter::unwrap_lanes(const Lanes& x, unsigned lanes) {
  if (!x.affine()) return x;
  auto* base = llvm::dyn_cast<llvm::ConstantInt>(x.value);
  if (!base || x.scale) return Lanes::make_vector(vector_of(x, lanes));
  unsigned width = base->getBitWidth();
  std::vector<int64_t> offsets;
  for (int64_t offset : *x.pattern) {
    llvm::APInt wide(64,
                     static_cast<uint64_t>(base->getSExtValue()) + static_cast<uint64_t>(offset));
    int64_t wrapped = wide.trunc(width).sext(64).getSExtValue();
    offsets.push_back(wrapped - base->getSExtValue());
  }
  return Lanes::make_affine(x.value, nullptr, patterns_.intern(std::move(offsets)));
}

// x / c and x % c where no group of lanes crosses a multiple of c.
std::optional<Lanes> Emitter::divide_lanes(mlir::Operation* op, const Lanes& a, const Lanes& b,
                                           bool remainder) {
  auto* constant = llvm::dyn_cast<llvm::ConstantInt>(b.value);
  if (!a.affine() || a.scale || !b.uniform() || !constant) return std::nullopt;
  if (may_wrap(a.value->getType())) return std::nullopt;
  int64_t divisor = constant->getSExtValue();
  if (divisor <= 0 || !known_nonnegative(a.value)) return std::nullopt;
  int64_t unit = divisor & -divisor;  // power of two part: alignments are powers of two
  unit = std::min(unit, known_align(a.value));
  auto* base_constant = llvm::dyn_cast<llvm::ConstantInt>(a.value);
  std::vector<int64_t> quotients, remainders;
  int64_t start = base_constant ? base_constant->getSExtValue() : 0;
  for (int64_t offset : *a.pattern) {
    int64_t value = start + offset;
    if (value < 0) return std::nullopt;
    quotients.push_back(value / divisor);
    remainders.push_back(value % divisor);
    if (!base_constant && remainders.back() >= unit) return std::nullopt;
  }
  auto& pattern = remainder ? remainders : quotients;
  llvm::Type* type = a.value->getType();
  if (base_constant) {
    return Lanes::make_affine(llvm::ConstantInt::get(type, 0), nullptr,
                              patterns_.intern(std::move(pattern)));
  }
  llvm::Value* base =
      remainder ? builder_.CreateURem(a.value, b.value) : builder_.CreateUDiv(a.value, b.value);
  return Lanes::make_affine(base, nullptr, patterns_.intern(std::move(pattern)));
}

// The op on integers or pointers without building vectors, where that is exact for `mode`.
std::optional<Lanes> Emitter::affine_op(mlir::Operation* op, llvm::ArrayRef<Lanes> x,
                                        unsigned lanes, Mode mode) {
  if (auto add = mlir::dyn_cast<tt::AddPtrOp>(op)) {
    auto pointer = mlir::cast<tt::PointerType>(mlir::getElementTypeOrSelf(add.getPtr().getType()));
    return add_pointer(x[0], x[1], pointer.getPointeeType(), lanes);
  }
  if (mlir::isa<arith::AddIOp>(op)) return add_lanes(x[0], x[1], false);
  if (mlir::isa<arith::SubIOp>(op)) return add_lanes(x[0], x[1], true);
  if (mlir::isa<arith::MulIOp>(op)) return multiply_lanes(x[0], x[1]);
  if (mlir::isa<arith::ShLIOp>(op) && x[1].uniform()) {
    auto* amount = llvm::dyn_cast<llvm::ConstantInt>(x[1].value);
    unsigned width = x[1].value->getType()->getIntegerBitWidth();
    if (!amount || amount->getValue().uge(std::min(31u, width))) return std::nullopt;
    Lanes factor = Lanes::make_uniform(
        llvm::ConstantInt::get(x[1].value->getType(), int64_t{1} << amount->getZExtValue()));
    return multiply_lanes(x[0], factor);
  }
  if (mlir::isa<arith::TruncIOp>(op) && x[0].affine()) {
    llvm::Type* type = type_of(op->getResult(0).getType());
    llvm::Value* scale = x[0].scale ? builder_.CreateTrunc(x[0].scale, type) : nullptr;
    Lanes low = Lanes::make_affine(builder_.CreateTrunc(x[0].value, type), scale, x[0].pattern);
    // Cutting off high bits is meant to wrap, also within an address.
    return mode == Mode::kAddress ? unwrap_lanes(low, lanes) : low;
  }
  if (mlir::isa<arith::DivUIOp, arith::RemUIOp, arith::DivSIOp, arith::RemSIOp>(op) &&
      mode == Mode::kAddress) {
    return divide_lanes(op, x[0], x[1], mlir::isa<arith::RemUIOp, arith::RemSIOp>(op));
  }
  if (mlir::isa<arith::ExtSIOp, arith::ExtUIOp>(op) && x[0].affine() && mode == Mode::kAddress) {
    if (may_wrap(x[0].value->getType())) return std::nullopt;
    llvm::Type* type = type_of(op->getResult(0).getType());
    bool is_signed = mlir::isa<arith::ExtSIOp>(op);
    auto extend = [&](llvm::Value* value) {
      return is_signed ? builder_.CreateSExt(value, type) : builder_.CreateZExt(value, type);
    };
    return Lanes::make_affine(extend(x[0].value), x[0].scale ? extend(x[0].scale) : nullptr,
                              x[0].pattern);
  }
  return std::nullopt;
}

Lanes Emitter::add_pointer(const Lanes& pointer, const Lanes& given_offset, mlir::Type pointee,
                           unsigned lanes) {
  bool wraps = given_offset.affine() && may_wrap(given_offset.value->getType());
  Lanes offset = wraps ? unwrap_lanes(given_offset, lanes) : given_offset;
  llvm::Type* bytes = builder_.getInt8Ty();
  llvm::Type* wide = builder_.getInt64Ty();
  int64_t size = element_bytes(pointee);
  auto in_bytes = [&](llvm::Value* elements) {
    return builder_.CreateMul(builder_.CreateSExt(elements, wide), i64(size));
  };
  if (!pointer.vector() && !offset.vector()) {
    llvm::Value* base = builder_.CreateGEP(bytes, pointer.value, in_bytes(offset.value));
    if (!offset.pattern) return Lanes::make_affine(base, pointer.scale, pointer.pattern);
    llvm::Value* scale = offset.scale ? in_bytes(offset.scale) : nullptr;
    Pattern pattern = offset.scale ? offset.pattern : scale_pattern(offset.pattern, size);
    if (!pointer.pattern) return Lanes::make_affine(base, scale, pattern);
    if (pointer.scale == scale) {
      return Lanes::make_affine(base, scale, combine(pointer.pattern, pattern, 1));
    }
    if (!pointer.scale && pointer.constant_offset()) {
      return add_pointer(settle(pointer), offset, pointee, lanes);
    }
    if (!offset.scale && offset.constant_offset()) {
      return add_pointer(pointer, settle(offset), pointee, lanes);
    }
  }
  // A scalar base with a vector of 32-bit offsets is what gather instructions want.
  llvm::Value* base = pointer.uniform() ? pointer.value : vector_of(pointer, lanes);
  llvm::Value* index =
      offset.uniform() ? builder_.CreateSExt(offset.value, wide) : vector_of(offset, lanes);
  llvm::Type* element = builder_.getIntNTy(static_cast<unsigned>(size) * 8);
  return Lanes::make_vector(builder_.CreateGEP(element, base, index));
}

}  // namespace nereid::lower
