// The device contract (src/device/device.h): launches, their order, grids, scratch and threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/conformance/device_suite.h"

namespace nereid::testing {
namespace {

using ::testing::HasSubstr;

TEST_P(DeviceTest, CopiesAreOrderedAmongLaunches) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const size_t n = 20'000;
  const DevicePtr out = put(*device_, std::vector<float>(n, 0.0f));
  const DevicePtr x = *device_->alloc(n * 4);
  std::vector<float> source(n);
  for (int round = 1; round <= 20; ++round) {
    std::ranges::fill(source, static_cast<float>(round));
    ASSERT_TRUE(device_->upload(x, std::as_bytes(std::span(source))));
    std::ranges::fill(source, -1.0f);  // may be reused on return
    ASSERT_TRUE(axpy(*device_, kernel, {.x = x, .out = out, .n = static_cast<int32_t>(n), .a = 1}));
  }
  EXPECT_EQ(get<float>(*device_, out, n), std::vector<float>(n, 210.0f));
}

TEST_P(DeviceTest, LaunchesRunInOrder) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const size_t n = 1000;
  const DevicePtr x = put(*device_, std::vector<float>(n, 1.0f));
  // out = 2 * out each time (a = 1, x = out): one launch out of order or twice shows.
  for (int round = 0; round < 2000; ++round) {
    const float a = round % 2 == 0 ? 1.0f : -0.5f;  // times 2, times 1/2
    ASSERT_TRUE(axpy(*device_, kernel, {.x = x, .out = x, .n = static_cast<int32_t>(n), .a = a}));
  }
  ASSERT_TRUE(device_->synchronize());
  EXPECT_EQ(get<float>(*device_, x, n), std::vector<float>(n, 1.0f));
}

// Whatever a driver makes of sequences that come again, they do what their launches do.
TEST_P(DeviceTest, Sequences) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const size_t n = 500;
  const DevicePtr x = *device_->alloc(n * 4);
  std::vector<DevicePtr> outs;
  for (int at = 0; at < 3; ++at) outs.push_back(put(*device_, std::vector<float>(n, 0.0f)));
  for (int round = 1; round <= 12; ++round) {
    // The same launches on what memory holds now; every third time others.
    const std::vector<float> source(n, static_cast<float>(round));
    ASSERT_TRUE(device_->upload(x, std::as_bytes(std::span(source))));
    ASSERT_TRUE(device_->begin_sequence());
    for (const DevicePtr out : outs) {
      const float a = round % 3 == 0 ? -1.0f : 1.0f;
      ASSERT_TRUE(
          axpy(*device_, kernel, {.x = x, .out = out, .n = static_cast<int32_t>(n), .a = a}));
    }
    ASSERT_TRUE(device_->end_sequence());
  }
  // An empty one, and launches outside afterwards.
  ASSERT_TRUE(device_->begin_sequence());
  ASSERT_TRUE(device_->end_sequence());
  ASSERT_TRUE(
      axpy(*device_, kernel, {.x = x, .out = outs[0], .n = static_cast<int32_t>(n), .a = 1}));
  const float sum = 78 - 2 * (3 + 6 + 9 + 12);
  EXPECT_EQ(get<float>(*device_, outs[0], n), std::vector<float>(n, sum + 12));
  EXPECT_EQ(get<float>(*device_, outs[2], n), std::vector<float>(n, sum));
}

TEST_P(DeviceTest, SequencesThatNeedScratch) {
  const LoadedKernel* kernel = load(*device_, image("use_scratch", 2));
  const DevicePtr sums = *device_->alloc(64 * 8);
  const DevicePtr alignment = *device_->alloc(64 * 8);
  const uint64_t slots[] = {sums, alignment};
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(device_->begin_sequence());
    for (const uint32_t programs : {4U, 64U}) {
      ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = {programs}, .args = slots}));
    }
    ASSERT_TRUE(device_->end_sequence());
  }
  const auto got = get<int64_t>(*device_, sums, 64);
  for (size_t pid = 0; pid < 64; ++pid) ASSERT_EQ(got[pid], static_cast<int64_t>(pid) * 25000);
}

// A launch outside that needs more scratch than there is must not bring the last sequence back.
TEST_P(DeviceTest, ScratchGrowsAfterASequence) {
  const LoadedKernel* add = load(*device_, image("axpy", 4));
  const LoadedKernel* kernel = load(*device_, image("use_scratch", 2));
  const DevicePtr x = put(*device_, std::vector<float>(64, 1.0f));
  const DevicePtr out = put(*device_, std::vector<float>(64, 0.0f));
  ASSERT_TRUE(device_->begin_sequence());
  ASSERT_TRUE(axpy(*device_, add, {.x = x, .out = out, .n = 64, .a = 1}));
  ASSERT_TRUE(device_->end_sequence());
  const DevicePtr sums = *device_->alloc(256 * 8);
  const DevicePtr alignment = *device_->alloc(256 * 8);
  const uint64_t slots[] = {sums, alignment};
  for (const uint32_t programs : {2U, 256U}) {
    ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = {programs}, .args = slots}));
  }
  EXPECT_EQ(get<float>(*device_, out, 64), std::vector<float>(64, 1.0f));
}

TEST_P(DeviceTest, ClosedWithinASequence) {
  for (int round = 0; round < 20; ++round) {
    auto device = open();
    const LoadedKernel* kernel = load(*device, image("axpy", 4));
    const size_t n = 20'000;
    const DevicePtr x = *device->alloc(n * 4);
    ASSERT_TRUE(device->begin_sequence());
    for (int at = 0; at < 10; ++at) {
      ASSERT_TRUE(axpy(*device, kernel, {.x = x, .out = x, .n = static_cast<int32_t>(n), .a = 1}));
    }
  }
}

TEST_P(DeviceTest, WhatASequenceForbidsIsABug) {
  const DevicePtr x = *device_->alloc(4);
  ASSERT_TRUE(device_->begin_sequence());
  EXPECT_DEATH((void)device_->begin_sequence(), "a sequence within a sequence");
  EXPECT_DEATH(device_->free(x), "free within a sequence");
  std::vector<std::byte> bytes(4);
  EXPECT_DEATH((void)device_->download(bytes, x), "download within a sequence");
  ASSERT_TRUE(device_->end_sequence());
  ASSERT_TRUE(device_->download(bytes, x));
  device_->free(x);
}

TEST_P(DeviceTest, EveryProgramOnce) {
  const LoadedKernel* kernel = load(*device_, image("count_programs", 1));
  for (const KernelDecl* decl : {&CountPrograms::decl(), &CountPrograms::uneven_decl()}) {
    for (const Grid grid :
         {Grid{1}, Grid{2}, Grid{3}, Grid{100}, Grid{5, 7}, Grid{3, 4, 5}, Grid{1, 1, 9}}) {
      const size_t programs = grid.programs();
      const DevicePtr counts = put(*device_, std::vector<int32_t>(programs + 64, 0));
      const uint64_t slots[] = {counts};
      ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = grid, .args = slots, .decl = decl}));
      const auto seen = get<int32_t>(*device_, counts, programs + 64);
      for (size_t pid = 0; pid < seen.size(); ++pid) {
        const size_t x = pid % grid.x;
        const size_t y = pid / grid.x % grid.y;
        const size_t z = pid / grid.x / grid.y;
        const size_t expected = pid < programs ? 1 + x + 16 * y + 256 * z : 0;
        ASSERT_EQ(static_cast<size_t>(seen[pid]), expected) << pid;
      }
      device_->free(counts);
    }
  }
}

TEST_P(DeviceTest, EmptyAndHugeGrids) {
  const LoadedKernel* kernel = load(*device_, image("empty", 0));
  const auto launch = [&](Grid grid) {
    return device_->launch({.kernel = kernel, .grid = grid, .label = "empty"});
  };
  for (const Grid grid : {Grid{0}, Grid{5, 0}, Grid{5, 5, 0}, Grid{0, 0xFFFFFFFF, 0xFFFFFFFF}}) {
    EXPECT_TRUE(launch(grid).has_value());
  }
  EXPECT_TRUE(launch({2147483647}).has_value());
  EXPECT_TRUE(launch({32768, 32768, 1}).has_value());
  for (const Grid grid :
       {Grid{0x80000000}, Grid{65536, 65536}, Grid{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
        Grid{1 << 16, 1 << 16, 1 << 16}}) {
    const Status status = launch(grid);
    ASSERT_FALSE(status.has_value());
    EXPECT_THAT(status.error().message, HasSubstr("has more than 2147483647 programs"));
  }
}

TEST_P(DeviceTest, WrongNumberOfArgumentsIsABug) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const uint64_t slots[] = {0};
  EXPECT_DEATH((void)device_->launch({.kernel = kernel, .args = slots, .label = "axpy(n=1)"}),
               "axpy\\(n=1\\): 1 arguments, expected 4");
  EXPECT_DEATH((void)device_->launch({.label = "x"}), "launch of 'x' without a kernel");
}

TEST_P(DeviceTest, ScratchIsPrivateAndAligned) {
  const LoadedKernel* kernel = load(*device_, image("use_scratch", 2));
  const size_t programs = 64;
  const DevicePtr sums = *device_->alloc(programs * 8);
  const DevicePtr alignment = *device_->alloc(programs * 8);
  const uint64_t slots[] = {sums, alignment};
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = {programs}, .args = slots}));
    const auto got = get<int64_t>(*device_, sums, programs);
    for (size_t pid = 0; pid < programs; ++pid)
      ASSERT_EQ(got[pid], static_cast<int64_t>(pid) * 25000);
    EXPECT_EQ(get<int64_t>(*device_, alignment, programs), std::vector<int64_t>(programs, 0));
  }
}

TEST_P(DeviceTest, DevicesInSeveralThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      auto device = open(2);
      const LoadedKernel* kernel = load(*device, image("axpy", 4));
      const size_t n = 5000;
      const DevicePtr x = put(*device, std::vector<float>(n, static_cast<float>(thread)));
      const DevicePtr out = put(*device, std::vector<float>(n, 0.0f));
      for (int round = 0; round < 500; ++round) {
        if (!axpy(*device, kernel, {.x = x, .out = out, .n = static_cast<int32_t>(n), .a = 1}))
          return;
      }
      const std::vector<float> expected(n, 500.0f * static_cast<float>(thread));
      good += get<float>(*device, out, n) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 3);
}

// One device used by one thread after another, as the contract allows.
TEST_P(DeviceTest, HandedToAnotherThread) {
  const LoadedKernel* kernel = load(*device_, image("empty", 0));
  for (int round = 0; round < 20; ++round) {
    std::thread([&] {
      EXPECT_TRUE(device_->launch({.kernel = kernel, .grid = {64}}).has_value());
      EXPECT_TRUE(device_->synchronize().has_value());
    }).join();
  }
}

}  // namespace
}  // namespace nereid::testing
