// POST /v1/responses: a conversation answered in the shape of OpenAI's newer API. Nothing is
// stored.
#include <ctime>

#include "src/server/offload.h"
#include "src/server/openai/ids.h"
#include "src/server/openai/parse.h"
#include "src/server/openai/response_output.h"
#include "src/server/routes/conversation.h"
#include "src/server/routes/handlers.h"

namespace nereid::server {
namespace {

constexpr size_t kLargeResponse = 16384;  // parsed by another thread

Awaitable<> answer(Exchange& exchange, GenerationJob& job, openai::ResponseOutput& output,
                   bool stream) {
  if (stream) {
    exchange.begin_events();
    output.start();
    if (!co_await exchange.flush_events()) co_return;
  }
  openai::Choice& choice = job.choice(0);
  std::string finish_reason;
  while (co_await job.next()) {
    output.add(choice.delta());
    if (!choice.delta().finish_reason.empty()) finish_reason = choice.delta().finish_reason;
    choice.delta().clear();
    if (stream && !co_await exchange.flush_events()) co_return;
  }
  if (exchange.client_gone()) co_return;
  if (job.failure() && !stream) {
    co_await answer_error(exchange, *job.failure());
    co_return;
  }
  if (job.failure()) {
    output.fail("server_error", job.failure()->message);
  } else {
    output.finish(finish_reason, job.usage());
  }
  if (stream) {
    co_await exchange.end_events();
  } else {
    co_await exchange.respond_json(200, output.body());
  }
}

}  // namespace

Awaitable<> handle_responses(Exchange& exchange, ServerContext& context) {
  openai::ModelText& text = *context.text;
  const size_t size = exchange.body().size();
  const auto parse = [&] { return openai::parse_response(exchange.body(), text.model()); };
  auto request = size > kLargeResponse ? co_await offload(context.workers, parse) : parse();
  if (!request) {
    co_await answer_error(exchange, std::move(request.error()));
    co_return;
  }
  const openai::ChatRequest& chat = request->chat;
  const auto work = [&] { return prepare_chat(chat, "input", text); };
  auto prepared = is_long_work(chat, size) ? co_await offload(context.workers, work) : work();
  if (!prepared) {
    openai::ApiError& error = prepared.error();
    if (error.param == "max_tokens") error.param = "max_output_tokens";
    co_await answer_error(exchange, std::move(error));
    co_return;
  }
  const JobRequest wanted = job_request(chat, std::move(*prepared));
  GenerationJob job(exchange, context, wanted);
  if (auto submitted = job.submit(); !submitted) {
    co_await answer_error(exchange, std::move(submitted.error()));
    co_return;
  }
  openai::ResponseOutput::EmitEvent emit;
  if (chat.generation.stream) {
    emit = [&exchange](std::string_view name, const std::string& data) {
      exchange.add_event(data, name);
    };
  }
  openai::ResponseOutput output({.id = openai::random_id("resp_"),
                                 .created_unix_s = std::time(nullptr),
                                 .model = context.model_name},
                                std::move(request->echoed), std::move(emit));
  co_await answer(exchange, job, output, chat.generation.stream);
}

}  // namespace nereid::server
