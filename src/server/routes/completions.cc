// POST /v1/completions: prompts continued, whole or as a stream.
#include <ctime>

#include "src/server/offload.h"
#include "src/server/openai/ids.h"
#include "src/server/openai/json_text.h"
#include "src/server/openai/parse.h"
#include "src/server/routes/generation_job.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

using openai::ApiResult;
using openai::CompletionRequest;

// Bodies larger than this are worked on by another thread.
constexpr size_t kLargeCompletion = 2048;

struct Prepared {
  CompletionRequest request;
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> echoes;  // of each prompt; empty without echo
  std::shared_ptr<const text::Grammar> grammar;
};

ApiResult<Prepared> prepare(const std::string& body, openai::ModelText& text) {
  API_TRY(CompletionRequest request, openai::parse_completion(body, text.model()));
  Prepared out{.request = std::move(request)};
  API_TRY(const auto tokenizer, text.tokenizer());
  for (const openai::Prompt& prompt : out.request.prompts) {
    API_TRY(auto ids, text.encode_prompt(prompt, out.request.generation.max_tokens));
    if (out.request.echo) {
      const auto* given = std::get_if<std::string>(&prompt);
      out.echoes.push_back(given ? *given : tokenizer->decode(ids, true).value_or(""));
    }
    out.prompts.push_back(std::move(ids));
  }
  API_TRY(out.grammar, text.compile(out.request.generation, nullptr));
  return out;
}

// Grammars take long, whatever the size of the body.
bool is_long_work(const std::string& body) {
  return body.size() > kLargeCompletion || body.contains("guided_") ||
         body.contains("response_format") || body.contains("structured_outputs");
}

// What completions add to the choices' deltas: the prompt, with echo, and log-probabilities in
// their own shape.
class CompletionAnswer {
 public:
  CompletionAnswer(GenerationJob& job, const Prepared& prepared, const openai::ModelText& text)
      : job_(job),
        prepared_(prepared),
        text_(text),
        logprobs_(static_cast<size_t>(job.num_choices()),
                  openai::CompletionLogprobs(text.token_bytes())),
        begun_(logprobs_.size()) {}

  // The delta of a choice, complete; its log-probabilities have gone to logprobs(index).
  openai::ChoiceDelta& delta(int32_t index) {
    openai::ChoiceDelta& delta = job_.choice(index).delta();
    if (only_prompt()) {
      delta.text.content.clear();
      delta.tokens.clear();
      if (!delta.finish_reason.empty()) delta.finish_reason = "length";
    }
    const bool first = !begun_[static_cast<size_t>(index)];
    begun_[static_cast<size_t>(index)] = true;
    if (prepared_.request.echo && first) add_echo(index, delta);
    add_logprobs(index, delta);
    return delta;
  }
  openai::CompletionLogprobs& logprobs(int32_t index) {
    return logprobs_[static_cast<size_t>(index)];
  }
  openai::Usage usage() {
    openai::Usage usage = job_.usage();
    if (only_prompt()) usage.completion_tokens = 0;
    return usage;
  }

 private:
  // max_tokens of 0: the engine draws a token, which is not shown.
  bool only_prompt() const { return prepared_.request.generation.max_tokens == 0; }

  void add_echo(int32_t index, openai::ChoiceDelta& delta) {
    const auto prompt = static_cast<size_t>(index / prepared_.request.generation.n);
    delta.text.content.insert(0, prepared_.echoes[prompt]);
    size_t offset = 0;
    for (const OutputToken& token : job_.prompt_logprobs(prompt)) {
      logprobs(index).add(token, offset);
      offset += openai::count_characters(text_.token_bytes().of(token.id));
    }
  }

  void add_logprobs(int32_t index, const openai::ChoiceDelta& delta) {
    if (delta.tokens.empty()) return;
    const auto prompt = static_cast<size_t>(index / prepared_.request.generation.n);
    const size_t before =
        prepared_.request.echo ? openai::count_characters(prepared_.echoes[prompt]) : 0;
    for (const openai::ReportedToken& token : delta.tokens) {
      logprobs(index).add(token.token, before + token.text_characters);
    }
  }

  GenerationJob& job_;
  const Prepared& prepared_;
  const openai::ModelText& text_;
  std::vector<openai::CompletionLogprobs> logprobs_;
  std::vector<bool> begun_;
};

Awaitable<> answer_whole(Exchange& exchange, GenerationJob& job, CompletionAnswer& answer,
                         const openai::AnswerHead& head) {
  std::vector<openai::WholeChoice> choices(static_cast<size_t>(job.num_choices()));
  while (co_await job.next()) {
    for (const int32_t index : job.changed()) {
      openai::ChoiceDelta& delta = answer.delta(index);
      choices[static_cast<size_t>(index)].add(delta);
      delta.clear();
    }
  }
  if (job.failure()) {
    co_await answer_error(exchange, *job.failure());
  } else if (!exchange.client_gone()) {
    for (int32_t index = 0; index < job.num_choices(); ++index) {
      choices[static_cast<size_t>(index)].logprobs = answer.logprobs(index).json();
    }
    co_await exchange.respond_json(200, openai::completion_body(head, choices, answer.usage()));
  }
}

Awaitable<> answer_stream(Exchange& exchange, GenerationJob& job, CompletionAnswer& answer,
                          const openai::AnswerHead& head, bool include_usage) {
  openai::ChunkWriter writer(openai::ChunkWriter::Kind::kCompletion, head, include_usage);
  exchange.begin_events();
  if (!co_await exchange.flush_events()) co_return;
  while (co_await job.next()) {
    for (const int32_t index : job.changed()) {
      openai::ChoiceDelta& delta = answer.delta(index);
      if (!delta.empty()) {
        exchange.add_event(
            writer.delta(index, delta.text, answer.logprobs(index).json(), delta.finish_reason));
        answer.logprobs(index).clear();
      }
      delta.clear();
    }
    if (!co_await exchange.flush_events()) co_return;
  }
  if (exchange.client_gone()) co_return;
  if (job.failure()) {
    exchange.add_event(openai::error_body(*job.failure()));
  } else {
    if (include_usage) exchange.add_event(writer.usage(answer.usage()));
    exchange.add_event("[DONE]");
  }
  co_await exchange.end_events();
}

}  // namespace

Awaitable<> handle_completions(Exchange& exchange, ServerContext& context) {
  openai::ModelText& text = *context.text;
  const auto work = [&] { return prepare(exchange.body(), text); };
  auto prepared = is_long_work(exchange.body()) ? co_await offload(context.workers, work) : work();
  if (!prepared) {
    co_await answer_error(exchange, std::move(prepared.error()));
    co_return;
  }
  const CompletionRequest& request = prepared->request;
  const JobRequest job_request{
      .generation = request.generation,
      .prompts = std::move(prepared->prompts),
      .grammar = prepared->grammar,
      .prompt_logprobs = request.echo && request.generation.top_logprobs >= 0};
  GenerationJob job(exchange, context, job_request);
  if (auto submitted = job.submit(); !submitted) {
    co_await answer_error(exchange, std::move(submitted.error()));
    co_return;
  }
  const openai::AnswerHead head{.id = openai::random_id("cmpl-"),
                                .created_unix_s = std::time(nullptr),
                                .model = context.model_name};
  CompletionAnswer answer(job, *prepared, text);
  if (request.generation.stream) {
    co_await answer_stream(exchange, job, answer, head, request.generation.include_usage);
  } else {
    co_await answer_whole(exchange, job, answer, head);
  }
}

}  // namespace nereid::server
