// What a model computes in and how many rows a step has, by device and by who asks.
#include "src/engine/recording.h"

#include <gtest/gtest.h>

namespace nereid {
namespace {

RunnerOptions options_on(const std::string& target, const LoadOptions& options) {
  auto source = open_model(std::string(NEREID_TEST_DATA) + "/tiny_llama");
  EXPECT_TRUE(source) << source.error().message;
  auto made = runner_options_for(**source, options, {.target = target});
  EXPECT_TRUE(made) << made.error().message;
  return *made;
}

TEST(RunnerOptions, NarrowOnGpusBeforeRope) {
  EXPECT_EQ(options_on("cuda:90", {}).types.projected, DType::kBF16);
  EXPECT_EQ(options_on("hip:gfx942", {}).types.projected, DType::kBF16);
  EXPECT_EQ(options_on("cuda:90", {.dtype = ComputeType::kF32}).types.projected, DType::kF32);
  EXPECT_EQ(options_on("cpu:znver4", {}).types.compute, DType::kBF16);
  EXPECT_EQ(options_on("cpu:znver4", {}).types.projected, DType::kF32);
}

TEST(RunnerOptions, CacheOfTwoBytesUnlessAllIsF32) {
  EXPECT_EQ(options_on("cpu:x86-64-v3", {}).types.compute, DType::kF32);
  EXPECT_EQ(options_on("cpu:x86-64-v3", {}).types.cache, DType::kBF16);
  EXPECT_EQ(options_on("cpu:x86-64-v3", {.dtype = ComputeType::kF32}).types.cache, DType::kF32);
  EXPECT_EQ(options_on("cpu:x86-64-v3", {.cache_dtype = DType::kF16}).types.cache, DType::kF16);
  EXPECT_EQ(options_on("cuda:90", {}).types.cache, DType::kBF16);
}

TEST(RunnerOptions, ServingOnAGpuTakesShorterSteps) {
  EXPECT_EQ(options_on("cuda:90", {.shared_cache = true}).max_rows, 2048);
  EXPECT_EQ(options_on("cuda:90", {}).max_rows, 0);  // the runner's default
  EXPECT_EQ(options_on("cpu:znver4", {.shared_cache = true}).max_rows, 0);
  EXPECT_EQ(options_on("cuda:90", {.max_step_tokens = 96, .shared_cache = true}).max_rows, 96);
}

}  // namespace
}  // namespace nereid
