// Page pool: examples, then random histories checked against a plain model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "src/kv/page_pool.h"

namespace nereid {
namespace {

using ::testing::ElementsAre;

ContentKey key(uint64_t number) {
  return {{number, number}};
}

TEST(ContentKey, DependsOnAllTokensBeforeIt) {
  const int32_t first[] = {1, 2}, second[] = {3, 4}, swapped[] = {4, 3};
  const ContentKey root = root_key(0);
  EXPECT_EQ(child_key(root, first), child_key(root_key(0), first));
  EXPECT_NE(child_key(root, first), child_key(root_key(1), first));
  EXPECT_NE(child_key(root, second), child_key(root, swapped));
  EXPECT_NE(child_key(child_key(root, first), second), child_key(root, second));
}

TEST(PagePool, AllocatesRetainsReleases) {
  PagePool pool(3);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.allocate(), 1);
  pool.retain(0);
  pool.release(0);
  EXPECT_EQ(pool.references(0), 1);
  EXPECT_EQ(pool.num_available(), 1);
  pool.release(0);
  EXPECT_EQ(pool.num_available(), 2);
  EXPECT_EQ(pool.allocate(), 0);
  pool.check_integrity();
}

TEST(PagePool, SeveralAtOnceOrNone) {
  PagePool pool(4);
  std::vector<PageId> pages = {77};
  EXPECT_FALSE(pool.allocate(5, pages));
  EXPECT_THAT(pages, ElementsAre(77));
  EXPECT_EQ(pool.num_available(), 4);
  EXPECT_TRUE(pool.allocate(4, pages));
  EXPECT_THAT(pages, ElementsAre(77, 0, 1, 2, 3));
  EXPECT_EQ(pool.allocate(), std::nullopt);
  EXPECT_TRUE(pool.allocate(0, pages));
  EXPECT_EQ(PagePool(0).allocate(), std::nullopt);
}

TEST(PagePool, SeveralAtOnceAreInAscendingOrder) {
  PagePool pool(4);
  std::vector<PageId> pages, again = {77};
  EXPECT_TRUE(pool.allocate(4, pages));
  for (const PageId page : pages) pool.release(page);
  EXPECT_TRUE(pool.allocate(3, again));
  EXPECT_THAT(again, ElementsAre(77, 1, 2, 3));
}

TEST(PagePool, KeepsPublishedPagesUntilTheyAreNeeded) {
  PagePool pool(2);
  const PageId page = *pool.allocate();
  EXPECT_TRUE(pool.publish(page, key(1)));
  EXPECT_EQ(pool.find(key(1)), page);
  EXPECT_EQ(pool.references(page), 2);
  pool.release(page);
  pool.release(page);
  EXPECT_EQ(pool.num_idle(), 1);
  EXPECT_EQ(pool.num_available(), 2);
  EXPECT_EQ(pool.find(key(1)), page);
  EXPECT_EQ(pool.num_idle(), 0);
  pool.release(page);
  EXPECT_EQ(pool.allocate(), 1);  // free pages go before idle ones
  EXPECT_EQ(pool.allocate(), page);
  EXPECT_FALSE(pool.contains(key(1)));
  pool.check_integrity();
}

TEST(PagePool, ReusesThePageIdleLongest) {
  PagePool pool(3);
  for (uint64_t number = 0; number < 3; ++number) {
    EXPECT_TRUE(pool.publish(*pool.allocate(), key(number)));
  }
  for (const PageId page : {2, 0, 1}) pool.release(page);
  pool.release(*pool.find(key(2)));  // used again: now the newest
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.allocate(), 1);
  EXPECT_TRUE(pool.contains(key(2)));
  pool.check_integrity();
}

TEST(PagePool, FirstOfTwoPagesWithOneKeyKeepsIt) {
  PagePool pool(2);
  std::vector<PageId> pages;
  EXPECT_TRUE(pool.allocate(2, pages));
  EXPECT_TRUE(pool.publish(0, key(1)));
  EXPECT_FALSE(pool.publish(1, key(1)));
  pool.release(1);
  EXPECT_EQ(pool.num_idle(), 0);
  EXPECT_EQ(pool.find(key(1)), 0);
}

TEST(PagePoolDeath, Bugs) {
  PagePool pool(2);
  EXPECT_DEATH(pool.release(0), "page 0 is not held");
  EXPECT_DEATH(pool.retain(1), "page 1 is not held");
  EXPECT_DEATH(pool.publish(1, key(1)), "page 1 is not held");
  EXPECT_DEATH(pool.release(2), "page 2 of 2");
  EXPECT_DEATH(pool.release(-1), "page -1 of 2");
  ASSERT_EQ(pool.allocate(), 0);
  const PageId holders[] = {0, 1};
  EXPECT_DEATH(pool.check_integrity(holders), "page 1 counts 0 holders, there are 1");
  EXPECT_DEATH(pool.check_integrity(std::span<const PageId>{}),
               "page 0 counts 1 holders, there are 0");
}

TEST(PagePool, RandomHistory) {
  std::mt19937 random(3);
  for (const int32_t num_pages : {1, 7, 64}) {
    PagePool pool(num_pages);
    std::vector<PageId> holders;
    std::map<PageId, uint64_t> keys;  // of held pages
    uint64_t next_key = 0;
    for (int step = 0; step < 20'000; ++step) {
      const auto choice = random() % 5;
      if (choice == 0) {
        if (const auto page = pool.allocate()) {
          EXPECT_EQ(std::ranges::count(holders, *page), 0);
          holders.push_back(*page);
          keys.erase(*page);
        } else {
          EXPECT_EQ(pool.num_available(), 0);
        }
      } else if (choice == 1 && next_key > 0) {
        const uint64_t number = random() % next_key;
        if (const auto page = pool.find(key(number)); page && holders.size() < 500) {
          EXPECT_EQ(keys[*page], number);
          holders.push_back(*page);
        } else if (page) {
          pool.release(*page);
        }
      } else if (!holders.empty()) {
        const size_t at = random() % holders.size();
        const PageId page = holders[at];
        if (choice == 2 && holders.size() < 500) {
          pool.retain(page);
          holders.push_back(page);
        } else if (choice == 3) {
          if (keys.contains(page)) continue;
          EXPECT_TRUE(pool.publish(page, key(next_key)));
          keys[page] = next_key++;
        } else {
          pool.release(page);
          holders.erase(holders.begin() + static_cast<ptrdiff_t>(at));
        }
      }
      if (step % 50 == 0) pool.check_integrity(holders);
    }
    for (const PageId page : holders) pool.release(page);
    EXPECT_EQ(pool.num_available(), num_pages);
    pool.check_integrity(std::span<const PageId>{});
  }
}

}  // namespace
}  // namespace nereid
