// The thread that runs steps on the device, so that the engine's thread can work meanwhile: deliver
// the last step's tokens and compute this step's grammar masks.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "src/base/result.h"
#include "src/engine/runner.h"

namespace nereid {

// A sequence whose penalties begin to count in this step.
struct CountedSequence {
  int32_t slot = 0;
  std::span<const int32_t> prompt, outputs;
};

class StepWorker {
 public:
  explicit StepWorker(Runner& runner) : runner_(runner), thread_([this] { run(); }) {}
  ~StepWorker();
  StepWorker(const StepWorker&) = delete;
  StepWorker& operator=(const StepWorker&) = delete;

  // Starts the step that the runner has staged. Then, once each: draw(), wait().
  void start(std::span<const CountedSequence> counted);
  // What the drawing needs; it begins when the logits are there.
  void draw(const DrawOptions& options);
  Result<StepOutput> wait();

 private:
  void run();
  Status forward(std::span<const CountedSequence> counted);

  Runner& runner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false, started_ = false;
  std::span<const CountedSequence> counted_;
  std::optional<DrawOptions> draw_;
  std::optional<Result<StepOutput>> result_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nereid
