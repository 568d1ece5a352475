// POST /v1/chat/completions: a conversation answered, whole or as a stream.
#include <ctime>

#include "src/server/offload.h"
#include "src/server/openai/ids.h"
#include "src/server/openai/parse.h"
#include "src/server/routes/conversation.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

constexpr size_t kLargeChat = 16384;  // parsed by another thread

// {"content": [...], "refusal": null} of the entries so far; empty without any.
std::string wrapped_logprobs(const std::string& entries) {
  if (entries.empty()) return {};
  return R"({"content":[)" + entries + R"(],"refusal":null})";
}

void append_logprobs(std::string& entries, const openai::ChoiceDelta& delta,
                     const openai::ModelText& text) {
  for (const openai::ReportedToken& token : delta.tokens) {
    if (!entries.empty()) entries += ',';
    openai::append_chat_logprob(entries, text.token_bytes(), token.token);
  }
}

Awaitable<> answer_whole(Exchange& exchange, GenerationJob& job, const openai::ModelText& text,
                         const openai::AnswerHead& head) {
  std::vector<openai::WholeChoice> choices(static_cast<size_t>(job.num_choices()));
  while (co_await job.next()) {
    for (const int32_t index : job.changed()) {
      openai::ChoiceDelta& delta = job.choice(index).delta();
      openai::WholeChoice& choice = choices[static_cast<size_t>(index)];
      choice.add(delta);
      append_logprobs(choice.logprobs, delta, text);
      delta.clear();
    }
  }
  if (job.failure()) {
    co_await answer_error(exchange, *job.failure());
  } else if (!exchange.client_gone()) {
    for (openai::WholeChoice& choice : choices) choice.logprobs = wrapped_logprobs(choice.logprobs);
    co_await exchange.respond_json(200, openai::chat_body(head, choices, job.usage()));
  }
}

Awaitable<> answer_stream(Exchange& exchange, GenerationJob& job, const openai::ModelText& text,
                          const openai::AnswerHead& head, bool include_usage) {
  openai::ChunkWriter writer(openai::ChunkWriter::Kind::kChat, head, include_usage);
  exchange.begin_events();
  for (int32_t index = 0; index < job.num_choices(); ++index) {
    exchange.add_event(writer.role(index));
  }
  if (!co_await exchange.flush_events()) co_return;
  while (co_await job.next()) {
    for (const int32_t index : job.changed()) {
      openai::ChoiceDelta& delta = job.choice(index).delta();
      if (!delta.empty()) {
        std::string entries;
        append_logprobs(entries, delta, text);
        exchange.add_event(
            writer.delta(index, delta.text, wrapped_logprobs(entries), delta.finish_reason));
      }
      delta.clear();
    }
    if (!co_await exchange.flush_events()) co_return;
  }
  if (exchange.client_gone()) co_return;
  if (job.failure()) {
    exchange.add_event(openai::error_body(*job.failure()));
  } else {
    if (include_usage) exchange.add_event(writer.usage(job.usage()));
    exchange.add_event("[DONE]");
  }
  co_await exchange.end_events();
}

}  // namespace

Awaitable<> handle_chat_completions(Exchange& exchange, ServerContext& context) {
  openai::ModelText& text = *context.text;
  const size_t size = exchange.body().size();
  const auto parse = [&] { return openai::parse_chat(exchange.body(), text.model()); };
  auto request = size > kLargeChat ? co_await offload(context.workers, parse) : parse();
  if (!request) {
    co_await answer_error(exchange, std::move(request.error()));
    co_return;
  }
  const auto work = [&] { return prepare_chat(*request, "messages", text); };
  auto prepared = is_long_work(*request, size) ? co_await offload(context.workers, work) : work();
  if (!prepared) {
    co_await answer_error(exchange, std::move(prepared.error()));
    co_return;
  }
  const JobRequest wanted = job_request(*request, std::move(*prepared));
  GenerationJob job(exchange, context, wanted);
  if (auto submitted = job.submit(); !submitted) {
    co_await answer_error(exchange, std::move(submitted.error()));
    co_return;
  }
  const openai::AnswerHead head{.id = openai::random_id("chatcmpl-"),
                                .created_unix_s = std::time(nullptr),
                                .model = context.model_name};
  if (request->generation.stream) {
    co_await answer_stream(exchange, job, text, head, request->generation.include_usage);
  } else {
    co_await answer_whole(exchange, job, text, head);
  }
}

}  // namespace nereid::server
