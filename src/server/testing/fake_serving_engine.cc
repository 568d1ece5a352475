// See fake_serving_engine.h.
#include "src/server/testing/fake_serving_engine.h"

#include <algorithm>
#include <limits>

#include "src/text/testing/byte_tokenizer.h"

namespace nereid::server {
namespace {

std::vector<int32_t> byte_tokens(const std::vector<int32_t>& ids) {
  std::vector<int32_t> bytes;
  std::ranges::copy_if(ids, std::back_inserter(bytes),
                       [](int32_t id) { return id < text::kNumByteTokens; });
  return bytes;
}

std::unexpected<SubmitError> invalid(std::string parameter, std::string message) {
  return std::unexpected(SubmitError{.kind = SubmitError::Kind::kInvalid,
                                     .parameter = std::move(parameter),
                                     .message = std::move(message)});
}

std::expected<void, SubmitError> check(const ServeRequest& request, int32_t max_context) {
  if (request.prompt_ids.empty()) return invalid("prompt", "the prompt is empty");
  if (std::ssize(request.prompt_ids) >= max_context) {
    return invalid("prompt", fmt::format("{} tokens, at most {} fit", request.prompt_ids.size(),
                                         max_context - 1));
  }
  for (const int32_t id : request.prompt_ids) {
    if (id < 0 || id >= text::kByteTokenizerVocabulary) {
      return invalid("prompt", fmt::format("token {} is not in the vocabulary", id));
    }
  }
  if (request.max_tokens < 1) return invalid("max_tokens", "must be at least 1");
  if (request.n < 1) return invalid("n", "must be at least 1");
  return {};
}

}  // namespace

FakeServingEngine::FakeServingEngine(FakeServingOptions options) : options_(std::move(options)) {
  config_.architecture = "fake";
  config_.name = "fake model";
  config_.vocab_size = text::kByteTokenizerVocabulary;
  config_.max_position = options_.max_context;
  if (options_.defaults.eos_ids.empty()) options_.defaults.eos_ids = {text::kByteTokenizerEos};
  device_ = {.driver = "null", .name = "nothing", .target = "cpu:none", .num_workers = 1};
  tokenizer_ = text::byte_tokenizer();
  if (options_.with_chat_template) template_ = text::byte_chat_template();
  stats_.page_size = 16;
  stats_.pages_total = 64;
  for (const int32_t bound : {1, 8, 64, 512}) stats_.step_tokens.emplace_back(bound, 0);
  thread_ = std::thread([this] { loop(); });
}

FakeServingEngine::~FakeServingEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = draining_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::shared_ptr<const text::Tokenizer>> FakeServingEngine::tokenizer() const {
  if (options_.broken_tokenizer) return error("fake tokenizer: broken");
  return tokenizer_;
}

Result<std::shared_ptr<const text::ChatTemplate>> FakeServingEngine::chat_template() const {
  if (options_.broken_chat_template) return error("fake template: broken");
  return template_;
}

std::expected<RequestId, SubmitError> FakeServingEngine::submit(ServeRequest request,
                                                                std::shared_ptr<RequestSink> sink) {
  if (const auto valid = check(request, options_.max_context); !valid) {
    return std::unexpected(valid.error());
  }
  const std::lock_guard lock(mutex_);
  if (draining_) {
    return std::unexpected(SubmitError{.kind = SubmitError::Kind::kShuttingDown,
                                       .message = "the server is shutting down"});
  }
  if (std::ssize(waiting_) >= options_.serving.max_waiting) {
    return std::unexpected(
        SubmitError{.kind = SubmitError::Kind::kQueueFull,
                    .message = fmt::format("{} requests wait already", waiting_.size())});
  }
  auto entry = std::make_unique<Request>();
  entry->id = next_id_++;
  entry->reply = options_.reply ? options_.reply(request) : byte_tokens(request.prompt_ids);
  entry->choices.resize(static_cast<size_t>(request.n));
  entry->usage.prompt_tokens = static_cast<int32_t>(request.prompt_ids.size());
  entry->usage.cached_tokens = std::min(options_.cached_tokens, entry->usage.prompt_tokens);
  entry->usage.arrived = ServeClock::now();
  submitted_.push_back(request);
  entry->request = std::move(request);
  entry->sink = std::move(sink);
  const RequestId id = entry->id;
  waiting_.push_back(std::move(entry));
  stats_.waiting = static_cast<int32_t>(waiting_.size());
  changed_.notify_all();
  return id;
}

void FakeServingEngine::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.id = id});
  changed_.notify_all();
}

void FakeServingEngine::stop_choice(RequestId id, int32_t choice) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.id = id, .choice = choice});
  changed_.notify_all();
}

void FakeServingEngine::set_delivery_listener(std::function<void()> listener) {
  const std::lock_guard lock(listener_mutex_);
  delivery_listener_ = std::move(listener);
}

void FakeServingEngine::tell_listener() {
  const std::lock_guard lock(listener_mutex_);
  if (delivery_listener_) delivery_listener_();
}

bool FakeServingEngine::drain(ServeClock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto idle = [this] { return num_done_ == submitted_.size(); };
  if (changed_.wait_until(lock, deadline, idle)) return true;
  for (RequestId id = 1; id < next_id_; ++id) commands_.push_back({.id = id});
  changed_.notify_all();
  changed_.wait(lock, idle);
  return false;
}

ServingStats FakeServingEngine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::vector<ServeRequest> FakeServingEngine::submitted() const {
  const std::lock_guard lock(mutex_);
  return submitted_;
}

bool FakeServingEngine::wait_submitted(size_t count, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return submitted_.size() >= count; });
}

bool FakeServingEngine::wait_cancelled(size_t count, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return num_cancelled_ >= count; });
}

bool FakeServingEngine::wait_done(size_t count, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return num_done_ >= count; });
}

void FakeServingEngine::loop() {
  while (true) {
    std::vector<Command> commands;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] {
        return stopping_ || !waiting_.empty() || !commands_.empty() || !running_.empty();
      });
      if (stopping_) {
        for (RequestId id = 1; id < next_id_; ++id) commands_.push_back({.id = id});
      } else if (!running_.empty() && commands_.empty() && options_.step.count() > 0) {
        changed_.wait_for(lock, options_.step, [this] { return stopping_ || !commands_.empty(); });
      }
      commands.swap(commands_);
      admit();
      if (stopping_ && running_.empty() && waiting_.empty()) return;
    }
    apply(commands);
    for (const auto& request : running_) step(*request);
    let_go_of_finished();
  }
}

// With the mutex held. While stopping all are taken, to be cancelled in the same round.
void FakeServingEngine::admit() {
  ptrdiff_t choices = 0;
  for (const auto& request : running_) choices += std::ssize(request->choices);
  while (!waiting_.empty()) {
    const ptrdiff_t more = std::ssize(waiting_.front()->choices);
    const bool fits = running_.empty() || choices + more <= options_.serving.max_sequences;
    if (!fits && !stopping_) break;
    choices += more;
    waiting_.front()->usage.scheduled = ServeClock::now();
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  stats_.running = static_cast<int32_t>(running_.size());
  stats_.waiting = static_cast<int32_t>(waiting_.size());
}

void FakeServingEngine::apply(const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    std::unique_ptr<Request> taken;  // a request that still waits ends here
    if (command.choice < 0) {
      const std::lock_guard lock(mutex_);
      const auto at = std::ranges::find(waiting_, command.id, [](const auto& r) { return r->id; });
      if (at != waiting_.end()) {
        taken = std::move(*at);
        waiting_.erase(at);
      }
    }
    if (taken != nullptr) running_.push_back(std::move(taken));
    const auto at = std::ranges::find(running_, command.id, [](const auto& r) { return r->id; });
    if (at == running_.end()) continue;
    Request& request = **at;
    for (int32_t choice = 0; choice < std::ssize(request.choices); ++choice) {
      if (command.choice >= 0 && command.choice != choice) continue;
      finish(request, choice,
             {.reason = command.choice < 0 ? FinishReason::kCancelled : FinishReason::kStop});
    }
  }
}

void FakeServingEngine::step(Request& request) {
  const ServeRequest& asked = request.request;
  if (!request.prompt_reported && asked.prompt_logprobs) {
    std::vector<OutputToken> tokens;
    for (const int32_t id : asked.prompt_ids) tokens.push_back(output_token(asked, id));
    tokens.front().logprob = std::numeric_limits<float>::quiet_NaN();
    tokens.front().top.clear();
    request.sink->on_prompt(tokens);
  }
  request.prompt_reported = true;
  for (int32_t choice = 0; choice < std::ssize(request.choices); ++choice) {
    if (!request.choices[static_cast<size_t>(choice)].finished) emit(request, choice);
  }
  request.sink->on_step_end();
}

void FakeServingEngine::emit(Request& request, int32_t index) {
  Choice& choice = request.choices[static_cast<size_t>(index)];
  const ServeRequest& asked = request.request;
  if (!options_.error_message.empty() && choice.num_tokens == 1) {
    finish(request, index, {.reason = FinishReason::kError, .message = options_.error_message});
    return;
  }
  const bool must_go_on = asked.ignore_eos || choice.num_tokens < asked.min_tokens;
  if (choice.position == request.reply.size() && must_go_on) choice.position = 0;
  const int32_t id = choice.position < request.reply.size() ? request.reply[choice.position]
                                                            : text::kByteTokenizerEos;
  ++choice.position;
  const bool stops = std::ranges::find(asked.stop_ids, id) != asked.stop_ids.end();
  const bool is_end = id == text::kByteTokenizerEos && !asked.ignore_eos;
  if ((stops || is_end) && choice.num_tokens >= asked.min_tokens) {
    finish(request, index, {.reason = FinishReason::kStop, .stop_id = id});
    return;
  }
  if (request.usage.output_tokens++ == 0) request.usage.first_token = ServeClock::now();
  request.sink->on_token(index, output_token(asked, id));
  const bool full = request.usage.prompt_tokens + choice.num_tokens + 1 >= options_.max_context;
  if (++choice.num_tokens >= asked.max_tokens || full) {
    finish(request, index, {.reason = FinishReason::kLength});
  }
}

void FakeServingEngine::finish(Request& request, int32_t index, const FinishInfo& info) {
  Choice& choice = request.choices[static_cast<size_t>(index)];
  if (choice.finished) return;
  choice.finished = true;
  request.sink->on_finish(index, info);
  const std::lock_guard lock(mutex_);
  switch (info.reason) {
    case FinishReason::kStop:
      ++stats_.finished_stop;
      break;
    case FinishReason::kLength:
      ++stats_.finished_length;
      break;
    case FinishReason::kCancelled:
      ++stats_.finished_cancelled;
      break;
    case FinishReason::kError:
      ++stats_.finished_error;
      break;
  }
  const bool last = std::ranges::all_of(request.choices, &Choice::finished);
  if (last && info.reason == FinishReason::kCancelled) ++num_cancelled_;
}

void FakeServingEngine::let_go_of_finished() {
  std::vector<std::unique_ptr<Request>> finished;
  std::erase_if(running_, [&](std::unique_ptr<Request>& request) {
    if (!std::ranges::all_of(request->choices, &Choice::finished)) return false;
    finished.push_back(std::move(request));
    return true;
  });
  for (const auto& request : finished) {
    request->usage.finished = ServeClock::now();
    if (request->usage.output_tokens == 0) request->usage.first_token = request->usage.finished;
    request->sink->on_done(request->usage);
    request->sink->on_step_end();
    request->sink.reset();
  }
  tell_listener();
  const std::lock_guard lock(mutex_);
  ++stats_.steps;
  stats_.running = static_cast<int32_t>(running_.size());
  stats_.pages_used = stats_.running;
  stats_.step_tokens_sum += running_.size();
  for (auto& [bound, count] : stats_.step_tokens) {
    if (std::ssize(running_) > bound) continue;
    ++count;
    break;
  }
  for (const auto& request : finished) {
    stats_.prompt_tokens += static_cast<uint64_t>(request->usage.prompt_tokens);
    stats_.generation_tokens += static_cast<uint64_t>(request->usage.output_tokens);
    stats_.prefix_queries += static_cast<uint64_t>(request->usage.prompt_tokens);
    stats_.prefix_hits += static_cast<uint64_t>(request->usage.cached_tokens);
  }
  num_done_ += finished.size();
  changed_.notify_all();
}

OutputToken FakeServingEngine::output_token(const ServeRequest& request, int32_t id) const {
  OutputToken token{.id = id, .logprob = std::numeric_limits<float>::quiet_NaN()};
  if (request.top_logprobs < 0 && !request.prompt_logprobs) return token;
  token.logprob = -static_cast<float>(id % 10) / 8;
  if (request.top_logprobs > 0) token.top.emplace_back(id, token.logprob);
  for (int32_t rank = 1; rank < request.top_logprobs; ++rank) {
    token.top.emplace_back(rank - 1, token.logprob - static_cast<float>(rank));
  }
  return token;
}

}  // namespace nereid::server
