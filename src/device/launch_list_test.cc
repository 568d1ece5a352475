// Lists longer than their bounds run all the same, each launch after the one before.
#include "src/device/cpu/launch_list.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace nereid {
namespace {

constexpr uint32_t kPrograms = 2;  // of each launch

struct Order {
  std::atomic<uint64_t> ran = 0;  // programs
  std::atomic<bool> wrong = false;
};
Order* order = nullptr;  // of the test that runs

// The first argument and the last one are the launch's number.
template <size_t kArgs>
void expect_turn(const uint64_t* args, uint32_t begin, uint32_t end, const uint32_t* /*grid*/,
                 void* /*scratch*/) {
  for (uint32_t at = begin; at < end; ++at) {
    const bool turn = order->ran.load() / kPrograms == args[0];
    if (!turn || args[kArgs - 1] != args[0]) order->wrong = true;
    ++order->ran;
  }
}

template <size_t kArgs>
void expect_each_in_turn(uint64_t launches) {
  auto pool = WorkerPool::create({.num_threads = 2});
  ASSERT_TRUE(pool);
  Order now;
  order = &now;
  LaunchList list(**pool);
  const std::vector<void*> scratch(2);
  for (uint64_t at = 0; at < launches; ++at) {
    const std::vector<uint64_t> args(kArgs, at);
    list.add({.run = expect_turn<kArgs>, .programs = kPrograms, .args = args}, scratch);
  }
  list.finish();
  EXPECT_EQ(now.ran.load(), launches * kPrograms);
  EXPECT_FALSE(now.wrong.load());
}

TEST(LaunchList, MoreLaunchesThanAreListedAtOnce) {
  expect_each_in_turn<3>(2 * WorkerPool::kMostWorks + 3);
}

TEST(LaunchList, MoreArgumentsThanAreListedAtOnce) {
  expect_each_in_turn<4000>(20);
}

TEST(LaunchList, RunsAllBeforeItIsGone) {
  auto pool = WorkerPool::create({.num_threads = 3});
  ASSERT_TRUE(pool);
  Order now;
  order = &now;
  constexpr uint64_t kLaunches = 50;
  const std::vector<void*> scratch(3);
  {
    LaunchList list(**pool);
    for (uint64_t at = 0; at < kLaunches; ++at) {
      list.add({.run = expect_turn<1>, .programs = kPrograms, .args = {&at, 1}}, scratch);
    }
  }
  EXPECT_EQ(now.ran.load(), kLaunches * kPrograms);
  EXPECT_FALSE(now.wrong.load());
}

}  // namespace
}  // namespace nereid
