// The comparison must be able to fail: on each dtype, on NaN, infinities and the edges of
// tolerances.
#include "tests/conformance/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace nereid::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

template <typename T>
std::string compare_values(DType dtype, std::vector<T> got, std::vector<T> expected,
                           CaseTolerance tolerance = {}) {
  return compare(dtype, std::as_bytes(std::span(got)), std::as_bytes(std::span(expected)),
                 tolerance);
}

TEST(Widen, KnownCodes) {
  const auto value = [](DType dtype, uint64_t code) {
    return widen(dtype, std::as_bytes(std::span(&code, 1)), 0);
  };
  EXPECT_EQ(value(DType::kF16, 0x3C00), 1.0);
  EXPECT_EQ(value(DType::kF16, 0xC000), -2.0);
  EXPECT_EQ(value(DType::kF16, 0x0001), std::ldexp(1.0, -24));
  EXPECT_EQ(value(DType::kF16, 0x7BFF), 65504.0);
  EXPECT_EQ(value(DType::kF16, 0xFC00), -INFINITY);
  EXPECT_TRUE(std::isnan(value(DType::kF16, 0x7E00)));
  EXPECT_EQ(value(DType::kBF16, 0x3F80), 1.0);
  EXPECT_EQ(value(DType::kF8E4M3, 0x7E), 448.0);
  EXPECT_EQ(value(DType::kF8E4M3, 0x01), std::ldexp(1.0, -9));
  EXPECT_TRUE(std::isnan(value(DType::kF8E4M3, 0xFF)));
  EXPECT_EQ(value(DType::kF8E5M2, 0x7B), 57344.0);
  EXPECT_EQ(value(DType::kF8E5M2, 0x7C), INFINITY);
  EXPECT_EQ(value(DType::kI8, 0xFF), -1.0);
  EXPECT_EQ(value(DType::kU8, 0xFF), 255.0);
  EXPECT_EQ(value(DType::kU32, 0xFFFFFFFF), 4294967295.0);
}

TEST(Compare, Tolerances) {
  const CaseTolerance tolerance{.atol = 0.5, .rtol = 0.25};
  EXPECT_EQ(compare_values<float>(DType::kF32, {1.0f, 2.0f}, {1.0f, 2.0f}), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {1.0f}, {1.0000001f}), "");
  EXPECT_EQ(compare_values<float>(DType::kF32, {5.5f}, {4.0f}, tolerance), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {5.75f}, {4.0f}, tolerance), "");
  EXPECT_EQ(compare_values<float>(DType::kF32, {0.0f}, {-0.0f}), "");
  EXPECT_EQ(compare_values<float>(DType::kF32, {3, 1, 9}, {1, 1, 1}, {.atol = 0.1}),
            "2 of 3 differ, first at 0: got 3, expected 1; largest difference 8");
}

TEST(Compare, NaNAndInfinity) {
  const CaseTolerance loose{.atol = 1e30, .rtol = 1e30};
  EXPECT_EQ(compare_values<float>(DType::kF32, {kNaN, kInf}, {-kNaN, kInf}), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {kNaN}, {1.0f}, loose), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {1.0f}, {kNaN}, loose), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {kInf}, {-kInf}, loose), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {1.0f}, {kInf}, loose), "");
  EXPECT_NE(compare_values<float>(DType::kF32, {kInf}, {1.0f}, loose), "");
}

TEST(Compare, IntegersAreExactUnlessTold) {
  const int64_t big = int64_t{1} << 60;
  EXPECT_NE(compare_values<int64_t>(DType::kI64, {big}, {big + 1}), "");
  EXPECT_EQ(compare_values<int64_t>(DType::kI64, {big}, {big}), "");
  EXPECT_NE(compare_values<uint8_t>(DType::kU8, {1}, {2}), "");
  EXPECT_EQ(compare_values<uint8_t>(DType::kU8, {1}, {2}, {.atol = 1}), "");
}

TEST(Compare, ShareThatMayDiffer) {
  const std::vector<int32_t> zeros(100, 0);
  std::vector<int32_t> got = zeros;
  got[7] = got[8] = 1;
  EXPECT_EQ(compare_values<int32_t>(DType::kI32, got, zeros, {.mismatch = 0.02}), "");
  EXPECT_NE(compare_values<int32_t>(DType::kI32, got, zeros, {.mismatch = 0.019}), "");
}

}  // namespace
}  // namespace nereid::testing
