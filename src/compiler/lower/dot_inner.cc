// A dot of few rows whose b lies along k in memory: vectors along k, whose lanes are summed up at
// the end.
#include <numeric>

#include "src/base/check.h"
#include "src/compiler/lower/dot.h"

namespace nereid::lower {

using llvm::Value;

// d (m, [n, n + columns)) get `sums`, a scalar for one column.
void Emitter::add_inner_sums(const DotPlan& dot, int64_t m, Value* n, Value* sums) {
  Value* batch = builder_.CreateMul(dot.batch_coord.base, i64(dot.m * dot.n));
  Value* index = builder_.CreateAdd(n, builder_.CreateAdd(i64(m * dot.n), batch));
  Value* address = builder_.CreateInBoundsGEP(builder_.getFloatTy(), dot.d.base, index);
  if (!dot.starts_from_zero) {
    Value* old = builder_.CreateAlignedLoad(sums->getType(), address, llvm::Align(4));
    sums = builder_.CreateFAdd(sums, old);
  }
  builder_.CreateAlignedStore(sums, address, llvm::Align(4));
}

// d (m, n) gets the sum of a vector's lanes.
void Emitter::add_inner_sum(const DotPlan& dot, int64_t m, Value* n, Value* vector) {
  Value* sum = vector;
  if (vector->getType()->isVectorTy()) {
    auto* reduced =
        builder_.CreateFAddReduce(llvm::ConstantFP::getNegativeZero(builder_.getFloatTy()), vector);
    llvm::FastMathFlags reorder;
    reorder.setAllowReassoc();
    reduced->setFastMathFlags(reorder);
    sum = reduced;
  }
  add_inner_sums(dot, m, n, sum);
}

// Lane l is the sum of the lanes of vectors[l]: eight vectors of eight lanes. Halves of two vectors
// are added at a time, numbers in the order in which one vector alone is summed up.
Value* Emitter::sums_of(llvm::ArrayRef<Value*> vectors) {
  NEREID_CHECK(vectors.size() == 8, "{} vectors, not 8", vectors.size());
  const auto lanes = static_cast<unsigned>(vectors.size());
  llvm::SmallVector<Value*, 8> now(lanes);
  // So that the result of each lies in its lane after the halving below.
  for (unsigned lane = 0; lane < lanes; ++lane) {
    unsigned first = lane / (lanes / 2), rest = lane % (lanes / 2);
    now[rest * 2 + first] = vectors[lane];
  }
  for (unsigned part = lanes; part > 1; part /= 2) {
    llvm::SmallVector<int, 16> low, high;
    const unsigned half = part / 2, square = std::min(lanes, std::max(part, 4U));
    for (unsigned begin = 0; begin < lanes; begin += square) {
      for (unsigned from : {0U, lanes}) {
        for (unsigned at = begin; at < begin + square; at += part) {
          for (unsigned lane = at; lane < at + half; ++lane) {
            low.push_back(static_cast<int>(from + lane));
            high.push_back(static_cast<int>(from + lane + half));
          }
        }
      }
    }
    for (unsigned pair = 0; pair < now.size() / 2; ++pair) {
      Value *x = now[2 * pair], *y = now[2 * pair + 1];
      now[pair] = builder_.CreateFAdd(builder_.CreateShuffleVector(x, y, low),
                                      builder_.CreateShuffleVector(x, y, high));
    }
    now.resize(now.size() / 2);
  }
  return now[0];
}

// d (all m, n) .. d (all m, n + columns) get the sums of the lanes of slots [column][m].
void Emitter::store_inner_sums(const DotPlan& dot, Value* n, int64_t columns,
                               llvm::ArrayRef<llvm::AllocaInst*> slots, bool together) {
  auto sum = [&](int64_t m, int64_t c) {
    llvm::AllocaInst* slot = slots[static_cast<size_t>(c * dot.m + m)];
    return builder_.CreateLoad(slot->getAllocatedType(), slot);
  };
  if (!together) {
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t m = 0; m < dot.m; ++m) {
        Value* vector = sum(m, c);
        add_inner_sum(dot, m, builder_.CreateAdd(n, i64(c), "", true, true), vector);
      }
    }
    return;
  }
  llvm::SmallVector<Value*, 8> vectors;
  for (int64_t m = 0; m < dot.m; ++m) {
    for (int64_t c = 0; c < columns; ++c) vectors.push_back(sum(m, c));
  }
  Value* sums = sums_of(vectors);
  const auto width = static_cast<unsigned>(columns);
  for (int64_t m = 0; m < dot.m; ++m) {
    add_inner_sums(dot, m, n, slice(sums, static_cast<unsigned>(m) * width, width));
  }
}

// Few rows, and b lies along k in memory: vectors along k, summed up at the end.
void Emitter::emit_inner_product(const DotPlan& dot) {
  mlir::Value a = dot.op.getA(), b = dot.b_value;
  mlir::Type from_a = mlir::getElementTypeOrSelf(a.getType());
  mlir::Type from_b = mlir::getElementTypeOrSelf(b.getType());
  mlir::Type f32 = mlir::Float32Type::get(a.getContext());
  unsigned lanes = static_cast<unsigned>(std::gcd<int64_t>(dot.k, target_.vector_bytes / 4));
  int64_t columns = dot.n % 4 == 0 ? 4 : 1;
  // With 16 registers: as many sums as lanes, 8, which are added up together.
  const bool together =
      target_.vector_registers < 32 && lanes == 8 && 8 % dot.m == 0 && dot.n % (8 / dot.m) == 0;
  if (together) columns = 8 / dot.m;
  llvm::Type* type = widen(builder_.getFloatTy(), lanes);
  Pattern along = steps(lanes);
  begin_spread(dot.n / columns);
  emit_loop(i64(0), i64(dot.n), i64(columns), [&](Value* n) {
    advance_spread();
    std::vector<llvm::AllocaInst*> slots;
    for (int64_t s = 0; s < dot.m * columns; ++s) {
      slots.push_back(stack_slot(type, "sum"));
      builder_.CreateStore(llvm::Constant::getNullValue(type), slots.back());
    }
    emit_loop(i64(0), i64(dot.k / lanes), i64(1), [&](Value* k_block) {
      Coord k = scaled_coord(k_block, lanes, along);
      llvm::SmallVector<Value*, 4> rows;
      for (int64_t m = 0; m < dot.m; ++m) {
        Lanes value = eval(a, dot.point({constant_coord(m), k}, lanes));
        rows.push_back(vector_of(convert_lanes(value, from_a, f32, lanes), lanes));
      }
      for (int64_t c = 0; c < columns; ++c) {
        Coord column{.base = builder_.CreateAdd(n, i64(c), "", true, true), .align = 1};
        Lanes value = eval(b, dot.point({k, column}, lanes));
        Value* x = vector_of(convert_lanes(value, from_b, f32, lanes), lanes);
        for (int64_t m = 0; m < dot.m; ++m) {
          auto* slot = slots[c * dot.m + m];
          Value* sum = builder_.CreateLoad(type, slot);
          sum = builder_.CreateIntrinsic(llvm::Intrinsic::fma, {type}, {rows[m], x, sum});
          builder_.CreateStore(sum, slot);
        }
      }
    });
    store_inner_sums(dot, n, columns, slots, together);
  });
}

}  // namespace nereid::lower
