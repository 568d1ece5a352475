// Page pool and page table: examples, then random histories checked against a plain model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "src/kv/page_pool.h"
#include "src/kv/page_table.h"

namespace nereid {
namespace {

using ::testing::ElementsAre;

TEST(PagePool, AllocatesRetainsReleases) {
  PagePool pool(3);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.allocate(), 1);
  pool.retain(0);
  pool.release(0);
  EXPECT_EQ(pool.references(0), 1);
  EXPECT_EQ(pool.num_free(), 1);
  pool.release(0);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(pool.allocate(), 0);
  pool.check_integrity();
}

TEST(PagePool, SeveralAtOnceOrNone) {
  PagePool pool(4);
  std::vector<PageId> pages = {77};
  EXPECT_FALSE(pool.allocate(5, pages));
  EXPECT_THAT(pages, ElementsAre(77));
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_TRUE(pool.allocate(4, pages));
  EXPECT_THAT(pages, ElementsAre(77, 0, 1, 2, 3));
  EXPECT_EQ(pool.allocate(), std::nullopt);
  EXPECT_TRUE(pool.allocate(0, pages));
  EXPECT_EQ(PagePool(0).allocate(), std::nullopt);
}

TEST(PagePoolDeath, Bugs) {
  PagePool pool(2);
  EXPECT_DEATH(pool.release(0), "page 0 is free already");
  EXPECT_DEATH(pool.retain(1), "page 1 is free");
  EXPECT_DEATH(pool.release(2), "page 2 of 2");
  EXPECT_DEATH(pool.release(-1), "page -1 of 2");
  const PageId holders[] = {*pool.allocate(), 1};
  EXPECT_DEATH(pool.check_integrity(holders), "page 1 counts 0 holders, there are 1");
  EXPECT_DEATH(pool.check_integrity(std::span<const PageId>{}),
               "page 0 counts 1 holders, there are 0");
}

TEST(PagePool, RandomHistory) {
  std::mt19937 random(3);
  for (const int32_t num_pages : {1, 7, 64}) {
    PagePool pool(num_pages);
    std::vector<PageId> holders;
    for (int step = 0; step < 20'000; ++step) {
      const auto choice = random() % 3;
      if (choice == 0) {
        if (auto page = pool.allocate()) {
          EXPECT_EQ(std::ranges::count(holders, *page), 0);
          holders.push_back(*page);
        } else {
          EXPECT_EQ(pool.num_free(), 0);
        }
      } else if (!holders.empty()) {
        const size_t at = random() % holders.size();
        if (choice == 1 && holders.size() < 500) {
          pool.retain(holders[at]);
          holders.push_back(holders[at]);
        } else {
          pool.release(holders[at]);
          holders.erase(holders.begin() + static_cast<ptrdiff_t>(at));
        }
      }
      if (step % 50 == 0) pool.check_integrity(holders);
    }
    pool.release(holders);
    EXPECT_EQ(pool.num_free(), num_pages);
  }
}

TEST(PageTable, GrowsAndFindsTokens) {
  PagePool pool(5);
  PageTable table({.max_sequences = 2, .max_pages_per_sequence = 3, .page_size = 16}, pool);
  EXPECT_TRUE(table.grow(1, 17));
  EXPECT_THAT(table.pages(1), ElementsAre(0, 1));
  EXPECT_EQ(table.capacity(1), 32);
  EXPECT_TRUE(table.grow(0, 1));
  EXPECT_TRUE(table.grow(1, 33));
  EXPECT_THAT(table.entries(), ElementsAre(2, 0, 0, 0, 1, 3));
  EXPECT_EQ(table.token_slot(1, 0), 0);
  EXPECT_EQ(table.token_slot(1, 31), 31);
  EXPECT_EQ(table.token_slot(1, 32), 3 * 16);
  EXPECT_EQ(table.token_slot(0, 5), 2 * 16 + 5);
  EXPECT_FALSE(table.grow(1, 49));  // the row is full
  EXPECT_FALSE(table.grow(0, 48));  // the pool has one page
  EXPECT_EQ(table.capacity(0), 16);
  table.shrink(1, 16);
  EXPECT_THAT(table.pages(1), ElementsAre(0));
  EXPECT_TRUE(table.grow(1, 5));  // never shrinks
  table.clear(1);
  EXPECT_EQ(pool.num_free(), 4);
  pool.check_integrity(table.holders());
}

TEST(PageTable, SharedPrefix) {
  PagePool pool(4);
  PageTable table({.max_sequences = 2, .max_pages_per_sequence = 4, .page_size = 8}, pool);
  ASSERT_TRUE(table.grow(0, 16));
  table.adopt(1, table.pages(0));
  EXPECT_EQ(pool.references(0), 2);
  ASSERT_TRUE(table.grow(1, 17));
  EXPECT_THAT(table.pages(1), ElementsAre(0, 1, 2));
  table.clear(0);
  EXPECT_EQ(pool.num_free(), 1);
  pool.check_integrity(table.holders());
}

TEST(PageTableDeath, Bugs) {
  PagePool pool(4);
  PageTable table({.max_sequences = 1, .max_pages_per_sequence = 4, .page_size = 8}, pool);
  EXPECT_DEATH(table.grow(1, 1), "slot 1 of 1");
  EXPECT_DEATH(table.token_slot(0, 0), "position 0 of 0");
  ASSERT_TRUE(table.grow(0, 1));
  const PageId page = 3;
  EXPECT_DEATH(table.adopt(0, {&page, 1}), "slot 0 holds 1 pages");
}

TEST(PageTable, RandomHistory) {
  std::mt19937 random(5);
  const PageTableShape shape{.max_sequences = 6, .max_pages_per_sequence = 9, .page_size = 4};
  PagePool pool(23);
  {
    PageTable table(shape, pool);
    for (int step = 0; step < 20'000; ++step) {
      const auto slot = static_cast<int32_t>(random() % 6);
      const auto tokens = static_cast<int32_t>(random() % 45);
      const auto other = static_cast<int32_t>(random() % 6);
      const int32_t needed = (tokens + 3) / 4;
      const auto before = std::vector<PageId>(table.pages(slot).begin(), table.pages(slot).end());
      const int32_t extra = needed - static_cast<int32_t>(before.size());
      switch (random() % 4) {
        case 0:
        case 1: {
          const bool possible = extra <= 0 || (needed <= 9 && extra <= pool.num_free());
          ASSERT_EQ(table.grow(slot, tokens), possible);
          // What was there stays there.
          ASSERT_TRUE(std::ranges::equal(before, table.pages(slot).first(before.size())));
          break;
        }
        case 2:
          table.shrink(slot, tokens);
          break;
        default:
          if (slot == other) break;
          table.clear(slot);
          table.adopt(slot, table.pages(other));
      }
      if (table.capacity(slot) > 0) {
        const auto position =
            static_cast<int32_t>(random() % static_cast<uint32_t>(table.capacity(slot)));
        const int64_t place = table.token_slot(slot, position);
        ASSERT_EQ(place / 4, table.pages(slot)[static_cast<size_t>(position / 4)]);
        ASSERT_EQ(place % 4, position % 4);
      }
      if (step % 20 == 0) pool.check_integrity(table.holders());
    }
  }
  EXPECT_EQ(pool.num_free(), 23);
}

}  // namespace
}  // namespace nereid
