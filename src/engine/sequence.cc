// Sequence: pages come and go with tokens.
#include "src/engine/sequence.h"

#include "src/base/check.h"

namespace nereid {

Sequence::Sequence(Sequence&& other) noexcept
    : pool_(other.pool_),
      ids_(std::move(other.ids_)),
      pages_(std::move(other.pages_)),
      cached_(other.cached_),
      given_(other.given_) {
  other.ids_.clear();
  other.pages_.clear();
  other.cached_ = other.given_ = 0;
}

Status Sequence::reserve(int32_t page_size) {
  const auto needed = static_cast<size_t>((size() + page_size - 1) / page_size);
  if (needed <= pages_.size()) return {};
  // Together, so that they are in ascending order.
  if (!pool_->allocate(static_cast<int32_t>(needed - pages_.size()), pages_)) {
    return error("KV cache: all {} pages of {} tokens are in use", pool_->num_pages(), page_size);
  }
  return {};
}

SequenceSlice Sequence::slice(int32_t count, LogitRows logits) const {
  NEREID_CHECK(count > 0 && count <= pending(), "{} of {} pending tokens", count, pending());
  return {
      .tokens = std::span(ids_).subspan(static_cast<size_t>(cached_), static_cast<size_t>(count)),
      .first_position = cached_,
      .pages = pages_,
      .logits = logits,
      .decode = count == 1 && cached_ >= given_};
}

void Sequence::clear() {
  pool_->release_all(pages_);
  ids_.clear();
  cached_ = given_ = 0;
}

}  // namespace nereid
