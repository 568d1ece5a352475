// See server.h.
#include "src/server/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "src/base/log.h"
#include "src/server/connection.h"
#include "src/server/metrics.h"
#include "src/server/step_wakes.h"
#include "src/server/tls.h"

namespace nereid::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr int kWorkerThreads = 1;
// How long the end waits for connections that have been told to close.
constexpr std::chrono::seconds kStopLimit{5};

Result<tcp::endpoint> resolve(const std::string& host, uint16_t port) {
  boost::system::error_code failure;
  const auto address = asio::ip::make_address(host, failure);
  if (!failure) return tcp::endpoint(address, port);
  asio::io_context context;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, std::to_string(port), failure);
  if (failure || found.empty()) return error("--host {}: {}", host, failure.message());
  return found.begin()->endpoint();
}

Status listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  boost::system::error_code failure;
  std::ignore = acceptor.open(endpoint.protocol(), failure);
  if (!failure) std::ignore = acceptor.set_option(asio::socket_base::reuse_address(true), failure);
  if (!failure) std::ignore = acceptor.bind(endpoint, failure);
  if (!failure) std::ignore = acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) {
    return error("{}:{}: cannot listen there: {}", endpoint.address().to_string(), endpoint.port(),
                 failure.message());
  }
  return {};
}

}  // namespace

struct Server::State {
  State(ServingEngine& engine, const ServerSetup& setup, const tcp::endpoint& wanted,
        std::unique_ptr<asio::ssl::context> tls_context)
      : metrics(std::make_shared<Metrics>(engine, setup.model_name)),
        tls(std::move(tls_context)),
        workers(kWorkerThreads),
        context{.engine = engine,
                .options = setup.options,
                .model_name = setup.model_name,
                .version = setup.version,
                .started_unix_s = std::time(nullptr),
                .tokenizer = engine.tokenizer(),
                .chat_template = engine.chat_template(),
                .metrics = *metrics,
                .workers = workers,
                .step_wakes = step_wakes},
        shared{.context = context,
               .access = Access(setup.options),
               .site_guard = SiteGuard(setup.options, wanted.address().is_loopback()),
               .routes = setup.routes},
        io(setup.options.http_threads),
        step_wakes(io.get_executor()),
        acceptor(asio::make_strand(io)) {}

  asio::any_io_executor new_executor();
  Awaitable<> accept_loop();
  Awaitable<> serve(std::shared_ptr<Link> link, uint64_t id);
  Awaitable<> turn_away(tcp::socket socket);
  void add(uint64_t id, const std::shared_ptr<Link>& link);

  std::shared_ptr<Metrics> metrics;
  std::unique_ptr<asio::ssl::context> tls;
  asio::thread_pool workers;
  ServerContext context;
  ConnectionShared shared;
  asio::io_context io;
  StepWakes step_wakes;
  tcp::acceptor acceptor;
  tcp::endpoint endpoint;
  std::vector<std::thread> threads;
  std::mutex mutex;  // guards what follows
  std::condition_variable closed;
  std::unordered_map<uint64_t, std::weak_ptr<Link>> links;
  bool stopping = false;
};

asio::any_io_executor Server::State::new_executor() {
  if (context.options.http_threads == 1) return io.get_executor();
  return asio::make_strand(io);
}

Awaitable<> Server::State::accept_loop() {
  uint64_t next_id = 0;
  while (acceptor.is_open()) {
    const asio::any_io_executor executor = new_executor();
    auto [failure, socket] = co_await acceptor.async_accept(executor, kAsTuple);
    if (!acceptor.is_open()) break;
    if (failure) {  // out of descriptors, or the client has gone already
      asio::steady_timer pause(co_await asio::this_coro::executor, std::chrono::milliseconds(50));
      co_await pause.async_wait(kAsTuple);
      continue;
    }
    size_t open = 0;
    {
      const std::lock_guard lock(mutex);
      open = links.size();
    }
    if (std::cmp_greater_equal(open, context.options.max_connections)) {
      asio::co_spawn(executor, turn_away(std::move(socket)), asio::detached);
      continue;
    }
    auto link = std::make_shared<Link>(make_stream(std::move(socket), tls.get()), executor,
                                       context.options.write_timeout);
    const uint64_t id = next_id++;
    add(id, link);
    asio::co_spawn(executor, serve(std::move(link), id), asio::detached);
  }
}

void Server::State::add(uint64_t id, const std::shared_ptr<Link>& link) {
  const std::lock_guard lock(mutex);
  links.emplace(id, link);
}

Awaitable<> Server::State::serve(std::shared_ptr<Link> link, uint64_t id) {
  try {
    Connection connection(link, shared);
    co_await connection.run();
  } catch (const std::exception& thrown) {  // no memory
    log_error("connection of {}: {}", link->peer(), thrown.what());
  }
  link->close();
  const std::lock_guard lock(mutex);
  links.erase(id);
  closed.notify_all();
}

// One small answer that fits into the socket's buffer; TLS clients only see the connection close.
Awaitable<> Server::State::turn_away(tcp::socket socket) {
  if (tls == nullptr) {
    const std::string body = error_body(503, {.message = "too many connections"});
    const std::string answer = fmt::format(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{}",
        body.size(), body);
    boost::system::error_code ignored;
    std::ignore = socket.non_blocking(true, ignored);
    std::ignore = socket.write_some(asio::buffer(answer), ignored);
    std::ignore = socket.shutdown(tcp::socket::shutdown_send, ignored);
  }
  co_return;
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  stop();
}

Result<std::unique_ptr<Server>> Server::start(ServingEngine& engine, const ServerSetup& setup) {
  NEREID_TRY(auto tls, make_tls_context(setup.options.tls_cert, setup.options.tls_key));
  NEREID_TRY(const tcp::endpoint wanted, resolve(setup.options.host, setup.options.port));
  auto state = std::make_unique<State>(engine, setup, wanted, std::move(tls));
  const ServerOptions& options = state->context.options;
  NEREID_RETURN_IF_ERROR(listen(state->acceptor, wanted));
  state->endpoint = state->acceptor.local_endpoint();
  asio::co_spawn(state->acceptor.get_executor(), state->accept_loop(), asio::detached);
  engine.set_delivery_listener([wakes = &state->step_wakes] { wakes->flush(); });
  for (int thread = 0; thread < options.http_threads; ++thread) {
    state->threads.emplace_back([&io = state->io] { io.run(); });
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

uint16_t Server::port() const {
  return state_->endpoint.port();
}

std::string Server::url() const {
  const auto address = state_->endpoint.address();
  return fmt::format(
      "{}://{}:{}", state_->tls == nullptr ? "http" : "https",
      address.is_v6() ? fmt::format("[{}]", address.to_string()) : address.to_string(), port());
}

int32_t Server::num_connections() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int32_t>(state_->links.size());
}

ServerContext& Server::context() {
  return state_->context;
}

void Server::begin_drain() {
  if (state_->context.draining.exchange(true)) return;
  asio::post(state_->acceptor.get_executor(), [state = state_.get()] {
    boost::system::error_code ignored;
    std::ignore = state->acceptor.close(ignored);
  });
}

bool Server::wait_idle(ServeClock::time_point deadline) {
  while (state_->shared.active_requests > 0) {
    if (ServeClock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

void Server::stop() {
  begin_drain();
  {
    std::unique_lock lock(state_->mutex);
    if (std::exchange(state_->stopping, true)) return;
    for (const auto& [id, weak] : state_->links) {
      if (const auto link = weak.lock()) asio::post(link->executor(), [link] { link->close(); });
    }
    const bool all =
        state_->closed.wait_for(lock, kStopLimit, [&] { return state_->links.empty(); });
    if (!all) log_warn("{} connections did not end", state_->links.size());
  }
  state_->context.engine.set_delivery_listener(nullptr);
  state_->workers.join();
  state_->io.stop();
  for (std::thread& thread : state_->threads) thread.join();
}

}  // namespace nereid::server
