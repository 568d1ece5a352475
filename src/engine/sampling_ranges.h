// What sampling parameters may be: for the engine, which refuses the rest, and for flags, which
// name themselves when they refuse it earlier.
#pragma once

#include <string>

#include <fmt/format.h>

namespace nereid {

struct SamplingRange {
  float min, max;
  bool above_min = false;  // min itself is outside

  // False for NaN.
  constexpr bool contains(float value) const {
    return value >= min && value <= max && !(above_min && value == min);
  }
  std::string text() const {
    return above_min ? fmt::format("more than {} and at most {}", min, max)
                     : fmt::format("{} to {}", min, max);
  }
};

inline constexpr SamplingRange kTemperatureRange{0, 100};
inline constexpr SamplingRange kTopPRange{0, 1, true};
inline constexpr SamplingRange kMinPRange{0, 1};
inline constexpr SamplingRange kRepetitionPenaltyRange{0.01f, 100};
inline constexpr SamplingRange kPenaltyRange{-2, 2};  // presence, frequency
inline constexpr SamplingRange kLogitBiasRange{-100, 100};

}  // namespace nereid
