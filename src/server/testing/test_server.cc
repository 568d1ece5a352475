// See test_server.h.
#include "src/server/testing/test_server.h"

#include <array>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "src/base/check.h"
#include "src/server/context.h"
#include "src/server/wake.h"

namespace nereid::server {
namespace {

// Collects a request's tokens as text.
class TextSink : public RequestSink {
 public:
  explicit TextSink(const boost::asio::any_io_executor& executor) : wake_(executor) {}

  void on_prompt(std::span<const OutputToken>) override {}
  void on_token(int32_t, const OutputToken& token) override {
    const std::lock_guard lock(mutex_);
    text_ += static_cast<char>(token.id);
  }
  void on_finish(int32_t, const FinishInfo&) override {}
  void on_done(const RequestUsage&) override {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  void on_step_end() override { wake_.notify(); }

  Wake& wake() { return wake_; }
  std::pair<std::string, bool> take() {
    const std::lock_guard lock(mutex_);
    return {std::exchange(text_, {}), done_};
  }

 private:
  Wake wake_;
  std::mutex mutex_;
  std::string text_;
  bool done_ = false;
};

Awaitable<> echo(Exchange& exchange, ServerContext&) {
  co_await exchange.respond_json(200, exchange.body());
}

Awaitable<> generate(Exchange& exchange, ServerContext& context) {
  const std::string& prompt = exchange.body();
  const auto sink = std::make_shared<TextSink>(exchange.executor());
  const auto id = context.engine.submit(
      {.prompt_ids = {prompt.begin(), prompt.end()}, .max_tokens = 200, .ignore_eos = true}, sink);
  if (!id) {
    co_await exchange.respond_error(400, {.message = id.error().message});
    co_return;
  }
  exchange.on_client_gone([&context, id = *id] { context.engine.cancel(id); });
  exchange.begin_events();
  bool done = false;
  while (!done) {
    co_await sink->wake().wait();
    std::string text;
    std::tie(text, done) = sink->take();
    for (const char letter : text) exchange.add_event(std::string_view(&letter, 1));
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
