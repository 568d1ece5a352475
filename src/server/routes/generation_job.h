// What the three OpenAI routes do with the engine: submit a request's prompts, turn tokens into
// text as they come, and never leave anything running behind.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "src/server/context.h"
#include "src/server/exchange.h"
#include "src/server/openai/choice.h"
#include "src/server/openai/output.h"
#include "src/server/openai/request.h"
#include "src/server/openai/request_sink.h"
#include "src/server/wake.h"

namespace nereid::server {

struct JobRequest {
  const openai::GenerationRequest& generation;
  std::vector<std::vector<int32_t>> prompts;  // ids; each has generation.n choices
  std::shared_ptr<const text::Grammar> grammar;
  const openai::ToolRequest* tools = nullptr;
  bool prompt_logprobs = false;
};

// Lives in the handler's coroutine and is used there only. What is still running when it goes away
// is cancelled.
class GenerationJob {
 public:
  // All three outlive it.
  GenerationJob(Exchange& exchange, ServerContext& context, const JobRequest& request);
  ~GenerationJob();
  GenerationJob(const GenerationJob&) = delete;
  GenerationJob& operator=(const GenerationJob&) = delete;

  // Gives all prompts to the engine, or none.
  openai::ApiStatus submit();

  // Waits for the next tokens and puts them into the choices' deltas; the caller clears a delta
  // when it has used it. False: nothing more comes: all is done, or failure() says why not.
  Awaitable<bool> next();
  std::span<const int32_t> changed() const { return changed_; }  // choices, by the last next()

  // Choice c of prompt p is p * n + c.
  openai::Choice& choice(int32_t index) { return choices_[static_cast<size_t>(index)]; }
  int32_t num_choices() const { return static_cast<int32_t>(choices_.size()); }
  // With prompt_logprobs; before the prompt's first token comes.
  const std::vector<OutputToken>& prompt_logprobs(size_t prompt) const {
    return runs_[prompt].prompt_logprobs;
  }
  const openai::Usage& usage();  // so far; exact once next() was false
  const std::optional<openai::ApiError>& failure() const { return failure_; }

 private:
  struct Run {  // one prompt in the engine
    std::shared_ptr<openai::QueueSink> sink;
    RequestId id = 0;
    bool submitted = false, done = false;
    std::vector<OutputToken> prompt_logprobs;
  };

  openai::ChoiceOptions choice_options() const;
  ServeRequest engine_request(size_t prompt) const;
  openai::QueueSink::Options sink_options();
  void apply(size_t prompt);
  void apply_finish(int32_t index, const FinishInfo& info);
  void mark_changed(int32_t index);
  void fail(openai::ApiError error);
  void cancel();
  bool all_finished() const;

  Exchange& exchange_;
  ServerContext& context_;
  const JobRequest& request_;
  std::shared_ptr<Wake> wake_;
  uint64_t seed_;
  std::vector<Run> runs_;
  std::vector<openai::Choice> choices_;
  std::vector<int32_t> changed_;
  std::vector<bool> is_changed_;
  openai::TokenBatch batch_;
  openai::Usage usage_;
  int64_t cached_tokens_ = 0;
  std::optional<openai::ApiError> failure_;
  bool client_gone_ = false;
};

// The answer for an ApiError: its status and body, Retry-After where trying again helps.
Awaitable<> answer_error(Exchange& exchange, openai::ApiError error);

}  // namespace nereid::server
