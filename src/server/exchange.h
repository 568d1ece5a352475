// One request being answered: what a route's handler sees of HTTP. The connection behind it does
// the parsing, the limits, keys, timeouts and logging; see connection.h.
//
// A handler is a coroutine that runs on executor(); every function here is called there, except
// where it says otherwise. It answers exactly once: respond*(), or begin_events() ... end_events().
// Where it answers nothing, or throws, the client gets a 500. The Exchange lives until the handler
// returns.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nereid::server {

template <typename T = void>
using Awaitable = boost::asio::awaitable<T>;

// Names and values without line breaks (checked). Content-Type, Content-Length, Date, X-Request-Id,
// and the security and CORS headers are the connection's.
using Headers = std::vector<std::pair<std::string, std::string>>;

// The inside of OpenAI's {"error": {"message", "type", "param", "code"}}.
struct ApiError {
  std::string message;
  std::string type = {};   // empty: as is usual for the status ("invalid_request_error", ...)
  std::string param = {};  // empty: null
  std::string code = {};   // empty: null
};

class Exchange {
 public:
  virtual ~Exchange() = default;

  // The request. All of it, with the whole body, is there before the handler starts.
  virtual std::string_view method() const = 0;  // "GET" also for a HEAD request
  virtual std::string_view path() const = 0;    // as sent, without the query
  virtual std::string_view query() const = 0;   // as sent, without '?'
  // What stood for "{...}" at the end of the route's path, percent-decoded; may contain '/'.
  virtual const std::string& path_argument() const = 0;
  virtual std::string_view header(std::string_view name) const = 0;  // any case; empty when absent
  virtual const std::string& body() const = 0;
  virtual const std::string& request_id() const = 0;
  // Runs the handler; a strand when there are several HTTP threads. Any thread may post to it.
  virtual boost::asio::any_io_executor executor() const = 0;

  // A whole answer. False: the client has gone, or took longer than the write timeout.
  virtual Awaitable<bool> respond(int status, std::string_view content_type, std::string body,
                                  Headers headers = {}) = 0;
  Awaitable<bool> respond_json(int status, std::string body, Headers headers = {});
  Awaitable<bool> respond_error(int status, const ApiError& error, Headers headers = {});

  // Server-sent events. begin_events() only buffers the head of the answer. add_event() buffers
  // "data: <data>\n\n", after "event: <name>\n" where a name is given (line breaks in data become
  // several data lines). flush_events() sends what is buffered and awaits a slow reader: while it
  // waits, nothing else should be buffered without bound. False: the client has gone.
  virtual void begin_events(Headers headers = {}) = 0;
  virtual void add_event(std::string_view data, std::string_view name = {}) = 0;
  virtual Awaitable<bool> flush_events() = 0;
  Awaitable<bool> send_event(std::string_view data, std::string_view name = {});  // add and flush
  // Flushes and completes the answer. Without it, a handler that returns breaks off the stream so
  // that the client can tell.
  virtual Awaitable<bool> end_events() = 0;

  // Whether the client has disconnected, as far as is known by now.
  virtual bool client_gone() const = 0;
  // Called once on executor(), as soon as the client is seen to disconnect, also while nothing is
  // being written; at once when it has already. A second call replaces the callback, nullptr
  // removes it. It must not outlive what it captures: the connection drops it when the handler
  // returns.
  virtual void on_client_gone(std::function<void()> callback) = 0;
};

// {"error": {...}} with the type that is usual for the status where none is given.
std::string error_body(int status, const ApiError& error);

}  // namespace nereid::server
