// See request_sink.h.
#include "src/server/openai/request_sink.h"

#include <iterator>

namespace nereid::openai {
namespace {

template <typename T>
void append(std::vector<T>& to, std::vector<T>& from) {
  if (to.empty()) {
    to.swap(from);
  } else {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
    from.clear();
  }
}

// About what it takes in an answer: a name or a piece of text, and a number.
size_t bytes_of(const OutputToken& token) {
  constexpr size_t kEntry = 64;
  return kEntry * (1 + token.top.size());
}

}  // namespace

void TokenBatch::clear() {
  prompt.clear();
  tokens.clear();
  finishes.clear();
  done.reset();
  overrun = false;
}

bool QueueSink::take(TokenBatch& batch) {
  batch.clear();
  const std::lock_guard lock(mutex_);
  std::swap(batch, ready_);
  ready_bytes_ = 0;
  return !batch.empty();
}

void QueueSink::detach() {
  const std::lock_guard lock(mutex_);
  detached_ = true;
  ready_ = {};
  options_.notify = nullptr;
}

void QueueSink::observe_gap(int32_t choice) {
  if (!options_.on_inter_token) return;
  const auto now = ServeClock::now();
  const auto index = static_cast<size_t>(choice);
  if (last_token_.size() <= index) last_token_.resize(index + 1);
  if (last_token_[index] != ServeClock::time_point{}) {
    options_.on_inter_token(std::chrono::duration<double>(now - last_token_[index]).count());
  }
  last_token_[index] = now;
}

void QueueSink::on_prompt(std::span<const OutputToken> tokens) {
  staged_.prompt.assign(tokens.begin(), tokens.end());
}

void QueueSink::on_token(int32_t choice, const OutputToken& token) {
  staged_.tokens.push_back({.choice = choice, .token = token});
  staged_bytes_ += bytes_of(token);
  observe_gap(choice);
}

void QueueSink::on_finish(int32_t choice, const FinishInfo& info) {
  staged_.finishes.emplace_back(choice, info);
}

void QueueSink::on_done(const RequestUsage& usage) {
  staged_.done = usage;
  if (options_.on_usage) options_.on_usage(usage);
  hand_over();
}

void QueueSink::on_step_end() {
  hand_over();
}

void QueueSink::hand_over() {
  if (staged_.empty()) return;
  const size_t bytes = std::exchange(staged_bytes_, 0);
  const std::lock_guard lock(mutex_);
  if (detached_) {
    staged_.clear();
    return;
  }
  ready_.overrun |= ready_.tokens.size() + staged_.tokens.size() > options_.max_tokens ||
                    ready_bytes_ + bytes > options_.max_bytes;
  if (ready_.overrun) {
    staged_.tokens.clear();
  } else {
    ready_bytes_ += bytes;
  }
  append(ready_.prompt, staged_.prompt);
  append(ready_.tokens, staged_.tokens);
  append(ready_.finishes, staged_.finishes);
  if (staged_.done) ready_.done = staged_.done;
  staged_.done.reset();
  if (options_.notify) options_.notify();
}

}  // namespace nereid::openai
