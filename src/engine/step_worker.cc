// Hands a step to the device thread and its result back.
#include "src/engine/step_worker.h"

#include "src/base/check.h"

namespace nereid {

StepWorker::~StepWorker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StepWorker::start(std::span<const CountedSequence> counted) {
  {
    const std::lock_guard lock(mutex_);
    NEREID_CHECK(!started_, "a step is under way");
    started_ = true;
    counted_ = counted;
  }
  changed_.notify_all();
}

void StepWorker::draw(const DrawOptions& options) {
  {
    const std::lock_guard lock(mutex_);
    draw_ = options;
  }
  changed_.notify_all();
}

Result<StepOutput> StepWorker::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return result_.has_value(); });
  NEREID_CHECK(result_.has_value(), "woken without a result");
  Result<StepOutput> result = std::move(*result_);
  result_.reset();
  draw_.reset();
  started_ = false;
  return result;
}

Status StepWorker::forward(std::span<const CountedSequence> counted) {
  for (const CountedSequence& sequence : counted) {
    NEREID_RETURN_IF_ERROR(
        runner_.sampler().begin(sequence.slot, sequence.prompt, sequence.outputs));
  }
  return runner_.forward_staged();
}

void StepWorker::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || (started_ && !result_); });
    if (stop_) return;
    const auto counted = counted_;
    lock.unlock();
    const Status computed = forward(counted);
    lock.lock();
    changed_.wait(lock, [this] { return stop_ || draw_; });
    if (stop_) return;
    NEREID_CHECK(draw_.has_value(), "woken without options");
    const DrawOptions options = *draw_;
    lock.unlock();
    Result<StepOutput> output =
        computed ? runner_.draw(options) : Result<StepOutput>(std::unexpected(computed.error()));
    lock.lock();
    result_ = std::move(output);
    changed_.notify_all();
  }
}

}  // namespace nereid
