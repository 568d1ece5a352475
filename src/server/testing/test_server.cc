// See test_server.h.
#include "src/server/testing/test_server.h"

#include <array>
#include <stdexcept>
#include <thread>

#include "src/base/check.h"
#include "src/server/context.h"
#include "src/server/openai/request_sink.h"
#include "src/server/step_wakes.h"

namespace nereid::server {
namespace {

// A sink that wakes the handler as those of the real routes do, and lets go of it at the end.
class Reader {
 public:
  Reader(Exchange& exchange, ServerContext& context)
      : wake_(std::make_shared<Wake>(exchange.executor())),
        sink_(std::make_shared<openai::QueueSink>(openai::QueueSink::Options{
            .notify = [&wakes = context.step_wakes, wake = wake_] { wakes.add(wake); }})) {}
  ~Reader() { sink_->detach(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Wake& wake() { return *wake_; }
  const std::shared_ptr<openai::QueueSink>& sink() { return sink_; }

 private:
  std::shared_ptr<Wake> wake_;
  std::shared_ptr<openai::QueueSink> sink_;
};

Awaitable<> echo(Exchange& exchange, ServerContext&) {
  co_await exchange.respond_json(200, exchange.body());
}

Awaitable<> generate(Exchange& exchange, ServerContext& context) {
  const std::string& prompt = exchange.body();
  Reader reader(exchange, context);
  const auto id = context.engine.submit(
      {.prompt_ids = {prompt.begin(), prompt.end()}, .max_tokens = 200, .ignore_eos = true},
      reader.sink());
  if (!id) {
    co_await exchange.respond_error(400, {.message = id.error().message});
    co_return;
  }
  exchange.on_client_gone([&context, id = *id] { context.engine.cancel(id); });
  exchange.begin_events();
  openai::TokenBatch batch;
  while (!batch.done) {
    co_await reader.wake().wait();
    reader.sink()->take(batch);
    for (const openai::ChoiceToken& entry : batch.tokens) {
      const char letter = static_cast<char>(entry.token.id);
      exchange.add_event(std::string_view(&letter, 1));
    }
    co_await exchange.flush_events();
  }
  co_await exchange.end_events();
}

Awaitable<> flood(Exchange& exchange, ServerContext&) {
  const std::string data(16 * 1024, 'x');
  exchange.begin_events();
  while (co_await exchange.send_event(data)) {
  }
}

Awaitable<> nothing(Exchange&, ServerContext&) {
  co_return;
}

Awaitable<> throws(Exchange&, ServerContext&) {
  throw std::runtime_error("thrown by a handler");
  co_return;
}

Awaitable<> broken_off(Exchange& exchange, ServerContext&) {
  exchange.begin_events();
  co_await exchange.send_event("first");
}

constexpr std::array kTestRoutes = {
    Route{.method = "POST", .path = "/echo", .handler = echo},
    Route{.method = "POST", .path = "/generate", .handler = generate},
    Route{.method = "GET", .path = "/flood", .handler = flood},
    Route{.method = "GET", .path = "/nothing", .handler = nothing},
    Route{.method = "GET", .path = "/throws", .handler = throws},
    Route{.method = "GET", .path = "/broken-off", .handler = broken_off},
};

}  // namespace

std::span<const Route> test_routes() {
  static const std::vector<Route> all = [] {
    std::vector<Route> table(kTestRoutes.begin(), kTestRoutes.end());
    table.insert(table.end(), routes().begin(), routes().end());
    return table;
  }();
  return all;
}

TestServer::TestServer(TestServerOptions options) : engine_(options.engine) {
  options.server.host = "127.0.0.1";
  options.server.port = 0;
  auto server = Server::start(engine_, {.options = options.server,
                                        .model_name = "fake",
                                        .version = "1.2.3",
                                        .routes = options.routes});
  NEREID_CHECK(server.has_value(), "{}", server.error().message);
  server_ = std::move(*server);
}

bool TestServer::wait_connections(int32_t count) {
  for (int attempt = 0; attempt < 500; ++attempt) {
    if (server_->num_connections() == count) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace nereid::server
