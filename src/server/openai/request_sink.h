// Hands what the engine's thread produces to the handler's coroutine: a step's tokens in one piece,
// with one wake-up, and no more memory than a bound. The engine's thread only copies ids; text is
// the reader's work.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "src/engine/serving.h"

namespace nereid::openai {

struct ChoiceToken {
  int32_t choice = 0;
  OutputToken token;
};

// What has come since the last take(), in order; a choice's finish comes after all its tokens.
struct TokenBatch {
  std::vector<OutputToken> prompt;  // once, if the prompt's log-probabilities are asked for
  std::vector<ChoiceToken> tokens;
  std::vector<std::pair<int32_t, FinishInfo>> finishes;
  std::optional<RequestUsage> done;
  bool overrun = false;  // the reader was too slow: tokens are missing

  bool empty() const {
    return prompt.empty() && tokens.empty() && finishes.empty() && !done && !overrun;
  }
  void clear();
};

class QueueSink : public RequestSink {
 public:
  struct Options {
    size_t max_tokens = 16384;     // not yet taken
    size_t max_bytes = 4 << 20;    // of them, about as they are sent: log-probabilities are long
    std::function<void()> notify;  // on the engine's thread: there is something to take
    // On the engine's thread, for metrics; either may be empty.
    std::function<void(const RequestUsage&)> on_usage;
    std::function<void(double seconds)> on_inter_token;
  };
  explicit QueueSink(Options options) : options_(std::move(options)) { ++live_; }
  ~QueueSink() override { --live_; }
  QueueSink(const QueueSink&) = delete;
  QueueSink& operator=(const QueueSink&) = delete;
  // How many there are in this process: none, when nothing is being answered.
  static int64_t num_live() { return live_; }

  // The reader's side; any one thread. take() swaps buffers, so that in steady state nothing is
  // allocated. False: nothing was there.
  bool take(TokenBatch& batch);
  // Afterwards `notify` is not called any more, and nothing is kept.
  void detach();

  void on_prompt(std::span<const OutputToken> tokens) override;
  void on_token(int32_t choice, const OutputToken& token) override;
  void on_finish(int32_t choice, const FinishInfo& info) override;
  void on_done(const RequestUsage& usage) override;
  void on_step_end() override;

 private:
  static inline std::atomic<int64_t> live_ = 0;
  void hand_over();
  void observe_gap(int32_t choice);

  Options options_;
  TokenBatch staged_;                               // of the step at hand: the engine's thread only
  size_t staged_bytes_ = 0;                         // the same
  std::vector<ServeClock::time_point> last_token_;  // per choice; the engine's thread only

  std::mutex mutex_;  // guards what follows, and calls of notify
  TokenBatch ready_;
  size_t ready_bytes_ = 0;
  bool detached_ = false;
};

}  // namespace nereid::openai
