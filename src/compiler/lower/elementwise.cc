// One arithmetic op on scalars or on vectors of lanes. The same code serves tiles, scalars and the
// regions of reductions.
#include "llvm/IR/IntrinsicsX86.h"
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
namespace arith = mlir::arith;
using llvm::Value;

llvm::SmallVector<Value*, 4> Emitter::emit_combiner(mlir::Region& region,
                                                    llvm::ArrayRef<Value*> arguments) {
  llvm::DenseMap<mlir::Value, Value*> values;
  mlir::Block& block = region.front();
  for (auto [argument, value] : llvm::zip(block.getArguments(), arguments)) {
    values[argument] = value;
  }
  auto get = [&](mlir::Value value) -> Value* {
    if (auto it = values.find(value); it != values.end()) return it->second;
    return scalar(value);
  };
  unsigned lanes = 1;
  for (Value* argument : arguments) {
    if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(argument->getType())) {
      lanes = vector->getNumElements();
    }
  }
  for (mlir::Operation& op : block.without_terminator()) {
    llvm::SmallVector<Value*, 4> operands;
    bool mixed = false;
    for (mlir::Value operand : op.getOperands()) {
      operands.push_back(get(operand));
      mixed |= operands.back()->getType()->isVectorTy();
    }
    if (auto constant = mlir::dyn_cast<arith::ConstantOp>(op)) {
      values[constant] = attribute_constant(constant.getValue(), constant.getType());
      continue;
    }
    if (!is_elementwise_op(&op)) {
      for (mlir::Value result : op.getResults()) {
        values[result] = fail(&op, "not supported inside of a combiner", type_of(result.getType()));
      }
      continue;
    }
    for (Value*& operand : operands) {
      if (mixed && !operand->getType()->isVectorTy()) {
        operand = builder_.CreateVectorSplat(lanes, operand);
      }
    }
    for (mlir::OpResult result : op.getResults()) {
      values[result] = emit_elementwise(&op, operands, result.getResultNumber());
    }
  }
  llvm::SmallVector<Value*, 4> results;
  for (mlir::Value operand : block.getTerminator()->getOperands()) {
    Value* value = get(operand);
    if (lanes > 1 && !value->getType()->isVectorTy()) {
      value = builder_.CreateVectorSplat(lanes, value);
    }
    results.push_back(value);
  }
  return results;
}

Value* Emitter::emit_elementwise(mlir::Operation* op, llvm::ArrayRef<Value*> x, unsigned result) {
  if (mlir::isa<arith::SelectOp>(op)) return builder_.CreateSelect(x[0], x[1], x[2]);
  if (mlir::isa<arith::CmpIOp, arith::CmpFOp>(op)) return emit_compare(op, x[0], x[1]);
  if (auto external = mlir::dyn_cast<tt::ExternElementwiseOp>(op)) return emit_extern(external, x);
  if (mlir::isa<tt::PairDotOp, tt::PairScaleOp>(op)) return emit_pair_op(op, x);
  if (mlir::isa<arith::ExtSIOp, arith::ExtUIOp, arith::TruncIOp, arith::ExtFOp, arith::TruncFOp,
                arith::SIToFPOp, arith::UIToFPOp, arith::FPToSIOp, arith::FPToUIOp,
                arith::BitcastOp, arith::IndexCastOp, arith::IndexCastUIOp, tt::BitcastOp,
                tt::FpToFpOp, tt::IntToPtrOp, tt::PtrToIntOp>(op)) {
    return emit_cast(op, x[0]);
  }
  if (auto add = mlir::dyn_cast<tt::AddPtrOp>(op)) {
    auto type = mlir::cast<tt::PointerType>(mlir::getElementTypeOrSelf(add.getPtr().getType()));
    unsigned bits = element_bytes(type.getPointeeType()) * 8;
    return builder_.CreateGEP(builder_.getIntNTy(bits), x[0], x[1]);
  }
  mlir::Type element = mlir::getElementTypeOrSelf(op->getResult(result).getType());
  if (element.isIntOrIndex() && op->getName().getDialectNamespace() != "math") {
    return emit_integer(op, x, result);
  }
  if (op->getName().getDialectNamespace() == "math") return emit_math_op(op, x);
  return emit_float(op, x);
}

Value* Emitter::emit_compare(mlir::Operation* op, Value* a, Value* b) {
  using P = llvm::CmpInst::Predicate;
  if (auto cmp = mlir::dyn_cast<arith::CmpIOp>(op)) {
    constexpr P kInteger[] = {P::ICMP_EQ,  P::ICMP_NE,  P::ICMP_SLT, P::ICMP_SLE, P::ICMP_SGT,
                              P::ICMP_SGE, P::ICMP_ULT, P::ICMP_ULE, P::ICMP_UGT, P::ICMP_UGE};
    return builder_.CreateICmp(kInteger[static_cast<int>(cmp.getPredicate())], a, b);
  }
  auto cmp = mlir::cast<arith::CmpFOp>(op);
  mlir::Type element = mlir::getElementTypeOrSelf(cmp.getLhs().getType());
  constexpr P kFloat[] = {P::FCMP_FALSE, P::FCMP_OEQ, P::FCMP_OGT, P::FCMP_OGE,
                          P::FCMP_OLT,   P::FCMP_OLE, P::FCMP_ONE, P::FCMP_ORD,
                          P::FCMP_UEQ,   P::FCMP_UGT, P::FCMP_UGE, P::FCMP_ULT,
                          P::FCMP_ULE,   P::FCMP_UNE, P::FCMP_UNO, P::FCMP_TRUE};
  return builder_.CreateFCmp(kFloat[static_cast<int>(cmp.getPredicate())], to_f32(a, element),
                             to_f32(b, element));
}

// On a CPU a division by zero traps, also in lanes that nobody uses: such divisors become 1.
Value* Emitter::emit_divide(mlir::Operation* op, Value* a, Value* b) {
  llvm::Type* type = b->getType();
  auto* scalar_constant = llvm::dyn_cast<llvm::Constant>(b);
  if (scalar_constant && type->isVectorTy()) scalar_constant = scalar_constant->getSplatValue();
  auto* constant = llvm::dyn_cast_or_null<llvm::ConstantInt>(scalar_constant);
  bool is_signed =
      mlir::isa<arith::DivSIOp, arith::RemSIOp, arith::CeilDivSIOp, arith::FloorDivSIOp>(op);
  Value* zero = llvm::Constant::getNullValue(type);
  Value* one = llvm::ConstantInt::get(type, 1);
  if (!constant || constant->isZero() || (is_signed && constant->isMinusOne())) {
    Value* bad = builder_.CreateICmpEQ(b, zero);
    if (is_signed) {
      Value* lowest =
          llvm::ConstantInt::get(type, llvm::APInt::getSignedMinValue(type->getScalarSizeInBits()));
      Value* overflow =
          builder_.CreateAnd(builder_.CreateICmpEQ(b, llvm::Constant::getAllOnesValue(type)),
                             builder_.CreateICmpEQ(a, lowest));
      bad = builder_.CreateOr(bad, overflow);
    }
    b = builder_.CreateFreeze(builder_.CreateSelect(bad, one, b));
  }
  if (mlir::isa<arith::DivSIOp>(op)) return builder_.CreateSDiv(a, b);
  if (mlir::isa<arith::DivUIOp>(op)) return builder_.CreateUDiv(a, b);
  if (mlir::isa<arith::RemSIOp>(op)) return builder_.CreateSRem(a, b);
  if (mlir::isa<arith::RemUIOp>(op)) return builder_.CreateURem(a, b);
  if (mlir::isa<arith::CeilDivUIOp>(op)) {
    Value* quotient = builder_.CreateUDiv(a, b);
    Value* rest = builder_.CreateICmpNE(builder_.CreateURem(a, b), zero);
    return builder_.CreateAdd(quotient, builder_.CreateZExt(rest, type));
  }
  Value* quotient = builder_.CreateSDiv(a, b);
  Value* rest = builder_.CreateICmpNE(builder_.CreateSRem(a, b), zero);
  Value* differ = builder_.CreateICmpSLT(builder_.CreateXor(a, b), zero);
  if (mlir::isa<arith::CeilDivSIOp>(op)) {
    Value* up = builder_.CreateAnd(rest, builder_.CreateNot(differ));
    return builder_.CreateAdd(quotient, builder_.CreateZExt(up, type));
  }
  return builder_.CreateSub(quotient, builder_.CreateZExt(builder_.CreateAnd(rest, differ), type));
}

// Of whole vectors of 32-bit numbers by other amounts than constants, as AVX2 does it: whatever the
// amount. LLVM would compare amounts with 32, and take a slower instruction where all are the same.
Value* Emitter::emit_variable_shift(mlir::Operation* op, Value* a, Value* b) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(a->getType());
  if (!target_.has_avx2 || !type || !type->getElementType()->isIntegerTy(32) ||
      llvm::isa<llvm::Constant>(b))
    return nullptr;
  using Ids = std::array<llvm::Intrinsic::ID, 3>;  // of 4, 8, 16 numbers
  constexpr Ids kLeft = {llvm::Intrinsic::x86_avx2_psllv_d, llvm::Intrinsic::x86_avx2_psllv_d_256,
                         llvm::Intrinsic::x86_avx512_psllv_d_512};
  constexpr Ids kRight = {llvm::Intrinsic::x86_avx2_psrlv_d, llvm::Intrinsic::x86_avx2_psrlv_d_256,
                          llvm::Intrinsic::x86_avx512_psrlv_d_512};
  constexpr Ids kSigned = {llvm::Intrinsic::x86_avx2_psrav_d, llvm::Intrinsic::x86_avx2_psrav_d_256,
                           llvm::Intrinsic::x86_avx512_psrav_d_512};
  const Ids& ids = mlir::isa<arith::ShLIOp>(op)    ? kLeft
                   : mlir::isa<arith::ShRUIOp>(op) ? kRight
                                                   : kSigned;
  const unsigned lanes = type->getNumElements();
  if (lanes != 4 && lanes != 8 && (lanes != 16 || target_.vector_bytes < 64)) return nullptr;
  return builder_.CreateIntrinsic(ids[lanes / 8], {}, {a, b});
}

// Shifts by the width or more give 0 (or the sign), as they do on GPUs.
Value* Emitter::emit_shift(mlir::Operation* op, Value* a, Value* b) {
  llvm::Type* type = a->getType();
  unsigned bits = type->getScalarSizeInBits();
  if (Value* shifted = emit_variable_shift(op, a, b)) return shifted;
  Value* limit = llvm::ConstantInt::get(type, bits);
  Value* inside = builder_.CreateICmpULT(b, limit);
  if (mlir::isa<arith::ShRSIOp>(op)) {
    Value* most = llvm::ConstantInt::get(type, bits - 1);
    return builder_.CreateAShr(a, builder_.CreateSelect(inside, b, most));
  }
  Value* amount = builder_.CreateSelect(inside, b, llvm::Constant::getNullValue(type));
  Value* shifted =
      mlir::isa<arith::ShLIOp>(op) ? builder_.CreateShl(a, amount) : builder_.CreateLShr(a, amount);
  return builder_.CreateSelect(inside, shifted, llvm::Constant::getNullValue(type));
}

Value* Emitter::emit_integer(mlir::Operation* op, llvm::ArrayRef<Value*> x, unsigned result) {
  if (mlir::isa<arith::AddIOp>(op)) {
    if (Value* sum = add_pair_dot(x[0], x[1])) return sum;
    return builder_.CreateAdd(x[0], x[1]);
  }
  if (mlir::isa<arith::SubIOp>(op)) return builder_.CreateSub(x[0], x[1]);
  if (mlir::isa<arith::MulIOp>(op)) return builder_.CreateMul(x[0], x[1]);
  if (mlir::isa<arith::AndIOp>(op)) return builder_.CreateAnd(x[0], x[1]);
  if (mlir::isa<arith::OrIOp>(op)) return builder_.CreateOr(x[0], x[1]);
  if (mlir::isa<arith::XOrIOp>(op)) return builder_.CreateXor(x[0], x[1]);
  if (mlir::isa<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(op)) {
    return emit_shift(op, x[0], x[1]);
  }
  if (mlir::isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::CeilDivSIOp,
                arith::CeilDivUIOp, arith::FloorDivSIOp>(op)) {
    return emit_divide(op, x[0], x[1]);
  }
  auto binary = [&](llvm::Intrinsic::ID id) {
    return builder_.CreateBinaryIntrinsic(id, x[0], x[1]);
  };
  if (mlir::isa<arith::MaxSIOp>(op)) return binary(llvm::Intrinsic::smax);
  if (mlir::isa<arith::MinSIOp>(op)) return binary(llvm::Intrinsic::smin);
  if (mlir::isa<arith::MaxUIOp>(op)) return binary(llvm::Intrinsic::umax);
  if (mlir::isa<arith::MinUIOp>(op)) return binary(llvm::Intrinsic::umin);
  bool high_only = mlir::isa<tt::MulhiUIOp>(op);
  if (high_only || mlir::isa<arith::MulUIExtendedOp, arith::MulSIExtendedOp>(op)) {
    if (!high_only && result == 0) return builder_.CreateMul(x[0], x[1]);
    llvm::Type* type = x[0]->getType();
    unsigned bits = type->getScalarSizeInBits();
    llvm::Type* wide = type->getWithNewBitWidth(2 * bits);
    bool is_signed = mlir::isa<arith::MulSIExtendedOp>(op);
    auto extend = [&](Value* v) {
      return is_signed ? builder_.CreateSExt(v, wide) : builder_.CreateZExt(v, wide);
    };
    Value* product = builder_.CreateMul(extend(x[0]), extend(x[1]));
    return builder_.CreateTrunc(builder_.CreateLShr(product, bits), type);
  }
  if (mlir::isa<arith::AddUIExtendedOp>(op)) {
    Value* sum = builder_.CreateAdd(x[0], x[1]);
    return result == 0 ? sum : builder_.CreateICmpULT(sum, x[0]);
  }
  return fail(op, "not supported", x.empty() ? builder_.getInt32Ty() : x[0]->getType());
}

// AVX-512's vrange: the larger (or smaller) one, the number if one is a NaN (a signalling one may
// give a NaN, as maxnum may). Null if there is none for the type. LLVM makes maxnum of vmaxps, a
// comparison and a masked move.
Value* Emitter::range_minmax(bool is_max, Value* a, Value* b) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(a->getType());
  if (!target_.has_avx512f || !type || !type->getElementType()->isFloatTy()) return nullptr;
  const unsigned lanes = type->getNumElements();
  llvm::Intrinsic::ID id = lanes == 16  ? llvm::Intrinsic::x86_avx512_mask_range_ps_512
                           : lanes == 8 ? llvm::Intrinsic::x86_avx512_mask_range_ps_256
                           : lanes == 4 ? llvm::Intrinsic::x86_avx512_mask_range_ps_128
                                        : llvm::Intrinsic::not_intrinsic;
  if (id == llvm::Intrinsic::not_intrinsic) return nullptr;
  constexpr uint32_t kSignOfResult = 4, kCurrentRounding = 4;
  llvm::Type* mask = builder_.getIntNTy(std::max(lanes, 8U));
  llvm::SmallVector<Value*, 6> operands = {a, b, i32(kSignOfResult + (is_max ? 1 : 0)),
                                           llvm::PoisonValue::get(type),
                                           llvm::Constant::getAllOnesValue(mask)};
  if (lanes == 16) operands.push_back(i32(kCurrentRounding));
  return builder_.CreateIntrinsic(id, {}, operands);
}

// maximumf/minimumf keep NaN; maxnumf/minnumf prefer the number, as LLVM's do.
Value* Emitter::emit_minmax(mlir::Operation* op, Value* a, Value* b) {
  if (mlir::isa<arith::MaxNumFOp, arith::MinNumFOp>(op)) {
    const bool is_max = mlir::isa<arith::MaxNumFOp>(op);
    if (Value* picked = range_minmax(is_max, a, b)) return picked;
    return is_max ? builder_.CreateMaxNum(a, b) : builder_.CreateMinNum(a, b);
  }
  bool is_max = mlir::isa<arith::MaximumFOp>(op);
  // x86's max(x, y) gives y when either is NaN; `x > y ? x : y` selects it in one instruction.
  Value* better = is_max ? builder_.CreateFCmpOGT(a, b) : builder_.CreateFCmpOLT(a, b);
  Value* picked = builder_.CreateSelect(better, a, b);
  // Here: the better one, b if either is NaN. Equal zeros give b; signs of zeros are not ordered.
  return builder_.CreateSelect(builder_.CreateFCmpUNO(a, a), a, picked);
}

Value* Emitter::emit_float(mlir::Operation* op, llvm::ArrayRef<Value*> x) {
  mlir::Type element = mlir::getElementTypeOrSelf(op->getResult(0).getType());
  if (mlir::isa<arith::NegFOp>(op) && element.isBF16()) {
    return builder_.CreateXor(x[0], llvm::ConstantInt::get(x[0]->getType(), 0x8000));
  }
  Rounding rounding = Rounding::kNearestEven;
  llvm::SmallVector<Value*, 4> v;
  for (Value* operand : x) v.push_back(to_f32(operand, element));
  Value* out = nullptr;
  if (mlir::isa<arith::AddFOp>(op))
    out = builder_.CreateFAdd(v[0], v[1]);
  else if (mlir::isa<arith::SubFOp>(op))
    out = builder_.CreateFSub(v[0], v[1]);
  else if (mlir::isa<arith::MulFOp>(op))
    out = builder_.CreateFMul(v[0], v[1]);
  else if (mlir::isa<arith::DivFOp, tt::PreciseDivFOp, tt::ApproxDivFOp>(op))
    out = builder_.CreateFDiv(v[0], v[1]);
  else if (mlir::isa<arith::RemFOp>(op))
    out = builder_.CreateFRem(v[0], v[1]);
  else if (mlir::isa<arith::NegFOp>(op))
    out = builder_.CreateFNeg(v[0]);
  else if (mlir::isa<tt::PreciseSqrtOp>(op))
    out = builder_.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, v[0]);
  else if (mlir::isa<arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp, arith::MinNumFOp>(
               op)) {
    out = emit_minmax(op, v[0], v[1]);
    rounding = Rounding::kTowardZero;  // the result is one of the operands
  } else if (auto clamp = mlir::dyn_cast<tt::ClampFOp>(op)) {
    rounding = Rounding::kTowardZero;
    // A NaN x fails both comparisons, so it passes through; without propagation it gives min.
    Value* low = builder_.CreateSelect(builder_.CreateFCmpOLT(v[0], v[1]), v[1], v[0]);
    out = builder_.CreateSelect(builder_.CreateFCmpOGT(low, v[2]), v[2], low);
    if (clamp.getPropagateNan() == tt::PropagateNan::NONE) {
      out = builder_.CreateSelect(builder_.CreateFCmpUNO(v[0], v[0]), v[1], out);
    }
  } else {
    return fail(op, "not supported", x.empty() ? type_of(element) : x[0]->getType());
  }
  return from_f32(out, element, rounding);
}

}  // namespace nereid::lower
