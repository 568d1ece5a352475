// One streaming request to the server under load, with its times. All of it runs on one thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/loadgen/url.h"
#include "src/loadgen/workload.h"

namespace nereid::loadgen {

using Clock = std::chrono::steady_clock;

struct RequestRecord {
  Clock::time_point start{}, first_token{}, end{};  // first_token: as start when there was none
  std::vector<float> gaps_s;                        // between chunks with text, from the second on
  int32_t num_chunks = 0;                           // with text
  int32_t prompt_tokens = -1;
  int32_t output_tokens = -1;  // what the server says; -1: it does not
  int32_t planned_tokens = 0;
  int status = 0;       // of HTTP, 0: no answer
  std::string failure;  // "": fine; a few words that are the same for equal failures
  std::string detail;   // of the failure, for the reader
  bool cannot_connect = false;

  int32_t tokens() const { return output_tokens >= 0 ? output_tokens : num_chunks; }
};

struct ClientOptions {
  Url url;
  std::string api_key;
  std::chrono::milliseconds timeout{600'000};  // without a byte from the server
};

class Client {
 public:
  Client(boost::asio::io_context& context, ClientOptions options);
  ~Client();

  Status resolve();  // blocking; before the first request
  boost::asio::awaitable<RequestRecord> stream(Endpoint endpoint, const PlannedRequest& request);
  // GET; the body, or an error that says what came instead.
  boost::asio::awaitable<Result<std::string>> get(std::string_view path);
  // Ends requests that have heard nothing for the timeout. To be called now and then.
  void expire();
  // Ends all requests.
  void cancel_all();

 private:
  struct Connection;
  class Lease;
  struct Exchange;

  boost::asio::awaitable<boost::system::error_code> open(Connection& connection);
  boost::asio::awaitable<void> exchange(Connection& connection, Exchange& exchange);

  boost::asio::io_context& context_;
  ClientOptions options_;
  std::vector<boost::asio::ip::tcp::endpoint> endpoints_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::list<Connection*> busy_;
};

}  // namespace nereid::loadgen
