// Rows of pages, kept in step with the pool.
#include "src/kv/page_table.h"

#include <algorithm>

#include "src/base/check.h"

namespace nereid {

PageTable::PageTable(const PageTableShape& shape, PagePool& pool) : shape_(shape), pool_(pool) {
  NEREID_CHECK(shape.max_sequences > 0 && shape.max_pages_per_sequence > 0 && shape.page_size > 0,
               "page table of {} sequences, {} pages of {} tokens", shape.max_sequences,
               shape.max_pages_per_sequence, shape.page_size);
  const auto rows = static_cast<size_t>(shape.max_sequences);
  entries_.assign(rows * static_cast<size_t>(shape.max_pages_per_sequence), 0);
  num_pages_.assign(rows, 0);
}

PageTable::~PageTable() {
  for (int32_t slot = 0; slot < shape_.max_sequences; ++slot) clear(slot);
}

int32_t PageTable::num_pages(int32_t slot) const {
  NEREID_CHECK(slot >= 0 && slot < shape_.max_sequences, "slot {} of {}", slot,
               shape_.max_sequences);
  return num_pages_[static_cast<size_t>(slot)];
}

PageId* PageTable::row(int32_t slot) {
  return entries_.data() + int64_t{slot} * shape_.max_pages_per_sequence;
}

std::span<const PageId> PageTable::pages(int32_t slot) const {
  const auto count = static_cast<size_t>(num_pages(slot));
  return {entries_.data() + int64_t{slot} * shape_.max_pages_per_sequence, count};
}

bool PageTable::grow(int32_t slot, int32_t num_tokens) {
  const int32_t held = num_pages(slot);
  const auto needed =
      static_cast<int32_t>((int64_t{num_tokens} + shape_.page_size - 1) / shape_.page_size);
  if (needed <= held) return true;
  if (needed > shape_.max_pages_per_sequence || needed - held > pool_.num_free()) return false;
  for (int32_t at = held; at < needed; ++at) {
    const std::optional<PageId> page = pool_.allocate();
    NEREID_CHECK(page.has_value(), "the pool is empty");
    row(slot)[at] = *page;
  }
  num_pages_[static_cast<size_t>(slot)] = needed;
  return true;
}

void PageTable::adopt(int32_t slot, std::span<const PageId> pages) {
  NEREID_CHECK(num_pages(slot) == 0, "slot {} holds {} pages", slot, num_pages(slot));
  const auto count = static_cast<int32_t>(pages.size());
  NEREID_CHECK(count <= shape_.max_pages_per_sequence, "{} pages in a row of {}", count,
               shape_.max_pages_per_sequence);
  for (const PageId page : pages) pool_.retain(page);
  std::ranges::copy(pages, row(slot));
  num_pages_[static_cast<size_t>(slot)] = count;
}

void PageTable::shrink(int32_t slot, int32_t num_tokens) {
  const int32_t held = num_pages(slot);
  const auto needed =
      static_cast<int32_t>((int64_t{num_tokens} + shape_.page_size - 1) / shape_.page_size);
  for (int32_t at = held; at-- > needed;) {
    pool_.release(row(slot)[at]);
    row(slot)[at] = 0;
  }
  num_pages_[static_cast<size_t>(slot)] = std::min(held, needed);
}

int64_t PageTable::token_slot(int32_t slot, int32_t position) const {
  NEREID_CHECK(position >= 0 && position < capacity(slot), "position {} of {}", position,
               capacity(slot));
  const PageId page = pages(slot)[static_cast<size_t>(position / shape_.page_size)];
  return int64_t{page} * shape_.page_size + position % shape_.page_size;
}

std::vector<PageId> PageTable::holders() const {
  std::vector<PageId> all;
  for (int32_t slot = 0; slot < shape_.max_sequences; ++slot) {
    const auto held = pages(slot);
    all.insert(all.end(), held.begin(), held.end());
  }
  return all;
}

}  // namespace nereid
