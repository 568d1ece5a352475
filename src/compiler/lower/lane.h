// What one evaluation of a tensor yields: the values of L neighbouring elements ("lanes"), kept in
// the cheapest form that is exact. Also the coordinates at which tensors are evaluated.
//
// Goals: unit strides, uniform values and constant patterns stay visible until memory is touched,
// so that a load can be a plain vector load, a broadcast or, only when nothing else is left, a
// gather.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Value.h"

namespace nereid::lower {

// Constant per-lane offsets, interned: equal patterns have equal addresses. nullptr: all zero.
using Pattern = const std::vector<int64_t>*;

class PatternPool {
 public:
  // nullptr when every offset is zero.
  Pattern intern(std::vector<int64_t> offsets);

 private:
  std::map<std::vector<int64_t>, std::unique_ptr<std::vector<int64_t>>> pool_;
};

// The coordinate of each lane along one dimension: base + pattern[lane], or an opaque vector.
struct Coord {
  llvm::Value* base = nullptr;    // i64, the same for all lanes, not negative
  int64_t align = 1;              // base is a multiple of this
  Pattern pattern = nullptr;      // offsets, not negative
  llvm::Value* opaque = nullptr;  // <L x i64>; then the rest is unused

  bool operator==(const Coord& other) const {
    return base == other.base && pattern == other.pattern && opaque == other.opaque;
  }
  bool operator<(const Coord& other) const {
    return std::tie(base, pattern, opaque) < std::tie(other.base, other.pattern, other.opaque);
  }
};

// Where a tensor is evaluated: one coordinate for each of its dimensions, for `lanes` elements.
struct Point {
  unsigned lanes = 1;
  llvm::SmallVector<Coord, 4> coords;
};

// Values of the lanes.
//   kUniform: scalar `value` in every lane
//   kAffine:  value + scale * pattern[lane] (integers: modulo 2^width; pointers: bytes);
//             scale == nullptr stands for 1
//   kVector:  <L x T> `value`
struct Lanes {
  enum class Kind { kUniform, kAffine, kVector };
  Kind kind = Kind::kUniform;
  llvm::Value* value = nullptr;
  llvm::Value* scale = nullptr;
  Pattern pattern = nullptr;

  bool uniform() const { return kind == Kind::kUniform; }
  bool affine() const { return kind == Kind::kAffine; }
  bool vector() const { return kind == Kind::kVector; }

  // The offset that all lanes share, if they share one.
  std::optional<int64_t> constant_offset() const {
    if (!pattern) return 0;
    for (int64_t offset : *pattern) {
      if (offset != pattern->front()) return std::nullopt;
    }
    return pattern->front();
  }

  static Lanes make_uniform(llvm::Value* value) {
    return {Kind::kUniform, value, nullptr, nullptr};
  }
  static Lanes make_vector(llvm::Value* value) { return {Kind::kVector, value, nullptr, nullptr}; }
  static Lanes make_affine(llvm::Value* base, llvm::Value* scale, Pattern pattern) {
    if (!pattern) return make_uniform(base);
    return {Kind::kAffine, base, scale, pattern};
  }
};

}  // namespace nereid::lower
