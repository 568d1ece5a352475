// The serving engine's doors (submit, cancel, drain, stats) and its loop. What a step does is in
// serving_step.cc.
#include "src/engine/serving_engine.h"

#include <algorithm>

#include "src/base/check.h"
#include "src/base/log.h"

namespace nereid {

namespace {

// How many later arrivals one level of priority is worth: a request of low priority overtakes, in
// the end, whatever comes after it.
constexpr int64_t kArrivalsPerPriority = 1000;

int64_t place_in_line(int64_t arrival, int32_t priority) {
  constexpr int64_t kDistinct = int64_t{1} << 20;  // no two arrivals alike
  return (arrival + priority * kArrivalsPerPriority) * kDistinct + arrival % kDistinct;
}

SchedulerOptions scheduler_options(const Runner& runner, const ServingOptions& options) {
  return {.num_pages = runner.num_pages(),
          .page_size = runner.limits().page_size,
          .max_sequences = options.max_sequences,
          .max_step_tokens = options.max_step_tokens == 0
                                 ? runner.limits().max_rows
                                 : std::min(options.max_step_tokens, runner.limits().max_rows),
          .max_logit_rows = runner.max_logit_rows()};
}

std::vector<std::pair<int32_t, uint64_t>> step_token_buckets(int32_t largest) {
  std::vector<std::pair<int32_t, uint64_t>> buckets;
  for (int32_t bound = 1; bound < largest; bound *= 2) buckets.emplace_back(bound, 0);
  buckets.emplace_back(largest, 0);
  return buckets;
}

Status check_options(const ServingOptions& options) {
  const auto check = [](const char* flag, int64_t value, int64_t low, int64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return error("{}: found {}, expected {} to {}", flag, value, low, high);
  };
  NEREID_RETURN_IF_ERROR(check("--max-sequences", options.max_sequences, 1, 1024));
  if (options.max_step_tokens != 0) {
    NEREID_RETURN_IF_ERROR(
        check("--max-step-tokens", options.max_step_tokens, options.max_sequences, 1 << 20));
  }
  NEREID_RETURN_IF_ERROR(check("--max-waiting", options.max_waiting, 0, 1 << 20));
  return check("--cache-tokens", options.cache_tokens, 0, int64_t{1} << 40);
}

}  // namespace

Result<std::unique_ptr<ServingEngine>> ServingEngine::start(const LoadOptions& load,
                                                            const ServingOptions& options) {
  NEREID_RETURN_IF_ERROR(check_options(options));
  LoadOptions with_batch = load;
  with_batch.max_batch = options.max_sequences;
  with_batch.max_step_tokens = options.max_step_tokens;
  with_batch.shared_cache = true;
  with_batch.cache_tokens = options.cache_tokens;
  NEREID_TRY(auto model, ModelEngine::load(with_batch));
  return std::make_unique<ServingModelEngine>(std::move(model), options);
}

ServingModelEngine::ServingModelEngine(std::unique_ptr<ModelEngine> model,
                                       const ServingOptions& options)
    : model_(std::move(model)),
      options_(options),
      scheduler_(scheduler_options(model_->runner(), options)) {
  const SchedulerOptions& scheduling = scheduler_.options();
  const int64_t capacity = int64_t{scheduling.num_pages} * scheduling.page_size;
  options_.cache_tokens = capacity;
  options_.max_step_tokens = scheduling.max_step_tokens;
  limits_ = {
      .vocab_size = config().vocab_size,
      .max_context = static_cast<int32_t>(std::min<int64_t>(model_->max_context(), capacity)),
      .eos_ids = generation_defaults().eos_ids};
  counts_.pages_total = scheduling.num_pages;
  counts_.page_size = scheduling.page_size;
  counts_.step_tokens = step_token_buckets(options_.max_step_tokens);
  stats_ = counts_;
  worker_ = std::make_unique<StepWorker>(model_->runner());
  thread_ = std::thread([this] { run(); });
}

ServingModelEngine::~ServingModelEngine() {
  stop_thread();
}

Status ServingModelEngine::finish() {
  stop_thread();
  return model_->finish();
}

void ServingModelEngine::stop_thread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = draining_ = cancel_all_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::expected<RequestId, SubmitError> ServingModelEngine::submit(
    ServeRequest request, std::shared_ptr<RequestSink> sink) {
  auto checked = check_request(std::move(request), limits_);
  if (!checked) return std::unexpected(std::move(checked.error()));
  auto entry = std::make_unique<ServingRequest>();
  entry->params = std::move(*checked);
  entry->sink = std::move(sink);
  entry->usage.arrived = ServeClock::now();
  entry->usage.prompt_tokens = static_cast<int32_t>(entry->params.prompt_ids.size());
  if (const Status made = make_choices(*entry, limits_); !made) {
    return std::unexpected(SubmitError{.parameter = "grammar", .message = made.error().message});
  }
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (draining_) {
      return std::unexpected(SubmitError{.kind = SubmitError::Kind::kShuttingDown,
                                         .parameter = "",
                                         .message = "the server is shutting down"});
    }
    const int32_t running = num_accepted_ - num_queued_;
    const int32_t free_places = std::max(0, options_.max_sequences - running);
    if (num_queued_ >= options_.max_waiting + free_places) {
      return std::unexpected(
          SubmitError{.kind = SubmitError::Kind::kQueueFull,
                      .parameter = "",
                      .message = fmt::format("{} requests are waiting, the limit is {}",
                                             num_queued_, options_.max_waiting)});
    }
    id = entry->id = next_id_++;
    submitted_.push_back(std::move(entry));
    ++num_queued_;
    ++num_accepted_;
  }
  wake_.notify_all();
  return id;
}

void ServingModelEngine::cancel(RequestId id) {
  stop_choice(id, -1);
}

void ServingModelEngine::stop_choice(RequestId id, int32_t choice) {
  {
    const std::lock_guard lock(mutex_);
    stops_.push_back({.id = id, .choice = choice});
  }
  wake_.notify_all();
}

void ServingModelEngine::set_delivery_listener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  delivery_listener_ = std::move(listener);
}

bool ServingModelEngine::drain(ServeClock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto ended = [this] { return num_accepted_ == 0; };
  const bool in_time = empty_.wait_until(lock, deadline, ended);
  if (!in_time) {
    cancel_all_ = true;
    wake_.notify_all();
    empty_.wait(lock, ended);
  }
  return in_time;
}

ServingStats ServingModelEngine::stats() const {
  const std::lock_guard lock(mutex_);
  ServingStats stats = stats_;
  stats.waiting = num_queued_;
  return stats;
}

// --- the loop
// ---------------------------------------------------------------------------------------

void ServingModelEngine::run() {
  while (take_inbox()) {
    const bool started = start_step();
    deliver();
    if (!started) continue;
    compute_masks();
    worker_->draw(draw_);
    finish_step(worker_->wait());
  }
}

bool ServingModelEngine::take_inbox() {
  std::vector<std::unique_ptr<ServingRequest>> submitted;
  std::vector<Stop> stops;
  bool cancels_all = false, stopping = false;
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] {
      return stopping_ || cancel_all_ || !submitted_.empty() || !stops_.empty() ||
             !requests_.empty() || !events_.empty();
    });
    submitted.swap(submitted_);
    stops.swap(stops_);
    cancels_all = std::exchange(cancel_all_, false);
    stopping = stopping_;
  }
  for (auto& request : submitted) accept(std::move(request));
  for (const Stop& stop : stops) apply(stop);
  if (cancels_all) cancel_all({.reason = FinishReason::kCancelled});
  if (stopping && requests_.empty()) {
    deliver();
    return false;
  }
  return true;
}

void ServingModelEngine::accept(std::unique_ptr<ServingRequest> owned) {
  ServingRequest& request = *owned;
  requests_[request.id] = std::move(owned);
  std::optional<SequenceId> leader;
  for (Choice& choice : request.choices) {
    choice.sequence =
        scheduler_.add({.prompt = request.params.prompt_ids,
                        .order = place_in_line(next_arrival_++, request.params.priority),
                        .all_logits = request.params.prompt_logprobs && !leader,
                        // Without a prefix cache only the choices of one request share pages.
                        .salt = options_.prefix_cache ? 0 : request.id,
                        .after = leader});
    if (!leader) leader = choice.sequence;
    if (by_sequence_.size() <= choice.sequence) by_sequence_.resize(choice.sequence + 1);
    by_sequence_[choice.sequence] = &choice;
  }
}

void ServingModelEngine::apply(const Stop& stop) {
  const auto found = requests_.find(stop.id);
  if (found == requests_.end()) return;
  ServingRequest& request = *found->second;
  for (Choice& choice : request.choices) {
    if (!choice.live || (stop.choice >= 0 && stop.choice != choice.index)) continue;
    const bool cancelled = stop.choice < 0;
    finish_choice(choice, {.reason = cancelled ? FinishReason::kCancelled : FinishReason::kStop});
  }
}

void ServingModelEngine::cancel_all(const FinishInfo& info) {
  std::vector<ServingRequest*> all;  // finishing takes them out of requests_
  for (const auto& [id, request] : requests_) all.push_back(request.get());
  for (ServingRequest* request : all) {
    for (Choice& choice : request->choices) {
      if (choice.live) finish_choice(choice, info);
    }
  }
}

void ServingModelEngine::deliver() {
  for (const Event& event : events_) {
    RequestSink& sink = *event.request->sink;
    event.request->touched = true;
    switch (event.kind) {
      case Event::Kind::kPrompt:
        sink.on_prompt(event.request->prompt_tokens);
        break;
      case Event::Kind::kToken:
        sink.on_token(event.choice, event.token);
        break;
      case Event::Kind::kFinish:
        sink.on_finish(event.choice, event.finish);
        break;
      case Event::Kind::kDone:
        sink.on_done(event.request->usage);
        break;
    }
  }
  for (const Event& event : events_) {
    if (std::exchange(event.request->touched, false)) event.request->sink->on_step_end();
  }
  if (!events_.empty()) {
    const std::lock_guard lock(listener_mutex_);
    if (delivery_listener_) delivery_listener_();
  }
  events_.clear();
  if (!finished_.empty()) {
    const std::lock_guard lock(mutex_);
    num_accepted_ -= static_cast<int32_t>(finished_.size());
    finished_.clear();
    if (num_accepted_ == 0) empty_.notify_all();
  }
  update_stats();
}

void ServingModelEngine::update_stats() {
  const SchedulerCounters& counters = scheduler_.counters();
  counts_.prefix_queries = counters.prefix_queries;
  counts_.prefix_hits = counters.prefix_hits;
  counts_.preemptions = counters.preemptions;
  counts_.pages_used = scheduler_.pages().num_held();
  counts_.pages_cached = scheduler_.pages().num_idle();
  const std::lock_guard lock(mutex_);
  counts_.running = num_accepted_ - num_queued_;
  stats_ = counts_;
}

}  // namespace nereid
