// Which page holds which tokens of which sequence: the host's image of the i32 table
// [max_sequences, max_pages_per_sequence] that attention kernels read.
//
// Row s lists the pages of the sequence in slot s, in order of position:
//   position p of the sequence lies in page row[p / page_size], at row offset p % page_size.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/kv/page_pool.h"

namespace nereid {

struct PageTableShape {
  int32_t max_sequences = 1;
  int32_t max_pages_per_sequence = 1;
  int32_t page_size = 32;  // tokens
};

class PageTable {
 public:
  // The pool must outlive the table.
  PageTable(const PageTableShape& shape, PagePool& pool);
  ~PageTable();
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  const PageTableShape& shape() const { return shape_; }

  // Makes room for positions [0, num_tokens) of the sequence in `slot`: takes pages from the pool
  // as needed. False, and nothing changed, when pool or row are too small.
  bool grow(int32_t slot, int32_t num_tokens);

  // Appends pages that another holder has as well (a shared prefix); each is retained.
  // The row must be empty.
  void adopt(int32_t slot, std::span<const PageId> pages);

  // Releases the pages behind the last one that positions [0, num_tokens) need.
  void shrink(int32_t slot, int32_t num_tokens);
  // Releases all pages of the slot.
  void clear(int32_t slot) { shrink(slot, 0); }

  std::span<const PageId> pages(int32_t slot) const;
  int32_t capacity(int32_t slot) const { return num_pages(slot) * shape_.page_size; }  // tokens

  // page * page_size + offset of a position, which must lie within capacity: where its K and V go.
  int64_t token_slot(int32_t slot, int32_t position) const;

  // The whole table, row-major; entries behind a row's pages are 0.
  std::span<const int32_t> entries() const { return entries_; }

  // Every page held, as PagePool::check_integrity takes it.
  std::vector<PageId> holders() const;

 private:
  int32_t num_pages(int32_t slot) const;
  PageId* row(int32_t slot);

  PageTableShape shape_;
  PagePool& pool_;
  std::vector<int32_t> entries_;    // [max_sequences, max_pages_per_sequence]
  std::vector<int32_t> num_pages_;  // [max_sequences]
};

}  // namespace nereid
