// Page pool: examples, then random histories checked against a plain model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "src/kv/page_pool.h"

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

}  // namespace
}  // namespace nereid
