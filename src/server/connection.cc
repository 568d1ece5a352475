// See connection.h.
#include "src/server/connection.h"

#include <fmt/format.h>

#include <boost/beast/core/string.hpp>
#include <exception>

#include "src/base/json.h"
#include "src/base/log.h"
#include "src/server/connection_exchange.h"

namespace nereid::server {
namespace {

bool iequals(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

// "application/json; charset=utf-8" -> "application/json"
std::string_view media_type(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

template <typename T>
class Added {  // to a counter, for as long as it lives
 public:
  Added(std::atomic<T>& counter, T amount) : counter_(counter), amount_(amount) {
    total_ = counter_.fetch_add(amount_) + amount_;
  }
  ~Added() { counter_ -= amount_; }
  Added(const Added&) = delete;
  Added& operator=(const Added&) = delete;
  T total() const { return total_; }

 private:
  std::atomic<T>& counter_;
  T amount_, total_ = 0;
};

HttpFailure timeout_failure() {
  return {.status = 408, .error = {.message = "the request took too long to arrive"}};
}

HttpFailure method_failure(const RouteMatch& match, const RequestParser& parser) {
  if (match.allow.empty()) {
    return {.status = 404,
            .error = {.message = fmt::format("nothing is at {}", printable(parser.path(), 128))}};
  }
  return {
      .status = 405,
      .error = {.message = fmt::format("{} takes {}", printable(parser.path(), 128), match.allow)},
      .headers = {{"Allow", match.allow}}};
}

}  // namespace

Connection::Connection(std::shared_ptr<Link> link, ConnectionShared& shared)
    : link_(std::move(link)), shared_(shared), options_(shared.context.options) {}

Awaitable<> Connection::run() {
  if (!co_await link_->open(options_.read_timeout)) co_return;
  while (co_await serve_one()) {
  }
  co_await link_->finish();
}

Awaitable<bool> Connection::serve_one() {
  if (link_->unread().empty()) {
    if (co_await link_->more(Link::Clock::now() + options_.idle_timeout) != Link::Wait::kBytes) {
      co_return false;
    }
  }
  started_ = Link::Clock::now();
  const auto deadline = started_ + options_.read_timeout;
  RequestParser parser(options_);
  if (!co_await read_head(parser, deadline)) co_return false;
  co_return co_await serve_complete(parser, deadline);
}

Awaitable<bool> Connection::serve_complete(RequestParser& parser,
                                           Link::Clock::time_point deadline) {
  const Added<int32_t> active(shared_.active_requests, 1);
  if (auto bad_head = parser.check_head()) {
    co_await fail(&parser, std::move(*bad_head));
    co_return false;
  }
  auto failure = shared_.site_guard.refuse(parser);
  if (!failure && is_preflight(parser)) co_return co_await answer_preflight(parser);
  const RouteMatch match = find_route(shared_.routes, parser.method(), parser.path());
  if (!failure) failure = refuse(parser, match);
  if (failure) {
    const bool whole = !parser.has_body();
    if (!whole) {
      co_await fail(&parser, std::move(*failure));
      co_return false;
    }
    ConnectionExchange exchange({.link = *link_,
                                 .shared = shared_,
                                 .parser = &parser,
                                 .keep_alive = parser.keep_alive(),
                                 .started = started_});
    co_await exchange.respond_error(failure->status, failure->error, std::move(failure->headers));
    co_return exchange.can_go_on();
  }
  const uint64_t size =
      parser.has_body() ? parser.content_length().value_or(options_.max_body_bytes) : 0;
  const Added<uint64_t> pending(shared_.pending_body_bytes, size);
  if (size > 0 && pending.total() > options_.max_pending_body_bytes) {
    co_await fail(&parser, {.status = 503,
                            .error = {.message = "too many large requests at once"},
                            .headers = {{"Retry-After", "1"}}});
    co_return false;
  }
  if (parser.expects_continue() && !parser.done() && link_->unread().empty()) {
    if (!co_await link_->send("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
  }
  if (!co_await read_body(parser, deadline)) co_return false;
  co_return co_await handle(parser, match);
}

Awaitable<bool> Connection::read_head(RequestParser& parser, Link::Clock::time_point deadline) {
  while (true) {
    auto progress = parser.feed(link_->unread());
    link_->consume(progress.consumed);
    if (progress.failure) {
      co_await fail(&parser, std::move(*progress.failure));
      co_return false;
    }
    if (parser.head_done()) co_return true;
    const Link::Wait wait = co_await link_->more(deadline);
    if (wait == Link::Wait::kTimeout) co_await fail(&parser, timeout_failure());
    if (wait != Link::Wait::kBytes) co_return false;
  }
}

Awaitable<bool> Connection::read_body(RequestParser& parser, Link::Clock::time_point deadline) {
  while (!parser.done()) {
    auto progress = parser.feed(link_->unread());
    link_->consume(progress.consumed);
    if (progress.failure) {
      co_await fail(&parser, std::move(*progress.failure));
      co_return false;
    }
    if (parser.done()) break;
    const Link::Wait wait = co_await link_->more(deadline);
    if (wait == Link::Wait::kTimeout) co_await fail(&parser, timeout_failure());
    if (wait != Link::Wait::kBytes) co_return false;
  }
  co_return true;
}

std::optional<HttpFailure> Connection::refuse(const RequestParser& parser,
                                              const RouteMatch& match) const {
  const bool open = match.route != nullptr && !match.route->needs_key;
  if (!open && !shared_.access.key_is_good(parser.header("Authorization"))) {
    return HttpFailure{
        .status = 401,
        .error = {.message = "no valid API key; expected 'Authorization: Bearer KEY'",
                  .code = "invalid_api_key"},
        .headers = {{"WWW-Authenticate", "Bearer"}}};
  }
  if (match.route == nullptr) return method_failure(match, parser);
  if (match.route->method != "POST") return std::nullopt;
  if (!parser.says_body_length()) {
    return HttpFailure{.status = 411,
                       .error = {.message = "a body is needed, with Content-Length or chunked"}};
  }
  const std::string_view type = parser.header("Content-Type");
  if (!iequals(media_type(type), "application/json")) {
    return HttpFailure{.status = 415,
                       .error = {.message = fmt::format("Content-Type: found '{}', expected "
                                                        "application/json",
                                                        printable(type))}};
  }
  const std::string_view encoding = parser.header("Content-Encoding");
  if (!encoding.empty() && !iequals(encoding, "identity")) {
    return HttpFailure{
        .status = 415,
        .error = {.message = fmt::format("Content-Encoding: found '{}', expected none",
                                         printable(encoding))}};
  }
  return std::nullopt;
}

// The rest of the request is not read, so the connection ends with this answer.
Awaitable<> Connection::fail(const RequestParser* parser, HttpFailure failure) {
  ConnectionExchange exchange(
      {.link = *link_, .shared = shared_, .parser = parser, .started = started_});
  co_await exchange.respond_error(failure.status, failure.error, std::move(failure.headers));
}

bool Connection::is_preflight(const RequestParser& parser) const {
  return parser.method() == "OPTIONS" &&
         !shared_.access.allowed_origin(parser.header("Origin")).empty() &&
         !parser.header("Access-Control-Request-Method").empty() && !parser.has_body();
}

Awaitable<bool> Connection::answer_preflight(RequestParser& parser) {
  ConnectionExchange exchange({.link = *link_,
                               .shared = shared_,
                               .parser = &parser,
                               .keep_alive = parser.keep_alive(),
                               .started = started_});
  co_await exchange.respond(
      204, {}, {},
      {{"Access-Control-Allow-Methods", "GET, HEAD, POST"},
       {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id"},
       {"Access-Control-Max-Age", "600"}});
  co_return exchange.can_go_on();
}

Awaitable<bool> Connection::handle(RequestParser& parser, const RouteMatch& match) {
  ConnectionExchange exchange({.link = *link_,
                               .shared = shared_,
                               .parser = &parser,
                               .path_argument = match.argument,
                               .route_path = match.route->path,
                               .keep_alive = parser.keep_alive(),
                               .started = started_});
  std::string problem;
  try {
    co_await match.route->handler(exchange, shared_.context);
    if (!exchange.answered() && !exchange.client_gone()) problem = "the handler gave no answer";
  } catch (const std::exception& thrown) {  // of a library, or no memory
    problem = thrown.what();
  }
  if (!problem.empty()) {
    log_error("{} {}: {}", match.route->path, exchange.request_id(), printable(problem, 512));
    if (!exchange.answered()) {
      co_await exchange.respond_error(500, {.message = "internal error, see the server's log"});
    }
  }
  co_return exchange.can_go_on();
}

}  // namespace nereid::server
