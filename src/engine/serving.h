// The serving engine as the server sees it: submit requests from any thread, receive tokens in a
// sink. Text (templates, tokens to text, stop strings) is the server's; everything here is ids.
//
// Threads: every function of ServingEngine may be called from any thread. Sinks are called on the
// engine's own thread, never two calls of one request at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/engine/engine.h"
#include "src/text/grammar.h"

namespace nereid {

using ServeClock = std::chrono::steady_clock;
using RequestId = uint64_t;

struct ServeRequest {
  std::vector<int32_t> prompt_ids;
  SamplingParams sampling;  // choice i draws with seed + i
  int32_t n = 1;            // choices; they share the prompt's pages
  int32_t min_tokens = 0;   // until then neither end-of-sequence nor stop_ids can be drawn
  int32_t max_tokens = 16;  // of each choice
  bool ignore_eos = false;
  std::vector<int32_t> stop_ids;  // end a choice like end-of-sequence; not emitted
  int32_t top_logprobs = -1;      // -1: none; 0: of the drawn token; N: also the N best
  bool prompt_logprobs = false;   // what the model gives to the prompt's own tokens
  int32_t priority = 0;           // smaller goes first; among equals, first come first served
  std::shared_ptr<const text::Grammar> grammar;  // null: unconstrained
};

struct OutputToken {
  int32_t id = 0;
  float logprob = 0;                           // NaN when not asked for
  std::vector<std::pair<int32_t, float>> top;  // best first
};

enum class FinishReason : uint8_t {
  kStop,       // end of sequence, a stop id, the grammar is complete, or stop_choice
  kLength,     // max_tokens, or the context is full
  kCancelled,  // cancel(), or the engine was shut down
  kError,      // the request cannot go on; see FinishInfo::message
};

struct FinishInfo {
  FinishReason reason = FinishReason::kStop;
  int32_t stop_id = -1;  // the token that ended the choice, where one did
  std::string message;   // for kError
};

// What a request cost, for usage and metrics.
struct RequestUsage {
  int32_t prompt_tokens = 0, cached_tokens = 0;  // cached: found in the prefix cache
  int32_t output_tokens = 0;                     // of all choices
  ServeClock::time_point arrived, scheduled, first_token, finished;
  int32_t preemptions = 0;
};

// Receives what one request produces. Calls come from the engine's thread between two steps, so
// they must return quickly and must not call the engine back other than cancel() and stop_choice().
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  // Once, before the first token, if prompt_logprobs: [prompt tokens], the first without a value.
  virtual void on_prompt(std::span<const OutputToken> tokens) = 0;
  virtual void on_token(int32_t choice, const OutputToken& token) = 0;
  // Exactly once for every choice.
  virtual void on_finish(int32_t choice, const FinishInfo& info) = 0;
  // Exactly once, after the last on_finish; the sink is let go afterwards.
  virtual void on_done(const RequestUsage& usage) = 0;
  // After the calls of a step, for sinks that had any: the moment to wake whoever drains them.
  virtual void on_step_end() {}
};

// Why a request was not taken.
struct SubmitError {
  enum class Kind : uint8_t { kInvalid, kQueueFull, kShuttingDown } kind = Kind::kInvalid;
  std::string parameter;  // of kInvalid: "prompt", "max_tokens", "temperature", ...
  std::string message;
};

// Values since the start, and the state now.
struct ServingStats {
  int32_t running = 0, waiting = 0;                           // requests
  int32_t pages_total = 0, pages_used = 0, pages_cached = 0;  // cached: unused but kept for reuse
  int32_t page_size = 0;
  uint64_t prompt_tokens = 0, generation_tokens = 0;
  uint64_t prefix_queries = 0, prefix_hits = 0;  // in tokens
  uint64_t preemptions = 0, steps = 0;
  uint64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0;
  // Tokens computed per step: for each bound, how many steps had at most so many and more than the
  // bound before; and the sum of tokens.
  std::vector<std::pair<int32_t, uint64_t>> step_tokens;
  uint64_t step_tokens_sum = 0;
};

struct ServingOptions {
  int32_t max_sequences = 64;   // choices that run at once
  int32_t max_step_tokens = 0;  // token budget of a step; 0: 512, on GPUs 2048
  int32_t max_waiting = 256;    // requests that wait; more are refused
  int64_t cache_tokens = 0;     // size of the KV cache; 0: what the memory plan gives
  bool prefix_cache = true;
};

class ServingEngine {
 public:
  // Loads the model; the engine's thread runs when this returns.
  static Result<std::unique_ptr<ServingEngine>> start(const LoadOptions& load,
                                                      const ServingOptions& options);
  virtual ~ServingEngine() = default;

  virtual std::expected<RequestId, SubmitError> submit(ServeRequest request,
                                                       std::shared_ptr<RequestSink> sink) = 0;
  // Ends all choices within one step (kCancelled). Unknown and finished ids are ignored.
  virtual void cancel(RequestId id) = 0;
  // Ends one choice (kStop): its text has reached a stop string.
  virtual void stop_choice(RequestId id, int32_t choice) = 0;

  // Called on the engine's thread when all sinks that a step gave something to have had their
  // on_step_end(): the moment to wake a thread that serves them all, once. There is one listener;
  // null removes it. When this returns, the one before is not being called any more.
  virtual void set_delivery_listener(std::function<void()> listener) = 0;

  // No further requests are taken; returns when all taken ones have ended or at the deadline, when
  // the rest is cancelled. True: none was.
  virtual bool drain(ServeClock::time_point deadline) = 0;
  // Call it once, last, with no request under way: writes the trace, where one was asked for.
  virtual Status finish() = 0;

  virtual ServingStats stats() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual const GenerationDefaults& generation_defaults() const = 0;
  virtual const DeviceInfo& device_info() const = 0;
  virtual int32_t max_context() const = 0;
  virtual const ServingOptions& options() const = 0;  // with defaults filled in
  // Errors say what of the model's files could not be read.
  virtual Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const = 0;
  virtual Result<std::shared_ptr<const text::ChatTemplate>> chat_template()
      const = 0;  // may be null
};

}  // namespace nereid
