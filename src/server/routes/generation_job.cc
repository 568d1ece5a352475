// See generation_job.h.
#include "src/server/routes/generation_job.h"

#include <algorithm>

#include "src/server/metrics.h"
#include "src/server/openai/ids.h"
#include "src/server/step_wakes.h"

namespace nereid::server {

using openai::ApiStatus;

GenerationJob::GenerationJob(Exchange& exchange, ServerContext& context, const JobRequest& request)
    : exchange_(exchange),
      context_(context),
      request_(request),
      wake_(std::make_shared<Wake>(exchange.executor())),
      seed_(request.generation.seed.value_or(openai::random_seed())),
      runs_(request.prompts.size()) {
  const auto num_choices = request.prompts.size() * static_cast<size_t>(request.generation.n);
  choices_.reserve(num_choices);
  for (size_t index = 0; index < num_choices; ++index) choices_.emplace_back(choice_options());
  is_changed_.resize(num_choices);
  for (const auto& prompt : request.prompts) {
    usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  }
}

GenerationJob::~GenerationJob() {
  exchange_.on_client_gone(nullptr);
  cancel();
  for (Run& run : runs_) {
    if (run.sink) run.sink->detach();
  }
}

void GenerationJob::cancel() {
  for (const Run& run : runs_) {
    if (run.submitted && !run.done) context_.engine.cancel(run.id);
  }
}

openai::ChoiceOptions GenerationJob::choice_options() const {
  const openai::ModelText& text = *context_.text;
  openai::ChoiceOptions options{
      .tokenizer = text.tokenizer().value(),
      .text = {.stops = request_.generation.stop,
               .skip_special_tokens = request_.generation.skip_special_tokens},
      .logprobs = request_.generation.top_logprobs >= 0};
  const openai::ToolRequest* tools = request_.tools;
  if (!tools || tools->choice == openai::ToolChoice::kNone) return options;
  if (options.text.skip_special_tokens) options.text.shown = text.shown_tokens();
  const openai::ToolFormat& format = text.tool_format();
  openai::ToolParser::Options parser{.format = &format,
                                     .names = {},
                                     .parallel = tools->parallel,
                                     .calls_only = tools->choice != openai::ToolChoice::kAuto,
                                     .new_id = [&format] {
                                       return format.id_length < 16
                                                  ? openai::random_id("", format.id_length)
                                                  : openai::random_id("call_", format.id_length);
                                     }};
  for (const openai::Tool& tool : tools->tools) parser.names.push_back(tool.name);
  options.tools = std::move(parser);
  return options;
}

ServeRequest GenerationJob::engine_request(size_t prompt) const {
  const openai::GenerationRequest& wanted = request_.generation;
  const auto& ids = request_.prompts[prompt];
  ServeRequest out{.prompt_ids = ids, .sampling = wanted.sampling};
  out.sampling.seed = wanted.seed ? seed_ : seed_ + prompt * static_cast<size_t>(wanted.n);
  out.n = wanted.n;
  out.min_tokens = wanted.min_tokens;
  const int32_t room = context_.engine.max_context() - static_cast<int32_t>(ids.size());
  out.max_tokens = std::max(1, wanted.max_tokens.value_or(room));
  out.ignore_eos = wanted.ignore_eos;
  out.stop_ids = wanted.stop_ids;
  out.top_logprobs = wanted.top_logprobs;
  out.prompt_logprobs = request_.prompt_logprobs;
  out.priority = wanted.priority;
  out.grammar = request_.grammar;
  return out;
}

openai::QueueSink::Options GenerationJob::sink_options() {
  const std::shared_ptr<Metrics> metrics = context_.metrics.shared_from_this();
  return {.notify = [&wakes = context_.step_wakes, wake = wake_] { wakes.add(wake); },
          .on_usage = [metrics](const RequestUsage& usage) { metrics->observe(usage); },
          .on_inter_token = [metrics](double seconds) { metrics->observe_inter_token(seconds); }};
}

ApiStatus GenerationJob::submit() {
  for (size_t prompt = 0; prompt < runs_.size(); ++prompt) {
    Run& run = runs_[prompt];
    run.sink = std::make_shared<openai::QueueSink>(sink_options());
    const auto id = context_.engine.submit(engine_request(prompt), run.sink);
    if (!id) return std::unexpected(openai::from_submit_error(id.error()));
    run.id = *id;
    run.submitted = true;
  }
  exchange_.on_client_gone([this] {
    client_gone_ = true;
    cancel();
    wake_->notify();
  });
  return {};
}

void GenerationJob::mark_changed(int32_t index) {
  if (is_changed_[static_cast<size_t>(index)]) return;
  is_changed_[static_cast<size_t>(index)] = true;
  changed_.push_back(index);
}

void GenerationJob::fail(openai::ApiError error) {
  if (!failure_) failure_ = std::move(error);
}

void GenerationJob::apply_finish(int32_t index, const FinishInfo& info) {
  openai::Choice& choice = choices_[static_cast<size_t>(index)];
  if (choice.finished()) return;
  if (info.reason == FinishReason::kCancelled) {
    fail({.status = 503,
          .message = "The server is shutting down.",
          .type = "service_unavailable_error",
          .param = {},
          .code = "shutting_down"});
  } else if (info.reason == FinishReason::kError) {
    fail(openai::server_error("The request cannot go on: " + info.message));
  } else {
    choice.finish(info.reason);
    mark_changed(index);
  }
}

void GenerationJob::apply(size_t prompt) {
  Run& run = runs_[prompt];
  if (!run.sink->take(batch_)) return;
  const auto first = static_cast<int32_t>(prompt) * request_.generation.n;
  if (!batch_.prompt.empty()) run.prompt_logprobs = std::move(batch_.prompt);
  for (auto& [number, token] : batch_.tokens) {
    const int32_t index = first + number;
    if (choice(index).finished()) continue;
    if (choice(index).push(std::move(token))) context_.engine.stop_choice(run.id, number);
    mark_changed(index);
  }
  for (const auto& [number, info] : batch_.finishes) apply_finish(first + number, info);
  if (batch_.overrun) {
    fail(openai::server_error("The answer was read too slowly: it has been cut off."));
  }
  if (batch_.done) {
    run.done = true;
    cached_tokens_ += batch_.done->cached_tokens;
  }
}

bool GenerationJob::all_finished() const {
  return std::ranges::all_of(runs_, &Run::done);
}

Awaitable<bool> GenerationJob::next() {
  for (const int32_t index : changed_) is_changed_[static_cast<size_t>(index)] = false;
  changed_.clear();
  while (true) {
    for (size_t prompt = 0; prompt < runs_.size(); ++prompt) {
      if (!runs_[prompt].done) apply(prompt);
    }
    if (failure_ || client_gone_) co_return false;
    if (!changed_.empty()) co_return true;
    if (all_finished()) co_return false;
    co_await wake_->wait();
  }
}

const openai::Usage& GenerationJob::usage() {
  usage_.cached_tokens = cached_tokens_;
  usage_.completion_tokens = 0;
  for (const openai::Choice& choice : choices_) usage_.completion_tokens += choice.num_tokens();
  return usage_;
}

Awaitable<> answer_error(Exchange& exchange, openai::ApiError error) {
  Headers headers;
  if (error.status == 429 || error.status == 503) headers.emplace_back("Retry-After", "1");
  const int status = error.status;
  co_await exchange.respond_error(status,
                                  {.message = std::move(error.message),
                                   .type = std::move(error.type),
                                   .param = std::move(error.param),
                                   .code = std::move(error.code)},
                                  std::move(headers));
}

}  // namespace nereid::server
