// A server that answers as it is told to, for this folder's tests: it streams so many chunks with
// known pauses, fails, cuts off. On a thread of its own, any free port of 127.0.0.1.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace nereid::loadgen {

struct Behaviour {
  int status = 200;  // else: an error in OpenAI's shape
  int tokens = -1;   // -1: as many as max_tokens says
  std::chrono::milliseconds first_delay{0}, gap{0};
  bool sends_usage = true;
  bool sends_done = true;
  int cut_after = -1;        // tokens, then the connection is closed
  bool error_event = false;  // after the tokens
  bool hangs = false;        // never answers
  bool closes_idle = false;  // says keep-alive, closes all the same
  bool is_stream = true;     // else: plain JSON
};

class TestServer {
 public:
  explicit TestServer(Behaviour behaviour);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  std::string url() const;
  void stop();  // as if the process had ended
  // As they came: "METHOD target" and body.
  std::vector<std::string> targets() const;
  std::vector<std::string> bodies() const;
  int num_connections() const { return num_connections_; }

 private:
  boost::asio::awaitable<void> listen();
  boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
  boost::asio::awaitable<bool> stream(boost::asio::ip::tcp::socket& socket, int tokens,
                                      bool is_chat);

  Behaviour behaviour_;
  std::unique_ptr<boost::asio::io_context> context_;
  std::unique_ptr<boost::asio::ip::tcp::acceptor> acceptor_;
  int port_;
  mutable std::mutex mutex_;
  std::vector<std::string> targets_, bodies_;
  std::atomic<int> num_connections_ = 0;
  std::thread thread_;
};

}  // namespace nereid::loadgen
