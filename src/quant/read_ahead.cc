// A list of pieces, taken in order by the threads.
#include "src/quant/read_ahead.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "src/base/check.h"
#include "src/quant/format.h"

namespace nereid::quant {
namespace {

struct Piece {
  const StoredTensor* tensor = nullptr;
  int64_t first = 0, count = 0;  // rows
  uint64_t begin = 0;            // bytes of all pieces before
  bool ready = false;
  Status status;
};

int64_t rows_of_piece(const StoredRows& rows) {
  return std::max<int64_t>(1, static_cast<int64_t>(ReadAhead::kPieceBytes / rows.row_bytes));
}

}  // namespace

struct ReadAhead::State {
  std::mutex mutex;
  std::condition_variable more, done;  // for the threads; for who waits in check()
  std::vector<Piece> pieces;
  std::unordered_map<const StoredTensor*, size_t> first_piece;
  size_t next = 0;      // piece that nobody has taken
  uint64_t loaded = 0;  // bytes that were asked for and given
  bool stopping = false;
  std::vector<std::jthread> threads;  // last: they use all of the above
};

ReadAhead::ReadAhead(const TensorPages& pages, std::span<const StoredTensor* const> order,
                     int num_threads)
    : pages_(pages), state_(std::make_unique<State>()) {
  uint64_t begin = 0;
  for (const StoredTensor* tensor : order) {
    if (!state_->first_piece.emplace(tensor, state_->pieces.size()).second) continue;
    const StoredRows rows = stored_rows(*tensor);
    const int64_t step = rows_of_piece(rows);
    for (int64_t first = 0; first < rows.rows; first += step) {
      const int64_t count = std::min(step, rows.rows - first);
      state_->pieces.push_back(
          {.tensor = tensor, .first = first, .count = count, .begin = begin, .status = {}});
      begin += static_cast<uint64_t>(count) * rows.row_bytes;
    }
  }
  for (int thread = 0; thread < num_threads; ++thread) {
    state_->threads.emplace_back([state = state_.get()] { run(*state); });
  }
}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->more.notify_all();
  state_->threads.clear();
}

void ReadAhead::run(State& state) {
  std::unique_lock lock(state.mutex);
  while (true) {
    state.more.wait(lock, [&] {
      return state.stopping || state.next == state.pieces.size() ||
             state.pieces[state.next].begin < state.loaded + kAheadBytes;
    });
    if (state.stopping || state.next == state.pieces.size()) return;
    Piece& piece = state.pieces[state.next++];
    lock.unlock();
    Status status = check_finite(*piece.tensor, piece.first, piece.count);
    lock.lock();
    piece.status = std::move(status);
    piece.ready = true;
    state.done.notify_one();
  }
}

Status ReadAhead::check(const StoredTensor& tensor, int64_t first, int64_t count) const {
  State& state = *state_;
  const auto found = state.first_piece.find(&tensor);
  if (found == state.first_piece.end() || state.threads.empty()) {
    return TensorPages::check(tensor, first, count);
  }
  if (count == 0) return {};
  const StoredRows rows = stored_rows(tensor);
  NEREID_CHECK(first >= 0 && count > 0 && first + count <= rows.rows, "rows {} + {} of {}", first,
               count, rows.rows);
  const int64_t step = rows_of_piece(rows);
  const size_t begin = found->second + static_cast<size_t>(first / step);
  const size_t end = found->second + static_cast<size_t>((first + count - 1) / step) + 1;
  std::unique_lock lock(state.mutex);
  state.loaded = std::max(state.loaded, state.pieces[begin].begin);
  state.more.notify_all();
  for (size_t at = begin; at < end; ++at) {
    state.done.wait(lock, [&] { return state.pieces[at].ready; });
    if (!state.pieces[at].status) return state.pieces[at].status;
  }
  return {};
}

int ReadAhead::usual_threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 1, 4);
}

}  // namespace nereid::quant
