// See test_server.h.
#include "src/loadgen/test_server.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

namespace nereid::loadgen {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

std::string chunk(const std::string& payload) {
  const std::string event = "data: " + payload + "\n\n";
  return fmt::format("{:x}\r\n{}\r\n", event.size(), event);
}

std::string token_event(bool is_chat, int at) {
  // Text that looks like keys must not confuse.
  const std::string text = at % 2 == 0 ? " word" : R"( \"usage\": {\"error\": )";
  return is_chat
             ? fmt::format(
                   R"({{"choices":[{{"index":0,"delta":{{"content":"{}"}},"finish_reason":null}}],"usage":null}})",
                   text)
             : fmt::format(R"({{"choices": [{{"index": 0, "text": "{}"}}]}})", text);
}

std::string plain(int status, const std::string& body) {
  return fmt::format(
      "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", status,
      body.size(), body);
}

}  // namespace

TestServer::TestServer(Behaviour behaviour)
    : behaviour_(behaviour),
      context_(std::make_unique<asio::io_context>(1)),
      acceptor_(std::make_unique<tcp::acceptor>(
          *context_, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0))) {
  port_ = acceptor_->local_endpoint().port();
  asio::co_spawn(*context_, listen(), asio::detached);
  thread_ = std::thread([this] { context_->run(); });
}

TestServer::~TestServer() {
  stop();
}

void TestServer::stop() {
  if (!thread_.joinable()) return;
  context_->stop();
  thread_.join();
  acceptor_.reset();
  context_.reset();  // and with it the coroutines and their connections
}

std::string TestServer::url() const {
  return fmt::format("http://127.0.0.1:{}", port_);
}

std::vector<std::string> TestServer::targets() const {
  const std::lock_guard lock(mutex_);
  return targets_;
}

std::vector<std::string> TestServer::bodies() const {
  const std::lock_guard lock(mutex_);
  return bodies_;
}

asio::awaitable<void> TestServer::listen() {
  while (true) {
    auto [failure, socket] = co_await acceptor_->async_accept(kAsTuple);
    if (failure) co_return;
    ++num_connections_;
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(*context_, serve(std::move(socket)), asio::detached);
  }
}

asio::awaitable<void> TestServer::serve(tcp::socket socket) {
  boost::beast::flat_buffer buffer;
  while (true) {
    http::request<http::string_body> request;
    const auto [failure, _] = co_await http::async_read(socket, buffer, request, kAsTuple);
    if (failure) co_return;
    const std::string target(request.target());
    {
      const std::lock_guard lock(mutex_);
      targets_.push_back(std::string(request.method_string()) + " " + target);
      bodies_.push_back(request.body());
    }
    if (behaviour_.hangs) {
      asio::steady_timer forever(*context_, std::chrono::hours(1));
      co_await forever.async_wait(kAsTuple);
      co_return;
    }
    std::string answer;
    if (target.ends_with("/v1/models")) {
      answer = plain(200, R"({"object":"list","data":[{"id":"tiny","object":"model"}]})");
    } else if (behaviour_.status != 200) {
      answer = plain(behaviour_.status, R"({"error":{"message":"told to fail","type":"x"}})");
    } else if (!behaviour_.is_stream) {
      answer = plain(200, R"({"choices":[{"text":"all at once"}]})");
    }
    if (!answer.empty()) {
      const auto [failed, count] =
          co_await asio::async_write(socket, asio::buffer(answer), kAsTuple);
      if (failed) co_return;
      continue;
    }
    const auto body = nlohmann::json::parse(request.body());
    const int tokens =
        behaviour_.tokens >= 0 ? behaviour_.tokens : body.at("max_tokens").get<int>();
    const bool goes_on = co_await stream(socket, tokens, target.ends_with("/chat/completions"));
    if (!goes_on || behaviour_.closes_idle) co_return;
  }
}

asio::awaitable<bool> TestServer::stream(tcp::socket& socket, int tokens, bool is_chat) {
  const auto write = [&socket](std::string bytes) -> asio::awaitable<bool> {
    const auto [failure, _] = co_await asio::async_write(socket, asio::buffer(bytes), kAsTuple);
    co_return !failure;
  };
  asio::steady_timer timer(*context_);
  std::string head =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  if (!co_await write(head)) co_return false;
  auto due = std::chrono::steady_clock::now() + behaviour_.first_delay;
  for (int at = 0; at < tokens; ++at) {
    if (at == behaviour_.cut_after) co_return false;
    timer.expires_at(due);
    co_await timer.async_wait(kAsTuple);
    due += behaviour_.gap;
    if (!co_await write(chunk(token_event(is_chat, at)))) co_return false;
  }
  if (behaviour_.error_event) {
    co_await write(chunk(R"({"error":{"message":"engine fell over"}})"));
  }
  if (behaviour_.sends_usage) {
    co_await write(chunk(fmt::format(
        R"({{"choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":{},"total_tokens":9}}}})",
        tokens)));
  }
  if (behaviour_.sends_done) co_await write(chunk("[DONE]"));
  co_return co_await write("0\r\n\r\n");
}

}  // namespace nereid::loadgen
