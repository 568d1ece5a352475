// How memory is divided on GPUs and processors, and what is said where it does not suffice.
#include "src/engine/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nereid {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20, kGiB = uint64_t{1} << 30;

// 64 KiB a token: 16 layers of 1 KiB of keys and as much of values, in pages of 32 tokens.
constexpr MemoryNeeds kNeeds = {.weights = 4 * kGiB,
                                .activations = kGiB,
                                .page_bytes = 64 << 10,
                                .num_buffers = 32,
                                .page_tokens = 32};
constexpr CacheDemand kServing = {.least = 4096, .usual = 8192, .fills = true};
constexpr CacheDemand kOne = {.least = 4096, .usual = 4096};

DeviceMemory device(uint64_t free, bool gpu = true) {
  return {.name = "a device",
          .total = 100 * kGiB,
          .free = free,
          .allocation_unit = gpu ? 2 * kMiB : 4096,
          .gpu = gpu};
}

MemoryPlan planned(const CacheDemand& demand, const MemoryOptions& options,
                   const DeviceMemory& memory) {
  const auto plan = plan_memory(kNeeds, demand, options, memory);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan.value_or(MemoryPlan{});
}

std::string refused(const CacheDemand& demand, const MemoryOptions& options,
                    const DeviceMemory& memory) {
  const auto plan = plan_memory(kNeeds, demand, options, memory);
  EXPECT_FALSE(plan);
  return plan ? "" : plan.error().message;
}

TEST(MemoryPlan, ServingTakesTheShareOfAGpu) {
  const MemoryPlan plan = planned(kServing, {}, device(20 * kGiB));
  // 18 - 5 GiB in 32 buffers of whole 2 MiB: 208 units of 32 pages each.
  EXPECT_EQ(plan.num_pages, 208 * 32);
  EXPECT_EQ(plan.kv_cache, 13 * kGiB);
  EXPECT_EQ(plan.token_bytes, 64u << 10);
  EXPECT_EQ(plan.cache_tokens(), 208 * 32 * 32);
  EXPECT_DOUBLE_EQ(plan.share, 0.9);
  EXPECT_EQ(planned(kServing, {.memory_utilization = 0.5}, device(20 * kGiB)).kv_cache, 5 * kGiB);
}

TEST(MemoryPlan, WhatIsPlannedFits) {
  for (const uint64_t free : {6 * kGiB, 7 * kGiB + 12345, 33 * kGiB + 1, 99 * kGiB}) {
    const MemoryPlan plan = planned(kServing, {}, device(free));
    EXPECT_LE(plan.weights + plan.activations + plan.kv_cache,
              static_cast<uint64_t>(0.9 * static_cast<double>(free)));
    EXPECT_GE(plan.cache_tokens(), kServing.least);
  }
}

TEST(MemoryPlan, OneSequenceTakesWhatItNeeds) {
  for (const bool gpu : {false, true}) {
    EXPECT_EQ(planned(kOne, {}, device(50 * kGiB, gpu)).cache_tokens(), 4096);
  }
}

TEST(MemoryPlan, OnAProcessorServingLeavesHalfOfTheRest) {
  EXPECT_EQ(planned(kServing, {}, device(50 * kGiB, false)).cache_tokens(), 8192);
  // 5.4 - 5 GiB left: 6553 tokens, of which half would be less than the least.
  EXPECT_EQ(planned(kServing, {}, device(6 * kGiB, false)).cache_tokens(), 4096);
  // 0.72 GiB left, half of it for 5888 tokens.
  const int64_t some = planned(kServing, {}, device(6 * kGiB + 366 * kMiB, false)).cache_tokens();
  EXPECT_GT(some, 4096);
  EXPECT_LT(some, 8192);
  // The share was named, so it is taken.
  EXPECT_EQ(planned(kServing, {.memory_utilization = 0.5}, device(20 * kGiB, false)).kv_cache,
            5 * kGiB);
}

TEST(MemoryPlan, ExactSizes) {
  const MemoryPlan bytes = planned(kServing, {.kv_cache_memory = kGiB}, device(20 * kGiB));
  EXPECT_EQ(bytes.kv_cache, kGiB);
  EXPECT_EQ(bytes.cache_tokens(), 16384);
  const CacheDemand tokens = {.exact = 700, .least = 1, .fills = true};
  EXPECT_EQ(planned(tokens, {}, device(20 * kGiB)).cache_tokens(), 704);
  // The whole of what is free may be named.
  EXPECT_EQ(planned(kServing, {.kv_cache_memory = 2 * kGiB}, device(7 * kGiB)).kv_cache, 2 * kGiB);
}

TEST(MemoryPlan, ManySmallPagesHaveABound) {
  MemoryNeeds small = kNeeds;
  small.page_bytes = 64;
  small.num_buffers = 2;
  const auto plan = plan_memory(small, kServing, {}, device(60 * kGiB));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->num_pages, 1 << 21);
  const auto most = plan_memory(small, {.exact = int64_t{1} << 40}, {}, device(60 * kGiB));
  ASSERT_TRUE(most);
  EXPECT_LE(most->cache_tokens(), INT32_MAX);
}

TEST(MemoryPlan, TheErrorIsAnAccount) {
  const std::string message = refused(kServing, {}, device(5 * kGiB + 700 * kMiB));
  EXPECT_EQ(message,
            "out of memory: 5.2 GiB wanted, 5.1 GiB of the 5.7 GiB free on a device may be taken "
            "(--memory-utilization 0.90): weights 4.0 GiB, activations 1.0 GiB, KV cache 256.0 MiB "
            "for 4096 tokens (64.0 KiB a token, at least 256.0 MiB for one sequence); "
            "--max-model-len 1024 would fit; --memory-utilization 0.93 would do");
  EXPECT_THAT(refused({.least = 8192, .usual = 8192, .sequences = 4}, {}, device(6 * kGiB)),
              HasSubstr("at least 512.0 MiB for 4 sequences"));
}

TEST(MemoryPlan, WhatDoesNotFitIsNamed) {
  EXPECT_THAT(refused(kServing, {}, device(3 * kGiB)),
              HasSubstr("fewer or smaller weights would fit, or another --device"));
  EXPECT_THAT(refused(kServing, {}, device(5 * kGiB)),
              HasSubstr("--max-step-tokens take less for activations"));
  EXPECT_THAT(refused(kServing, {.kv_cache_memory = 9 * kGiB}, device(7 * kGiB)),
              HasSubstr("--kv-cache-memory 2147483648 would fit"));
  EXPECT_THAT(refused({.exact = 1'000'000, .fills = true}, {}, device(7 * kGiB)),
              HasSubstr("--cache-tokens 32768 would fit"));
  EXPECT_THAT(refused(kOne, {.kv_cache_memory = 64 * kMiB}, device(20 * kGiB)),
              HasSubstr("--kv-cache-memory: 64.0 MiB hold 1024 tokens, expected at least 256.0 MiB "
                        "for 4096 tokens (one sequence); --max-model-len lowers that"));
  EXPECT_THAT(refused(kOne, {.kv_cache_memory = 1}, device(20 * kGiB)), HasSubstr("hold 0 tokens"));
}

TEST(MemoryPlan, Text) {
  EXPECT_EQ(planned(kOne, {}, device(20 * kGiB)).text(),
            "weights 4.0 GiB, activations 1.0 GiB, KV cache 256.0 MiB for 4096 tokens (64.0 KiB "
            "each); 0.90 of 20.0 GiB free may be taken");
}

}  // namespace
}  // namespace nereid
