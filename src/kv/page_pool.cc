// Reference counts, a stack of free pages, and a list of idle ones in the order of their last use.
#include "src/kv/page_pool.h"

#include <algorithm>

#include "src/base/check.h"

namespace nereid {

PagePool::PagePool(int32_t num_pages) {
  NEREID_CHECK(num_pages >= 0, "{} pages", num_pages);
  pages_.resize(static_cast<size_t>(num_pages));
  free_.reserve(static_cast<size_t>(num_pages));
  by_key_.reserve(static_cast<size_t>(num_pages));
  for (PageId page = num_pages; page-- > 0;) free_.push_back(page);  // page 0 comes first
}

PagePool::Page& PagePool::at(PageId page) {
  NEREID_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  return pages_[static_cast<size_t>(page)];
}

std::optional<PageId> PagePool::allocate() {
  PageId page = kNone;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (oldest_idle_ != kNone) {
    page = oldest_idle_;
    remove_idle(page);
    std::optional<ContentKey>& key = at(page).key;
    NEREID_CHECK(key.has_value(), "idle page {} holds nothing", page);
    by_key_.erase(*key);
    key.reset();
  } else {
    return std::nullopt;
  }
  at(page).references = 1;
  return page;
}

bool PagePool::allocate(int32_t count, std::vector<PageId>& pages) {
  NEREID_CHECK(count >= 0, "{} pages", count);
  if (count > num_available()) return false;
  const auto first = static_cast<ptrdiff_t>(pages.size());
  for (int32_t taken = 0; taken < count; ++taken) {
    const std::optional<PageId> page = allocate();
    NEREID_CHECK(page.has_value(), "page {} of {} is not there", taken, count);
    pages.push_back(*page);
  }
  std::sort(pages.begin() + first, pages.end());
  return true;
}

void PagePool::retain(PageId page) {
  NEREID_CHECK(references(page) > 0, "page {} is not held", page);
  ++at(page).references;
}

void PagePool::release(PageId page) {
  NEREID_CHECK(references(page) > 0, "page {} is not held", page);
  if (--at(page).references > 0) return;
  if (at(page).key) {
    append_idle(page);
  } else {
    free_.push_back(page);
  }
}

void PagePool::release_all(std::vector<PageId>& pages) {
  while (!pages.empty()) {
    release(pages.back());
    pages.pop_back();
  }
}

bool PagePool::publish(PageId page, const ContentKey& key) {
  NEREID_CHECK(references(page) > 0, "page {} is not held", page);
  NEREID_CHECK(!at(page).key, "page {} has a key already", page);
  if (!by_key_.try_emplace(key, page).second) return false;
  at(page).key = key;
  return true;
}

std::optional<PageId> PagePool::find(const ContentKey& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  if (at(found->second).references++ == 0) remove_idle(found->second);
  return found->second;
}

int32_t PagePool::references(PageId page) const {
  NEREID_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  return pages_[static_cast<size_t>(page)].references;
}

void PagePool::append_idle(PageId page) {
  at(page).older = newest_idle_;
  at(page).newer = kNone;
  (newest_idle_ == kNone ? oldest_idle_ : at(newest_idle_).newer) = page;
  newest_idle_ = page;
  ++num_idle_;
}

void PagePool::remove_idle(PageId page) {
  const Page& removed = at(page);
  (removed.older == kNone ? oldest_idle_ : at(removed.older).newer) = removed.newer;
  (removed.newer == kNone ? newest_idle_ : at(removed.newer).older) = removed.older;
  --num_idle_;
}

void PagePool::check_integrity() const {
  std::vector<int32_t> listed(pages_.size(), 0);
  for (const PageId page : free_) {
    NEREID_CHECK(references(page) == 0, "page {} is free and held", page);
    NEREID_CHECK(!pages_[static_cast<size_t>(page)].key, "page {} is free and has a key", page);
    ++listed[static_cast<size_t>(page)];
  }
  int32_t idle = 0;
  for (PageId page = oldest_idle_; page != kNone; page = pages_[static_cast<size_t>(page)].newer) {
    NEREID_CHECK(references(page) == 0, "page {} is idle and held", page);
    NEREID_CHECK(pages_[static_cast<size_t>(page)].key.has_value(), "page {} is idle without a key",
                 page);
    ++listed[static_cast<size_t>(page)];
    NEREID_CHECK(++idle <= num_idle_, "more than {} idle pages", num_idle_);
  }
  NEREID_CHECK(idle == num_idle_, "{} idle pages, counted {}", idle, num_idle_);
  size_t keys = 0;
  for (PageId page = 0; page < num_pages(); ++page) {
    const Page& entry = pages_[static_cast<size_t>(page)];
    NEREID_CHECK(listed[static_cast<size_t>(page)] == (entry.references == 0 ? 1 : 0),
                 "page {} with {} holders is listed {} times", page, entry.references,
                 listed[static_cast<size_t>(page)]);
    if (!entry.key) continue;
    ++keys;
    const auto found = by_key_.find(*entry.key);
    NEREID_CHECK(found != by_key_.end() && found->second == page, "the key of page {} is not its",
                 page);
  }
  NEREID_CHECK(keys == by_key_.size(), "{} keys for {} pages", by_key_.size(), keys);
}

void PagePool::check_integrity(std::span<const PageId> holders) const {
  check_integrity();
  std::vector<int32_t> held(pages_.size(), 0);
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
