// A serving engine without a model, for tests of the server: it replies with what it was asked, one
// token a step, from its own thread as the real one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "src/engine/serving.h"

namespace nereid::server {

struct FakeServingOptions {
  ServingOptions serving = {};        // max_sequences and max_waiting are kept to
  std::chrono::microseconds step{0};  // time of a step; a step gives each running choice a token
  int32_t max_context = 256;
  GenerationDefaults defaults = {};
  bool with_chat_template = true;
  bool broken_tokenizer = false, broken_chat_template = false;  // asking for it is an error
  int32_t cached_tokens = 0;                                    // said of every prompt
  std::string error_message;  // not empty: choices end with kError in place of their second token
  // Ids of the reply before end of sequence. Default: the prompt's byte tokens again. With
  // ignore_eos, and before min_tokens, the reply starts over at its end.
  std::function<std::vector<int32_t>(const ServeRequest&)> reply = {};
};

// Tokens are those of src/text/testing/byte_tokenizer.h. Log-probability of a token: -(id % 10) /
// 8; the N best: the token itself, then ids 0, 1, ... with one less each.
class FakeServingEngine : public ServingEngine {
 public:
  explicit FakeServingEngine(FakeServingOptions options = {});
  ~FakeServingEngine() override;

  std::expected<RequestId, SubmitError> submit(ServeRequest request,
                                               std::shared_ptr<RequestSink> sink) override;
  void cancel(RequestId id) override;
  void stop_choice(RequestId id, int32_t choice) override;
  void set_delivery_listener(std::function<void()> listener) override;
  bool drain(ServeClock::time_point deadline) override;
  Status finish() override { return {}; }
  ServingStats stats() const override;
  const ModelConfig& config() const override { return config_; }
  const GenerationDefaults& generation_defaults() const override { return options_.defaults; }
  const DeviceInfo& device_info() const override { return device_; }
  int32_t max_context() const override { return options_.max_context; }
  const ServingOptions& options() const override { return options_.serving; }
  Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const override;
  Result<std::shared_ptr<const text::ChatTemplate>> chat_template() const override;

  // For tests. Requests in the order they were taken.
  std::vector<ServeRequest> submitted() const;
  // Waits until so many requests have been submitted, cancelled or done since the start.
  bool wait_submitted(size_t count, std::chrono::milliseconds limit) const;
  bool wait_cancelled(size_t count, std::chrono::milliseconds limit) const;
  bool wait_done(size_t count, std::chrono::milliseconds limit) const;

 private:
  struct Choice {
    size_t position = 0;  // in the reply
    int32_t num_tokens = 0;
    bool finished = false;
  };
  struct Request {
    RequestId id = 0;
    ServeRequest request;
    std::shared_ptr<RequestSink> sink;
    std::vector<int32_t> reply;
    std::vector<Choice> choices;
    RequestUsage usage;
    bool prompt_reported = false;
  };
  struct Command {  // cancel() and stop_choice(), until the next step
    RequestId id = 0;
    int32_t choice = -1;  // -1: cancel all
  };

  void loop();
  void admit();
  void apply(const std::vector<Command>& commands);
  void step(Request& request);
  void emit(Request& request, int32_t choice);
  void finish(Request& request, int32_t choice, const FinishInfo& info);
  void let_go_of_finished();
  void tell_listener();
  OutputToken output_token(const ServeRequest& request, int32_t id) const;

  FakeServingOptions options_;
  ModelConfig config_;
  DeviceInfo device_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::ChatTemplate> template_;

  std::vector<std::unique_ptr<Request>> running_;  // the engine's thread only
  mutable std::mutex mutex_;                       // guards what follows
  mutable std::condition_variable changed_;
  std::deque<std::unique_ptr<Request>> waiting_;
  std::vector<Command> commands_;
  std::vector<ServeRequest> submitted_;
  ServingStats stats_;
  size_t num_cancelled_ = 0, num_done_ = 0;
  RequestId next_id_ = 1;
  bool draining_ = false, stopping_ = false;
  std::mutex listener_mutex_;  // guards what follows, and its calls
  std::function<void()> delivery_listener_;
  std::thread thread_;
};

}  // namespace nereid::server
