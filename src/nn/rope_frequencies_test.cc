// RoPE frequencies against values worked out from the papers' formulas by hand.
#include "src/nn/rope_frequencies.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nereid::nn {
namespace {

RopeSpec spec_with(RopeScaling scaling) {
  return {.rotary_dim = 64, .interleaved = false, .theta = 10000.0f, .scaling = std::move(scaling)};
}

TEST(RopeFrequencies, PlainIsGeometric) {
  const auto result = rope_frequencies(spec_with({}));
  ASSERT_EQ(result.inverse.size(), 32u);
  EXPECT_FLOAT_EQ(result.inverse[0], 1.0f);
  EXPECT_FLOAT_EQ(result.inverse[16], 0.01f);
  EXPECT_EQ(result.attention_factor, 1.0f);
}

TEST(RopeFrequencies, LinearDividesAll) {
  const auto result =
      rope_frequencies(spec_with({.kind = RopeScaling::Kind::kLinear, .factor = 4}));
  EXPECT_FLOAT_EQ(result.inverse[0], 0.25f);
  EXPECT_FLOAT_EQ(result.inverse[16], 0.0025f);
}

TEST(RopeFrequencies, Llama3KeepsShortAndStretchesLongWavelengths) {
  const auto result = rope_frequencies(spec_with({.kind = RopeScaling::Kind::kLlama3,
                                                  .factor = 8,
                                                  .low_freq_factor = 1,
                                                  .high_freq_factor = 4,
                                                  .original_max_position = 8192}));
  EXPECT_FLOAT_EQ(result.inverse[0], 1.0f);               // wavelength 6.3 < 2048
  const float last = std::pow(10000.0f, -62.0f / 64.0f);  // wavelength 47,000 > 8192
  EXPECT_NEAR(result.inverse[31] / (last / 8), 1.0, 1e-5);
  // Index 24: frequency 1e-3, wavelength 6283.2; smooth = (8192 / 6283.2 - 1) / 3 = 0.101266.
  EXPECT_NEAR(result.inverse[24], (1 - 0.101266) * 1e-3 / 8 + 0.101266e-3, 1e-8);
}

TEST(RopeFrequencies, YarnBlendsBetweenItsCorrectionDimensions) {
  const auto result = rope_frequencies(spec_with({.kind = RopeScaling::Kind::kYarn,
                                                  .factor = 4,
                                                  .beta_fast = 32,
                                                  .beta_slow = 1,
                                                  .original_max_position = 4096}));
  // Correction dimensions: floor(64 ln(4096 / 64 pi) / (2 ln 10000)) = 10, ceil(22.51) = 23.
  EXPECT_FLOAT_EQ(result.inverse[10], std::pow(10000.0f, -20.0f / 64.0f));
  EXPECT_FLOAT_EQ(result.inverse[23], std::pow(10000.0f, -46.0f / 64.0f) / 4);
  EXPECT_NEAR(result.attention_factor, 0.1 * std::log(4.0) + 1, 1e-6);
}

TEST(RopeFrequencies, DivisorsFromTheFileWin) {
  RopeScaling scaling;
  scaling.freq_divisors.assign(32, 2.0f);
  EXPECT_FLOAT_EQ(rope_frequencies(spec_with(scaling)).inverse[0], 0.5f);
}

}  // namespace
}  // namespace nereid::nn
