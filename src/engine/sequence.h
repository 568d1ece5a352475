// One sequence as the engine sees it: its tokens, the pages that hold their keys and values, and
// how many of them are computed. Integers only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/engine/step_plan.h"
#include "src/kv/page_pool.h"

namespace nereid {

// Tokens [0, cached) are in the KV cache; [cached, ids.size()) are to be computed.
//
//   ids    | t0 t1 t2 ... t(cached-1) | t(cached) ... t(n-1) |
//   pages  | page 0 | page 1 | ...                           |   enough for n tokens after
//   reserve()
class Sequence {
 public:
  explicit Sequence(PagePool& pool) : pool_(&pool) {}
  ~Sequence() { clear(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;
  Sequence(Sequence&& other) noexcept;

  // Tokens that were given, all before the first drawn one.
  void append(std::span<const int32_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    given_ = size();
  }
  void append(int32_t id) { ids_.push_back(id); }  // a drawn token
  int32_t size() const { return static_cast<int32_t>(ids_.size()); }
  int32_t cached() const { return cached_; }
  int32_t pending() const { return size() - cached_; }

  // Takes pages for all tokens. Fails when the pool is exhausted.
  Status reserve(int32_t page_size);
  // The next `count` pending tokens; valid until the sequence changes.
  SequenceSlice slice(int32_t count, LogitRows logits) const;
  void advance(int32_t count) { cached_ += count; }
  // Forgets all tokens and gives the pages back.
  void clear();

 private:
  PagePool* pool_;
  std::vector<int32_t> ids_, pages_;
  int32_t cached_ = 0, given_ = 0;
};

}  // namespace nereid
