// Coordinates: joining several into one linear index and splitting it again, exactly, so that
// reshapes and transposes of tiles cost nothing.
#include <numeric>

#include "src/compiler/lower/emitter.h"

namespace nereid::lower {

Coord Emitter::constant_coord(int64_t value) {
  return {.base = i64(value), .align = 1, .pattern = nullptr, .opaque = nullptr};
}

// index * step + pattern
Coord Emitter::scaled_coord(llvm::Value* index, int64_t step, Pattern pattern) {
  llvm::Value* base = builder_.CreateMul(index, i64(step), "", true, true);
  return {.base = base, .align = step, .pattern = pattern, .opaque = nullptr};
}

llvm::Value* Emitter::coord_vector(const Coord& coord, unsigned lanes) {
  if (coord.opaque) return coord.opaque;
  if (lanes == 1) return coord.base;
  llvm::Value* base = builder_.CreateVectorSplat(lanes, coord.base);
  if (!coord.pattern) return base;
  llvm::SmallVector<llvm::Constant*, 64> offsets;
  for (int64_t offset : *coord.pattern) offsets.push_back(builder_.getInt64(offset));
  return builder_.CreateAdd(base, llvm::ConstantVector::get(offsets));
}

Coord Emitter::coord_from_lanes(const Lanes& value, unsigned lanes) {
  llvm::Type* wide = builder_.getInt64Ty();
  if (value.uniform()) {
    return {.base = builder_.CreateZExtOrTrunc(value.value, wide), .align = 1};
  }
  llvm::Value* vector = vector_of(value, lanes);
  return {.opaque = builder_.CreateZExtOrTrunc(vector, widen(wide, lanes))};
}

Coord Emitter::linearize(llvm::ArrayRef<Coord> coords, llvm::ArrayRef<int64_t> strides,
                         unsigned lanes) {
  bool opaque = llvm::any_of(coords, [](const Coord& c) { return c.opaque != nullptr; });
  if (opaque) {
    llvm::Value* sum = llvm::Constant::getNullValue(widen(builder_.getInt64Ty(), lanes));
    for (auto [coord, stride] : llvm::zip(coords, strides)) {
      llvm::Value* term = builder_.CreateMul(coord_vector(coord, lanes),
                                             builder_.CreateVectorSplat(lanes, i64(stride)));
      sum = builder_.CreateAdd(sum, term);
    }
    return {.opaque = sum};
  }
  Coord result{.base = i64(0), .align = 0};
  std::vector<int64_t> pattern(lanes, 0);
  for (auto [coord, stride] : llvm::zip(coords, strides)) {
    auto* constant = llvm::dyn_cast<llvm::ConstantInt>(coord.base);
    if (!constant || !constant->isZero()) {
      llvm::Value* term = builder_.CreateMul(coord.base, i64(stride), "", true, true);
      result.base = builder_.CreateAdd(result.base, term, "", true, true);
      result.align = std::gcd(result.align,
                              constant ? constant->getSExtValue() * stride : coord.align * stride);
    }
    if (!coord.pattern) continue;
    for (unsigned lane = 0; lane < lanes; ++lane) pattern[lane] += (*coord.pattern)[lane] * stride;
  }
  if (result.align == 0) result.align = 1;  // the base is a constant: divide() looks at it itself
  result.pattern = patterns_.intern(std::move(pattern));
  return result;
}

// (quotient, remainder) of a coordinate by a constant.
std::pair<Coord, Coord> Emitter::divide(const Coord& coord, int64_t divisor, unsigned lanes) {
  if (divisor == 1) return {coord, constant_coord(0)};
  auto opaque_divide = [&]() -> std::pair<Coord, Coord> {
    llvm::Value* vector = coord_vector(coord, lanes);
    llvm::Value* by = builder_.CreateVectorSplat(lanes, i64(divisor));
    return {Coord{.opaque = builder_.CreateUDiv(vector, by)},
            Coord{.opaque = builder_.CreateURem(vector, by)}};
  };
  if (coord.opaque) return opaque_divide();
  std::vector<int64_t> offsets = coord.pattern ? *coord.pattern : std::vector<int64_t>(lanes, 0);
  auto* constant = llvm::dyn_cast<llvm::ConstantInt>(coord.base);
  std::vector<int64_t> quotients(lanes), remainders(lanes);
  if (constant) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      int64_t value = constant->getSExtValue() + offsets[lane];
      quotients[lane] = value / divisor;
      remainders[lane] = value % divisor;
    }
    auto make = [&](std::vector<int64_t>& values) {
      int64_t low = *std::min_element(values.begin(), values.end());
      for (int64_t& value : values) value -= low;
      return Coord{.base = i64(low), .align = 1, .pattern = patterns_.intern(values)};
    };
    return {make(quotients), make(remainders)};
  }
  int64_t unit = std::gcd(coord.align, divisor);  // base % divisor is a multiple of this
  for (unsigned lane = 0; lane < lanes; ++lane) {
    quotients[lane] = offsets[lane] / divisor;
    remainders[lane] = offsets[lane] % divisor;
    if (remainders[lane] >= unit) return opaque_divide();
  }
  bool whole = unit == divisor;
  llvm::Value* by = i64(divisor);
  Coord quotient{.base = builder_.CreateUDiv(coord.base, by),
                 .align = whole ? coord.align / divisor : 1,
                 .pattern = patterns_.intern(quotients)};
  Coord remainder{.base = whole ? i64(0) : builder_.CreateURem(coord.base, by),
                  .align = unit,
                  .pattern = patterns_.intern(remainders)};
  return {quotient, remainder};
}

Point Emitter::with_coords(const Point& point, llvm::ArrayRef<Coord> coords) {
  Point result;
  result.lanes = point.lanes;
  result.coords.assign(coords.begin(), coords.end());
  return result;
}

// The point of a tensor of shape `from` that holds element `point` of its row-major reshape to
// `to`.
Point Emitter::reshape_point(const Point& point, llvm::ArrayRef<int64_t> to,
                             llvm::ArrayRef<int64_t> from) {
  Point result;
  result.lanes = point.lanes;
  result.coords.resize(from.size());
  // Group the fewest trailing dimensions of both shapes that hold equally many elements.
  int64_t t = static_cast<int64_t>(to.size()) - 1, f = static_cast<int64_t>(from.size()) - 1;
  while (f >= 0 || t >= 0) {
    int64_t t_begin = t, f_begin = f;
    int64_t t_size = t >= 0 ? to[t] : 1, f_size = f >= 0 ? from[f] : 1;
    while (t_size != f_size) {
      if (t_size < f_size && t_begin > 0)
        t_size *= to[--t_begin];
      else if (f_begin > 0)
        f_size *= from[--f_begin];
      else
        break;
    }
    t_begin = std::max<int64_t>(t_begin, 0);
    f_begin = std::max<int64_t>(f_begin, 0);
    llvm::SmallVector<Coord, 4> group;
    llvm::SmallVector<int64_t, 4> strides;
    int64_t stride = 1;
    for (int64_t d = t; d >= t_begin && t >= 0; --d) {
      if (to[d] > 1) {
        group.push_back(point.coords[d]);
        strides.push_back(stride);
      }
      stride *= to[d];
    }
    Coord rest = group.size() == 1 ? group[0] : linearize(group, strides, point.lanes);
    for (int64_t d = f; d >= f_begin && f >= 0; --d) {
      if (from[d] == 1) {
        result.coords[d] = constant_coord(0);
        continue;
      }
      stride /= from[d];
      if (stride == 1) {
        result.coords[d] = rest;
        rest = constant_coord(0);
      } else {
        auto [quotient, remainder] = divide(rest, from[d], point.lanes);
        result.coords[d] = remainder;
        rest = quotient;
      }
    }
    t = t_begin - 1;
    f = f_begin - 1;
  }
  return result;
}

Point Emitter::constant_point(llvm::ArrayRef<int64_t> indices) {
  Point point;
  for (int64_t index : indices) point.coords.push_back(constant_coord(index));
  return point;
}

}  // namespace nereid::lower
