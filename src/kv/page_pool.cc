// Reference counts and a stack of free pages.
#include "src/kv/page_pool.h"

#include "src/base/check.h"

namespace nereid {

PagePool::PagePool(int32_t num_pages) {
  NEREID_CHECK(num_pages >= 0, "{} pages", num_pages);
  counts_.assign(static_cast<size_t>(num_pages), 0);
  free_.reserve(static_cast<size_t>(num_pages));
  for (PageId page = num_pages; page-- > 0;) free_.push_back(page);  // page 0 comes first
}

std::optional<PageId> PagePool::allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page = free_.back();
  free_.pop_back();
  counts_[static_cast<size_t>(page)] = 1;
  return page;
}

bool PagePool::allocate(int32_t count, std::vector<PageId>& pages) {
  NEREID_CHECK(count >= 0, "{} pages", count);
  if (count > num_free()) return false;
  for (int32_t taken = 0; taken < count; ++taken) pages.push_back(*allocate());
  return true;
}

void PagePool::retain(PageId page) {
  NEREID_CHECK(references(page) > 0, "page {} is free", page);
  ++counts_[static_cast<size_t>(page)];
}

void PagePool::release(PageId page) {
  NEREID_CHECK(references(page) > 0, "page {} is free already", page);
  if (--counts_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

void PagePool::release(std::span<const PageId> pages) {
  for (const PageId page : pages) release(page);
}

int32_t PagePool::references(PageId page) const {
  NEREID_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  return counts_[static_cast<size_t>(page)];
}

void PagePool::check_integrity() const {
  std::vector<bool> listed(counts_.size(), false);
  for (const PageId page : free_) {
    NEREID_CHECK(references(page) == 0, "page {} is free and held", page);
    NEREID_CHECK(!listed[static_cast<size_t>(page)], "page {} is free twice", page);
    listed[static_cast<size_t>(page)] = true;
  }
  for (PageId page = 0; page < num_pages(); ++page) {
    const bool free = listed[static_cast<size_t>(page)];
    NEREID_CHECK(free || references(page) > 0, "page {} is neither free nor held", page);
  }
}

void PagePool::check_integrity(std::span<const PageId> holders) const {
  check_integrity();
  std::vector<int32_t> held(counts_.size(), 0);
  for (const PageId page : holders) {
    NEREID_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
    ++held[static_cast<size_t>(page)];
  }
  for (PageId page = 0; page < num_pages(); ++page) {
    NEREID_CHECK(references(page) == held[static_cast<size_t>(page)],
                 "page {} counts {} holders, there are {}", page, references(page),
                 held[static_cast<size_t>(page)]);
  }
}

}  // namespace nereid
