// See client.h.
#include "src/loadgen/client.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <tuple>

#include "src/base/json.h"
#include "src/loadgen/event_reader.h"

namespace nereid::loadgen {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr size_t kMaxErrorBody = 64 << 10;

float seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<float>(end - start).count();
}

// {"error": {"message": "..."}} or the text itself.
std::string message_of(const std::string& body) {
  const auto json = parse_json(body);
  if (json && json->is_object() && json->contains("error")) {
    const nlohmann::json& inner = (*json)["error"];
    if (inner.is_string()) return printable(inner.get<std::string>(), 200);
    if (inner.is_object() && inner.contains("message") && inner["message"].is_string()) {
      return printable(inner["message"].get<std::string>(), 200);
    }
  }
  return printable(body, 200);
}

}  // namespace

struct Client::Connection {
  explicit Connection(asio::io_context& context) : socket(context) {}
  asio::ip::tcp::socket socket;
  beast::flat_buffer buffer;
  Clock::time_point last_heard;
  bool is_used = false;  // has served a request: the server may have closed it since
  bool has_expired = false;
  bool was_cancelled = false;
};

// Takes an idle connection, or makes one; gives it back if it can be used again.
class Client::Lease {
 public:
  Lease(Client& client, bool fresh) : client_(client) {
    if (!fresh && !client.idle_.empty()) {
      connection_ = std::move(client.idle_.back());
      client.idle_.pop_back();
    } else {
      connection_ = std::make_unique<Connection>(client.context_);
    }
    connection_->last_heard = Clock::now();
    place_ = client.busy_.insert(client.busy_.end(), connection_.get());
  }
  ~Lease() {
    client_.busy_.erase(place_);
    if (keep) {
      connection_->is_used = true;
      client_.idle_.push_back(std::move(connection_));
    }
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Connection& connection() { return *connection_; }

  bool keep = false;

 private:
  Client& client_;
  std::unique_ptr<Connection> connection_;
  std::list<Connection*>::iterator place_;
};

// A request and what came back. Only one of `record` (a stream) and `body` is filled.
struct Client::Exchange {
  http::request<http::string_body> request;
  RequestRecord* record = nullptr;
  std::string body;
  int status = 0;
  bool has_answer = false;  // a byte of it
  bool is_done = false;     // "[DONE]" came
  bool keep_alive = false;
  error_code failure;
  std::string problem;  // of the stream itself

  void take(std::string_view bytes, EventReader& reader) {
    if (record == nullptr || status != 200) {
      if (body.size() < kMaxErrorBody) body += bytes;
      return;
    }
    const Clock::time_point now = Clock::now();
    const bool fits = reader.push(bytes, [&](std::string_view payload) { event(payload, now); });
    if (!fits) problem = "a line of the stream is too long";
  }

  void event(std::string_view payload, Clock::time_point now) {
    const StreamEvent event = inspect_event(payload);
    is_done = is_done || event.is_done;
    if (event.is_error) {
      problem = "error in the stream";
      record->detail = message_of(std::string(payload));
    }
    if (event.usage) {
      record->prompt_tokens = event.usage->prompt_tokens;
      record->output_tokens = event.usage->completion_tokens;
    }
    if (!event.has_text) return;
    if (record->num_chunks++ == 0) {
      record->first_token = now;
    } else {
      record->gaps_s.push_back(seconds_between(last_text, now));
    }
    last_text = now;
  }
  Clock::time_point last_text{};
};

Client::Client(asio::io_context& context, ClientOptions options)
    : context_(context), options_(std::move(options)) {}

Client::~Client() = default;

Status Client::resolve() {
  asio::ip::tcp::resolver resolver(context_);
  error_code failure;
  const auto found = resolver.resolve(options_.url.host, options_.url.port, failure);
  if (failure) return error("{}: {}", options_.url.host, failure.message());
  for (const auto& entry : found) endpoints_.push_back(entry.endpoint());
  return {};
}

asio::awaitable<error_code> Client::open(Connection& connection) {
  auto [failure, _] = co_await asio::async_connect(connection.socket, endpoints_, kAsTuple);
  if (!failure) {
    error_code ignored;
    std::ignore = connection.socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  }
  co_return failure;
}

asio::awaitable<void> Client::exchange(Connection& connection, Exchange& exchange) {
  const auto [write_failure, written] =
      co_await http::async_write(connection.socket, exchange.request, kAsTuple);
  // A server may answer, with an error, before it has read all: the answer is what counts.
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  const auto [head_failure, _] =
      co_await http::async_read_header(connection.socket, connection.buffer, parser, kAsTuple);
  if (head_failure) {
    exchange.failure = write_failure ? write_failure : head_failure;
    co_return;
  }
  exchange.has_answer = true;
  exchange.status = static_cast<int>(parser.get().result_int());
  EventReader reader;
  std::array<char, 16 << 10> bytes;
  while (!parser.is_done() && exchange.problem.empty()) {
    connection.last_heard = Clock::now();
    parser.get().body().data = bytes.data();
    parser.get().body().size = bytes.size();
    auto [failure, count] =
        co_await http::async_read_some(connection.socket, connection.buffer, parser, kAsTuple);
    const size_t filled = bytes.size() - parser.get().body().size;
    exchange.take({bytes.data(), filled}, reader);
    if (failure && failure != http::error::need_buffer) {
      exchange.failure = failure;
      co_return;
    }
  }
  exchange.keep_alive = parser.is_done() && parser.get().keep_alive();
}

asio::awaitable<RequestRecord> Client::stream(Endpoint endpoint, const PlannedRequest& planned) {
  RequestRecord record;
  record.planned_tokens = planned.output_len;
  record.start = record.first_token = Clock::now();
  for (bool is_retry = false;; is_retry = true) {
    Lease lease(*this, is_retry);
    Connection& connection = lease.connection();
    if (!connection.is_used) {
      if (const error_code failure = co_await open(connection); failure) {
        record.failure = connection.has_expired ? "timeout" : failure.message();
        record.cannot_connect = !connection.was_cancelled;
        break;
      }
    }
    Exchange exchange;
    exchange.record = &record;
    exchange.request = {http::verb::post, options_.url.prefix + std::string(path_of(endpoint)), 11};
    exchange.request.set(http::field::host, options_.url.authority());
    exchange.request.set(http::field::content_type, "application/json");
    exchange.request.set(http::field::accept, "text/event-stream");
    if (!options_.api_key.empty()) {
      exchange.request.set(http::field::authorization, "Bearer " + options_.api_key);
    }
    exchange.request.body() = planned.body;
    exchange.request.prepare_payload();
    co_await this->exchange(connection, exchange);
    // A server may close an idle connection at any time: that is not a failure of it.
    const bool was_stale = connection.is_used && exchange.failure && !exchange.has_answer;
    if (was_stale && !connection.has_expired && !connection.was_cancelled) continue;
    record.status = exchange.status;
    lease.keep = exchange.keep_alive && exchange.problem.empty();
    if (exchange.failure) {
      record.failure = connection.has_expired ? "timeout"
                       : exchange.has_answer  ? "stream cut off"
                                              : exchange.failure.message();
      if (exchange.has_answer) record.detail = exchange.failure.message();
    } else if (exchange.status != 200) {
      record.failure = fmt::format("HTTP {}", exchange.status);
      record.detail = message_of(exchange.body);
    } else if (!exchange.problem.empty()) {
      record.failure = exchange.problem;
    } else if (record.num_chunks == 0 && !exchange.is_done) {
      record.failure = "not an event stream";
    }
    break;
  }
  record.end = Clock::now();
  co_return record;
}

asio::awaitable<Result<std::string>> Client::get(std::string_view path) {
  Lease lease(*this, true);
  Connection& connection = lease.connection();
  if (const error_code failure = co_await open(connection); failure) {
    co_return error("{}: {}", options_.url.authority(), failure.message());
  }
  Exchange exchange;
  exchange.request = {http::verb::get, options_.url.prefix + std::string(path), 11};
  exchange.request.set(http::field::host, options_.url.authority());
  if (!options_.api_key.empty()) {
    exchange.request.set(http::field::authorization, "Bearer " + options_.api_key);
  }
  co_await this->exchange(connection, exchange);
  if (exchange.failure) co_return error("GET {}: {}", path, exchange.failure.message());
  if (exchange.status != 200) {
    co_return error("GET {}: HTTP {}: {}", path, exchange.status, message_of(exchange.body));
  }
  lease.keep = exchange.keep_alive;
  co_return std::move(exchange.body);
}

void Client::expire() {
  const Clock::time_point now = Clock::now();
  for (Connection* connection : busy_) {
    if (now - connection->last_heard < options_.timeout) continue;
    connection->has_expired = true;
    error_code ignored;
    std::ignore = connection->socket.close(ignored);
  }
}

void Client::cancel_all() {
  for (Connection* connection : busy_) {
    connection->was_cancelled = true;
    error_code ignored;
    std::ignore = connection->socket.close(ignored);
  }
}

}  // namespace nereid::loadgen
