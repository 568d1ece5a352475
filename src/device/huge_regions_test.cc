// Blocks that share a mapping: they do not overlap, and what is freed is used again.
#include "src/device/cpu/huge_regions.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace nereid {
namespace {

constexpr uint64_t kAlign = HugeRegions::kAlign, kMaxBlock = HugeRegions::kMaxBlock;

std::byte* block_of(HugeRegions& regions, uint64_t bytes) {
  const Result<void*> block = regions.alloc(bytes);
  EXPECT_TRUE(block);
  return static_cast<std::byte*>(*block);
}

TEST(HugeRegions, BlocksFollowEachOtherAfterAGuard) {
  HugeRegions regions;
  std::byte* first = block_of(regions, 2 * kAlign);
  EXPECT_EQ(reinterpret_cast<uint64_t>(first) % (uint64_t{2} << 20), 0u);
  EXPECT_EQ(block_of(regions, kAlign), first + 3 * kAlign);
}

TEST(HugeRegions, NeighboursThatAreFreedBecomeOneGap) {
  HugeRegions regions;
  std::byte* a = block_of(regions, kAlign);
  std::byte* b = block_of(regions, 2 * kAlign);
  std::byte* c = block_of(regions, kAlign);
  block_of(regions, kAlign);
  regions.free(a, kAlign);
  regions.free(c, kAlign);
  EXPECT_EQ(block_of(regions, kAlign), a);  // the first place, though the last is as large
  regions.free(a, kAlign);
  regions.free(b, 2 * kAlign);
  EXPECT_EQ(block_of(regions, 6 * kAlign), a);
}

TEST(HugeRegions, AnotherRegionWhereOneIsFull) {
  HugeRegions regions;
  std::vector<std::byte*> blocks;
  for (uint64_t bytes = 0; bytes < 2 * HugeRegions::kRegionBytes; bytes += kMaxBlock) {
    blocks.push_back(block_of(regions, kMaxBlock));
    blocks.back()[0] = std::byte{1};
    blocks.back()[kMaxBlock - 1] = std::byte{2};
  }
  for (const std::byte* block : blocks) {
    EXPECT_EQ(block[0], std::byte{1});
    EXPECT_EQ(block[kMaxBlock - 1], std::byte{2});
  }
  for (std::byte* block : blocks) regions.free(block, kMaxBlock);
}

TEST(HugeRegions, BlocksKeepWhatIsWrittenToThem) {
  struct Block {
    std::byte* at;
    uint64_t bytes;
    uint8_t value;
  };
  HugeRegions regions;
  std::vector<Block> blocks;
  std::mt19937 random(7);
  for (int step = 0; step < 2000; ++step) {
    if (blocks.empty() || random() % 5 < 3) {
      const uint64_t bytes = (1 + random() % 40) * kAlign;
      blocks.push_back({block_of(regions, bytes), bytes, static_cast<uint8_t>(random())});
      std::memset(blocks.back().at, blocks.back().value, bytes);
      continue;
    }
    std::swap(blocks[random() % blocks.size()], blocks.back());
    const Block block = blocks.back();
    blocks.pop_back();
    for (uint64_t i = 0; i < block.bytes; ++i) {
      ASSERT_EQ(static_cast<uint8_t>(block.at[i]), block.value) << step;
    }
    regions.free(block.at, block.bytes);
  }
}

TEST(HugeRegionsDeathTest, BlocksOfNoRegionAreABug) {
  HugeRegions regions;
  int on_the_stack = 0;
  EXPECT_DEATH(regions.free(&on_the_stack, kAlign), "no region");
}

}  // namespace
}  // namespace nereid
