// tt.pair_dot and tt.pair_scale, which front/pair_products.cc makes, by x86's own instructions.
#include "llvm/IR/IntrinsicsX86.h"
#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

namespace tt = mlir::triton;
using llvm::Value;

namespace {

struct Instruction {
  llvm::Intrinsic::ID of_512, of_256, of_128;
};
constexpr Instruction kDot = {llvm::Intrinsic::x86_avx512_pmaddw_d_512,
                              llvm::Intrinsic::x86_avx2_pmadd_wd,
                              llvm::Intrinsic::x86_sse2_pmadd_wd};
constexpr Instruction kScale = {llvm::Intrinsic::x86_avx512_pmul_hr_sw_512,
                                llvm::Intrinsic::x86_avx2_pmul_hr_sw,
                                llvm::Intrinsic::x86_ssse3_pmul_hr_sw_128};

}  // namespace

Value* Emitter::emit_pair_op(mlir::Operation* op, llvm::ArrayRef<Value*> x) {
  llvm::Type* type = x[0]->getType();
  if (!target_.has_avx2) return fail(op, "found target " + target_.cpu + ", expected AVX2", type);
  const bool dot = mlir::isa<tt::PairDotOp>(op);
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  const unsigned lanes = vector ? vector->getNumElements() : 1;
  const unsigned most = static_cast<unsigned>(target_.vector_bytes) / 4;
  const unsigned width = lanes % most == 0 ? most : lanes % 8 == 0 ? 8 : 4;
  const Instruction& instruction = dot ? kDot : kScale;
  auto id = width == 16 ? instruction.of_512 : width == 8 ? instruction.of_256 : instruction.of_128;
  auto* words = llvm::FixedVectorType::get(builder_.getInt32Ty(), width);
  auto* halves = llvm::FixedVectorType::get(builder_.getInt16Ty(), 2 * width);
  llvm::SmallVector<llvm::Constant*, 32> upper;
  for (unsigned half = 0; half < 2 * width; ++half)
    upper.push_back(builder_.getInt1(half % 2 == 1));
  const unsigned padded = (lanes + width - 1) / width * width;
  llvm::SmallVector<Value*, 3> wide;
  for (Value* value : x) {
    if (!vector) value = builder_.CreateVectorSplat(width, value);
    if (vector && padded != lanes) {
      llvm::SmallVector<int, 16> order;
      for (unsigned lane = 0; lane < padded; ++lane)
        order.push_back(static_cast<int>(std::min(lane, lanes - 1)));
      value = builder_.CreateShuffleVector(value, order);
    }
    wide.push_back(value);
  }
  Value* result = llvm::PoisonValue::get(llvm::FixedVectorType::get(builder_.getInt32Ty(), padded));
  for (unsigned begin = 0; begin < padded; begin += width) {
    llvm::SmallVector<Value*, 3> part;
    for (Value* value : wide) {
      if (padded != width) value = builder_.CreateExtractVector(words, value, begin);
      part.push_back(builder_.CreateBitCast(value, halves));
    }
    Value* both = builder_.CreateSelect(llvm::ConstantVector::get(upper), part[1], part[0]);
    Value* made = builder_.CreateIntrinsic(id, {}, {both, part[2]});
    if (!dot) made = builder_.CreateBitCast(made, words);
    result = padded == width ? made
                             : builder_.CreateInsertVector(result->getType(), result, made, begin);
  }
  if (!vector) return builder_.CreateExtractElement(result, uint64_t{0});
  if (padded == lanes) return result;
  llvm::SmallVector<int, 16> order;
  for (unsigned lane = 0; lane < lanes; ++lane) order.push_back(static_cast<int>(lane));
  return builder_.CreateShuffleVector(result, order);
}

// a + b as one instruction, where either is a pair_dot that nobody else reads. LLVM finds that too,
// unless the other one comes from memory: then it adds that to the product. So: where tile
// registers leave sums in memory.
Value* Emitter::add_pair_dot(Value* a, Value* b) {
  if (!target_.has_int8_tiles) return nullptr;
  for (auto [product, sum] : {std::pair(a, b), std::pair(b, a)}) {
    auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(product);
    if (!call || call->getIntrinsicID() != kDot.of_512 || !call->use_empty()) continue;
    Value* x = call->getArgOperand(0);
    Value* y = call->getArgOperand(1);
    return builder_.CreateIntrinsic(llvm::Intrinsic::x86_avx512_vpdpwssd_512, {}, {sum, x, y});
  }
  return nullptr;
}

}  // namespace nereid::lower
