// Reads stored tensors on threads of their own, ahead of the thread that loads them: what that one
// asks for has been paged in and checked by then, so that reading the files, copying to the device
// and repacking there go on at the same time. Nothing is copied here.
//
//   bytes in order | loaded | ready, at most kAheadBytes | being read | not yet |
//                           ^ check() asks for these
#pragma once

#include <memory>
#include <span>

#include "src/quant/storage.h"

namespace nereid::quant {

class ReadAhead final : public TensorPages {
 public:
  static constexpr uint64_t kPieceBytes = uint64_t{4} << 20;  // that a thread reads at once
  static constexpr uint64_t kAheadBytes = uint64_t{256} << 20;

  // `order`: the tensors as check() will ask for them; another order costs time, and so does a
  // tensor that is not listed. `pages` and the tensors must outlive this.
  ReadAhead(const TensorPages& pages, std::span<const StoredTensor* const> order, int num_threads);
  ~ReadAhead() override;  // reads no further

  // Waits until the rows were read. One thread at a time.
  Status check(const StoredTensor& tensor, int64_t first, int64_t count) const override;
  void release(const StoredTensor& tensor) const override { pages_.release(tensor); }

  // How many threads are worth it on this machine.
  static int usual_threads();

 private:
  struct State;
  static void run(State& state);

  const TensorPages& pages_;
  std::unique_ptr<State> state_;
};

}  // namespace nereid::quant
