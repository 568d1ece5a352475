// Which pages of the KV cache are in use, and by how many holders. Integers only: the memory itself
// belongs to the engine.
//
// A page is free (on the free list) or held (reference count >= 1). Sequences that share a prefix
// hold the same pages.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nereid {

using PageId = int32_t;

class PagePool {
 public:
  explicit PagePool(int32_t num_pages);

  int32_t num_pages() const { return static_cast<int32_t>(counts_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }

  // One page with reference count 1; nullopt when none is free. The page freed last comes first.
  std::optional<PageId> allocate();
  // `count` pages appended to `pages`, or none of them and false.
  bool allocate(int32_t count, std::vector<PageId>& pages);

  // One more holder of a held page.
  void retain(PageId page);
  // One holder less; the last one frees the page.
  void release(PageId page);
  void release(std::span<const PageId> pages);

  int32_t references(PageId page) const;

  // CHECKs that free list and counts agree, and, when given, that the counts are exactly those of
  // `holders`: all pages held, each as often as it is held.
  void check_integrity() const;
  void check_integrity(std::span<const PageId> holders) const;

 private:
  std::vector<int32_t> counts_;  // [num_pages]; 0: free
  std::vector<PageId> free_;     // a stack
};

}  // namespace nereid
