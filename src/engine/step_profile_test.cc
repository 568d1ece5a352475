// Repetitions of a step become one table; least times by the machine's limits.
#include "src/engine/step_profile.h"

#include <gtest/gtest.h>

#include "src/engine/limits.h"

namespace nereid {
namespace {

LaunchCost one_cost(const int64_t*, const uint64_t*, const StepShape& step) {
  return {.bytes = 100, .operations = 10 * step.context, .products = DType::kBF16};
}
constexpr KernelDecl kFirst{.name = "first", .cost = one_cost};
constexpr KernelDecl kSecond{.name = "second"};

// first (qkv), second, first (qkv), first (o), each `ns` long, 5 apart.
LaunchProfile step_of(int64_t ns) {
  LaunchProfile profile;
  profile.start();
  profile.set_step({.sequences = 1, .queries = 1, .context = 8});
  int64_t now = 1000;
  for (const auto& [decl, role] :
       {std::pair{&kFirst, "qkv"}, {&kSecond, "norm"}, {&kFirst, "qkv"}, {&kFirst, "o"}}) {
    profile.add({.decl = decl, .role = role}, now, now + ns);
    now += ns + 5;
  }
  profile.stop();
  return profile;
}

TEST(StepProfile, RowsAreSumsOfAStepAndMediansOverRepetitions) {
  StepProfiler profiler;
  for (const int64_t ns : {20, 1000, 30}) {
    profiler.add_plain(static_cast<double>(ns) * 1e-6);
    profiler.add_profiled(step_of(ns), 1e-3);
  }
  const StepProfile result = profiler.result();
  ASSERT_EQ(result.operators.size(), 3u);
  const OperatorTime& qkv = result.operators[0];
  EXPECT_EQ(qkv.role, "qkv");
  EXPECT_EQ(qkv.kernel, "first");
  EXPECT_EQ(qkv.launches, 2);
  EXPECT_DOUBLE_EQ(qkv.seconds, 60e-9);
  EXPECT_EQ(qkv.bytes, 200);
  EXPECT_EQ(qkv.operations, 160);
  EXPECT_EQ(qkv.products, DType::kBF16);
  EXPECT_EQ(result.operators[1].bytes, 0);
  EXPECT_DOUBLE_EQ(result.launch_seconds, 120e-9);
  EXPECT_NEAR(result.between_seconds, 15e-9, 1e-15);
  EXPECT_DOUBLE_EQ(result.plain_seconds, 30e-6);
  EXPECT_DOUBLE_EQ(result.profiled_seconds, 1e-3);
}

TEST(Limits, TheLongerOfTheTwoTimesIsTheLeast) {
  const MachineLimits limits{.read_bytes = 1e9, .f32_operations = 1e9, .bf16_operations = 4e9};
  EXPECT_EQ(least_time(limits, 2e9, 1e9, DType::kF32).limit, "memory");
  EXPECT_DOUBLE_EQ(least_time(limits, 2e9, 1e9, DType::kF32).seconds, 2);
  EXPECT_EQ(least_time(limits, 1e9, 16e9, DType::kBF16).limit, "bf16");
  EXPECT_DOUBLE_EQ(least_time(limits, 1e9, 16e9, DType::kBF16).seconds, 4);
  EXPECT_EQ(least_time(limits, 0, 16e9, DType::kI8).limit, "-");  // not measured
  EXPECT_EQ(least_time({}, 1e9, 16e9, DType::kF32).seconds, 0);
}

TEST(Limits, OfTwoMeasurementsTheBetterFigures) {
  const MachineLimits better =
      better_of({.read_bytes = 2, .f32_operations = 5, .launch_seconds = 3},
                {.read_bytes = 4, .f32_operations = 1, .launch_seconds = 7});
  EXPECT_EQ(better.read_bytes, 4);
  EXPECT_EQ(better.f32_operations, 5);
  EXPECT_EQ(better.launch_seconds, 3);
}

}  // namespace
}  // namespace nereid
