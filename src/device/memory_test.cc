// What the cpu driver takes for free memory, and that it does not promise any twice.
#include "src/device/cpu/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace nereid {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

TEST(MemoryStatus, Machine) {
  const MemoryStatus status = memory_status({.machine_total = 8 * kGiB,
                                             .machine_available = 5 * kGiB,
                                             .cgroup_limit = kUnlimited,
                                             .cgroup_used = kUnlimited});
  EXPECT_EQ(status.total, 8 * kGiB);
  EXPECT_EQ(status.available, 5 * kGiB);
}

TEST(MemoryStatus, Cgroup) {
  MemoryReadings readings{.machine_total = 64 * kGiB,
                          .machine_available = 50 * kGiB,
                          .cgroup_limit = 8 * kGiB,
                          .cgroup_used = 7 * kGiB,
                          .cgroup_files = 4 * kGiB};
  EXPECT_EQ(memory_status(readings).total, 8 * kGiB);
  EXPECT_EQ(memory_status(readings).available, 5 * kGiB);  // 3 used besides page cache
  readings.machine_available = 2 * kGiB;
  EXPECT_EQ(memory_status(readings).available, 2 * kGiB);
  // The files are read at different times and need not agree.
  readings = {.machine_total = 64 * kGiB,
              .machine_available = 50 * kGiB,
              .cgroup_limit = 8 * kGiB,
              .cgroup_used = kGiB,
              .cgroup_files = 2 * kGiB};
  EXPECT_EQ(memory_status(readings).available, 8 * kGiB);
  readings.cgroup_used = 11 * kGiB;
  EXPECT_EQ(memory_status(readings).available, 0u);
}

TEST(MemoryStatus, BlocksNotWrittenToCount) {
  EXPECT_EQ(unpromised(5 * kGiB, 0, kGiB), 5 * kGiB);
  EXPECT_EQ(unpromised(5 * kGiB, 3 * kGiB, 0), 2 * kGiB);
  EXPECT_EQ(unpromised(5 * kGiB, 3 * kGiB, 2 * kGiB), 4 * kGiB);
  EXPECT_EQ(unpromised(5 * kGiB, 3 * kGiB, 9 * kGiB), 5 * kGiB);
  EXPECT_EQ(unpromised(5 * kGiB, 6 * kGiB, 0), 0u);
}

TEST(CpuMemory, ManyBlocksAreRefusedLikeOne) {
  CpuMemory memory;
  const uint64_t block = std::max(memory_status().total / 8, kGiB);
  std::vector<void*> blocks;
  Result<void*> last = memory.alloc(block);
  for (; last && blocks.size() < 10; last = memory.alloc(block)) blocks.push_back(*last);
  ASSERT_FALSE(last.has_value()) << blocks.size() + 1 << " blocks of an eighth of all memory";
  EXPECT_THAT(last.error().message, HasSubstr("out of memory"));
  for (void* pointer : blocks) memory.free(pointer);
  // Freed blocks no longer count.
  if (!blocks.empty()) EXPECT_TRUE(memory.alloc(block).has_value());
}

}  // namespace
}  // namespace nereid
