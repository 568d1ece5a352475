// Which pages of the KV cache are in use, by how many holders, and what the full ones hold.
// Integers only: the memory itself belongs to the engine.
//
// A page is
//   free   nothing of use in it;
//   held   reference count >= 1; sequences that share a prefix hold the same pages;
//   idle   not held, but it has a content key: find() can bring it back until allocate() needs it
//          (the one idle longest goes first).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "src/kv/content_key.h"

namespace nereid {

using PageId = int32_t;

class PagePool {
 public:
  explicit PagePool(int32_t num_pages);

  int32_t num_pages() const { return static_cast<int32_t>(pages_.size()); }
  // Pages that allocate() can still give: free and idle ones.
  int32_t num_available() const { return static_cast<int32_t>(free_.size()) + num_idle_; }
  int32_t num_held() const { return num_pages() - num_available(); }
  int32_t num_idle() const { return num_idle_; }

  // One page with reference count 1 and no key; nullopt when none is available. The page freed last
  // comes first.
  std::optional<PageId> allocate();
  // `count` pages appended to `pages`, or none of them and false. In ascending order: pages that
  // follow each other are one stream for a processor that reads ahead, and only in this direction.
  bool allocate(int32_t count, std::vector<PageId>& pages);

  // One more holder of a held page.
  void retain(PageId page);
  // One holder less; the last one leaves the page idle if it has a key, else free.
  void release(PageId page);
  // The same for all pages of a sequence, from its end, and none are left in `pages`: of those with
  // a key what was released first is reused first, and a page is of no use without those before it.
  void release_all(std::vector<PageId>& pages);

  // Gives a held page its key. False, and no key: another page has it already.
  bool publish(PageId page, const ContentKey& key);
  // The page with this key, with one more holder.
  std::optional<PageId> find(const ContentKey& key);
  // The same without taking hold of it.
  bool contains(const ContentKey& key) const { return by_key_.contains(key); }

  int32_t references(PageId page) const;

  // CHECKs that lists, keys and counts agree, and, when given, that the counts are exactly those of
  // `holders`: all pages held, each as often as it is held.
  void check_integrity() const;
  void check_integrity(std::span<const PageId> holders) const;

 private:
  static constexpr PageId kNone = -1;
  struct Page {
    int32_t references = 0;
    PageId older = kNone, newer = kNone;  // neighbours among idle pages
    std::optional<ContentKey> key;
  };

  Page& at(PageId page);
  void append_idle(PageId page);
  void remove_idle(PageId page);

  std::vector<Page> pages_;
  std::vector<PageId> free_;  // a stack
  std::unordered_map<ContentKey, PageId, ContentKeyHash> by_key_;
  PageId oldest_idle_ = kNone, newest_idle_ = kNone;
  int32_t num_idle_ = 0;
};

}  // namespace nereid
