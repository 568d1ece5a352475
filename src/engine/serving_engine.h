// The serving engine over a real model: what ServingEngine::start returns. One thread runs its
// loop:
//
//   take what was submitted and cancelled -> schedule -> stage -> start the step
//   meanwhile: deliver the tokens of the step before, compute grammar masks
//   wait for the step -> share its pages, append its tokens, end what has ended
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "src/engine/model_engine.h"
#include "src/engine/serving.h"
#include "src/engine/serving_request.h"
#include "src/engine/step_worker.h"
#include "src/sched/scheduler.h"

namespace nereid {

class ServingModelEngine final : public ServingEngine {
 public:
  ServingModelEngine(std::unique_ptr<ModelEngine> model, const ServingOptions& options);
  ~ServingModelEngine() override;

  std::expected<RequestId, SubmitError> submit(ServeRequest request,
                                               std::shared_ptr<RequestSink> sink) override;
  void cancel(RequestId id) override;
  void stop_choice(RequestId id, int32_t choice) override;
  void set_delivery_listener(std::function<void()> listener) override;
  bool drain(ServeClock::time_point deadline) override;
  Status finish() override;
  ServingStats stats() const override;

  const ModelConfig& config() const override { return model_->config(); }
  const GenerationDefaults& generation_defaults() const override {
    return model_->generation_defaults();
  }
  const DeviceInfo& device_info() const override { return model_->device_info(); }
  int32_t max_context() const override { return limits_.max_context; }
  const ServingOptions& options() const override { return options_; }
  Result<std::shared_ptr<const text::Tokenizer>> tokenizer() const override {
    return model_->tokenizer();
  }
  Result<std::shared_ptr<const text::ChatTemplate>> chat_template() const override {
    return model_->chat_template();
  }

 private:
  struct Stop {  // of one choice, or with choice -1 of a whole request
    RequestId id = 0;
    int32_t choice = -1;
  };
  struct Event {
    enum class Kind : uint8_t { kPrompt, kToken, kFinish, kDone } kind = Kind::kToken;
    ServingRequest* request = nullptr;
    int32_t choice = 0;
    OutputToken token;
    FinishInfo finish;
  };

  void stop_thread();
  void run();
  // Waits while there is nothing to do. False: the engine stops.
  bool take_inbox();
  void accept(std::unique_ptr<ServingRequest> request);
  void apply(const Stop& stop);
  void cancel_all(const FinishInfo& info);

  bool start_step();  // false: nothing to compute
  void stage(const StepBatch& batch);
  void add_slice(const StepSlice& slice);
  void note_admitted(const StepBatch& batch);
  void compute_masks();
  void finish_step(Result<StepOutput> output);
  void take_prompt_scores(const StepOutput& output);
  void take_token(Choice& choice, int32_t id, OutputToken token);
  void finish_choice(Choice& choice, const FinishInfo& info);
  void deliver();
  void update_stats();

  std::unique_ptr<ModelEngine> model_;
  ServingOptions options_;
  ModelLimits limits_;

  // Shared with callers.
  mutable std::mutex mutex_;
  std::condition_variable wake_, empty_;
  std::vector<std::unique_ptr<ServingRequest>> submitted_;
  std::vector<Stop> stops_;
  RequestId next_id_ = 1;
  int32_t num_queued_ = 0, num_accepted_ = 0;  // requests that have not run; that have not ended
  bool draining_ = false, stopping_ = false, cancel_all_ = false;
  ServingStats stats_;
  std::mutex listener_mutex_;  // guards what follows, and its calls
  std::function<void()> delivery_listener_;

  // Of the engine's thread.
  Scheduler scheduler_;
  std::unordered_map<RequestId, std::unique_ptr<ServingRequest>> requests_;
  std::vector<Choice*> by_sequence_;
  int64_t next_arrival_ = 0;
  std::vector<Event> events_;                              // to deliver
  std::vector<std::unique_ptr<ServingRequest>> finished_;  // let go after the delivery
  ServingStats counts_;                                    // published as stats_ after each step

  // The step under way.
  std::vector<SequenceSlice> slices_;
  std::vector<StepSlice> laid_out_;  // as slices_, decode rows first
  std::vector<Choice*> drawn_;       // by row to draw
  std::vector<SampleRow> rows_;
  std::vector<CountedSequence> counted_;
  std::vector<int32_t> rest_targets_;
  struct RestRows {
    Choice* choice;
    int32_t first, count;  // positions whose successors are scored
  };
  std::vector<RestRows> rest_;
  std::vector<uint32_t> masks_;
  DrawOptions draw_;
  bool masked_ = false;

  std::unique_ptr<StepWorker> worker_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nereid
