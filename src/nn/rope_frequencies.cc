// RoPE inverse frequencies: plain, linear, Llama 3 and YaRN scaling.
#include "src/nn/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/base/check.h"

namespace nereid::nn {

namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double context = scaling.original_max_position;
  const double wavelength = kTwoPi / frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  const double smooth = (context / wavelength - scaling.low_freq_factor) /
                        (double{scaling.high_freq_factor} - scaling.low_freq_factor);
  return (1.0 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// The dimension whose wavelength makes `rotations` turns within the original context.
double yarn_dimension(double rotations, const RopeSpec& spec) {
  return spec.rotary_dim * std::log(spec.scaling.original_max_position / (rotations * kTwoPi)) /
         (2.0 * std::log(double{spec.theta}));
}

double yarn_frequency(double frequency, int32_t index, const RopeSpec& spec) {
  const double last = spec.rotary_dim - 1;
  const double low = std::max(std::floor(yarn_dimension(spec.scaling.beta_fast, spec)), 0.0);
  double high = std::min(std::ceil(yarn_dimension(spec.scaling.beta_slow, spec)), last);
  if (high == low) high += 0.001;
  const double interpolated = std::clamp((index - low) / (high - low), 0.0, 1.0);
  return frequency / spec.scaling.factor * interpolated + frequency * (1.0 - interpolated);
}

double scaled_frequency(double frequency, int32_t index, const RopeSpec& spec) {
  switch (spec.scaling.kind) {
    case RopeScaling::Kind::kNone:
      return frequency;
    case RopeScaling::Kind::kLinear:
      return frequency / spec.scaling.factor;
    case RopeScaling::Kind::kLlama3:
      return llama3_frequency(frequency, spec.scaling);
    case RopeScaling::Kind::kYarn:
      return yarn_frequency(frequency, index, spec);
  }
  NEREID_CHECK(false, "RoPE scaling kind {}", static_cast<int>(spec.scaling.kind));
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeSpec& spec) {
  NEREID_CHECK(spec.rotary_dim > 0 && spec.rotary_dim % 2 == 0, "rotary_dim {}", spec.rotary_dim);
  RopeFrequencies result;
  const auto& divisors = spec.scaling.freq_divisors;
  for (int32_t index = 0; index < spec.rotary_dim / 2; ++index) {
    const double plain = std::pow(double{spec.theta}, -2.0 * index / spec.rotary_dim);
    const double frequency = divisors.empty() ? scaled_frequency(plain, index, spec)
                                              : plain / divisors[static_cast<size_t>(index)];
    result.inverse.push_back(static_cast<float>(frequency));
  }
  if (spec.scaling.kind == RopeScaling::Kind::kYarn) {
    result.attention_factor = spec.scaling.attention_factor;
    if (result.attention_factor == 0) {
      result.attention_factor =
          spec.scaling.factor > 1 ? 0.1f * std::log(spec.scaling.factor) + 1 : 1;
    }
  }
  return result;
}

}  // namespace nereid::nn
