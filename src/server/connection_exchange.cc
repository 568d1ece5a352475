// See connection_exchange.h.
#include "src/server/connection_exchange.h"

#include <fmt/format.h>

#include "src/base/check.h"
#include "src/server/access_log.h"
#include "src/server/metrics.h"

namespace nereid::server {

ConnectionExchange::ConnectionExchange(ExchangeSetup setup) : setup_(std::move(setup)) {
  keep_alive_ = setup_.keep_alive;
  std::string_view wanted_id;
  if (const RequestParser* parser = setup_.parser; parser != nullptr && parser->head_done()) {
    wanted_id = parser->header("X-Request-Id");
    allow_origin_ = setup_.shared.access.allowed_origin(parser->header("Origin"));
    http_1_0_ = parser->http_1_0();
    head_only_ = parser->method() == "HEAD";
  }
  request_id_ = request_id_of(wanted_id);
}

ConnectionExchange::~ConnectionExchange() {
  setup_.link.on_gone(nullptr);
  log();
}

bool ConnectionExchange::can_go_on() const {
  return phase_ == Phase::kDone && keep_alive_ && sent_ && !setup_.shared.context.draining;
}

std::string_view ConnectionExchange::method() const {
  if (setup_.parser == nullptr || !setup_.parser->head_done()) return {};
  return head_only_ ? "GET" : setup_.parser->method();
}

std::string_view ConnectionExchange::path() const {
  if (setup_.parser == nullptr || !setup_.parser->head_done()) return {};
  return setup_.parser->path();
}

std::string_view ConnectionExchange::query() const {
  return setup_.parser->query();
}

std::string_view ConnectionExchange::header(std::string_view name) const {
  return setup_.parser->header(name);
}

const std::string& ConnectionExchange::body() const {
  return setup_.parser->body();
}

ResponseHead ConnectionExchange::head(int status, std::string_view content_type,
                                      const Headers& headers) const {
  return {.status = status,
          .http_1_0 = http_1_0_,
          .keep_alive = keep_alive_,
          .content_type = content_type,
          .request_id = request_id_,
          .allow_origin = allow_origin_,
          .vary_origin = setup_.shared.access.cors(),
          .extra = &headers};
}

Awaitable<bool> ConnectionExchange::send(std::string bytes) {
  if (bytes.empty()) co_return sent_;
  if (sent_) sent_ = co_await setup_.link.send(bytes);
  if (sent_) bytes_sent_ += bytes.size();
  co_return sent_;
}

Awaitable<bool> ConnectionExchange::respond(int status, std::string_view content_type,
                                            std::string body, Headers headers) {
  NEREID_CHECK(phase_ == Phase::kNothing, "a second answer to {}", request_id_);
  if (setup_.shared.context.draining) keep_alive_ = false;
  phase_ = Phase::kDone;
  status_ = status;
  ResponseHead response = head(status, content_type, headers);
  if (status != 204) response.content_length = body.size();
  std::string bytes = to_text(response);
  if (!head_only_) bytes += body;
  co_return co_await send(std::move(bytes));
}

void ConnectionExchange::begin_events(Headers headers) {
  NEREID_CHECK(phase_ == Phase::kNothing, "a second answer to {}", request_id_);
  if (setup_.shared.context.draining || http_1_0_) keep_alive_ = false;
  phase_ = Phase::kEvents;
  status_ = 200;
  headers.emplace_back("X-Accel-Buffering", "no");  // for nginx in front
  head_text_ = to_text(head(200, "text/event-stream", headers));
}

void ConnectionExchange::add_event(std::string_view data, std::string_view name) {
  NEREID_CHECK(phase_ == Phase::kEvents, "an event outside of begin_events and end_events");
  if (!name.empty()) fmt::format_to(std::back_inserter(events_), "event: {}\n", name);
  while (true) {
    const size_t line_end = data.find('\n');
    events_.append("data: ").append(data.substr(0, line_end)).append("\n");
    if (line_end == std::string_view::npos) break;
    data.remove_prefix(line_end + 1);
  }
  events_ += '\n';
}

std::string ConnectionExchange::take_chunk(bool last) {
  std::string bytes = std::exchange(head_text_, {});
  if (http_1_0_) return bytes += std::exchange(events_, {});
  if (!events_.empty()) {
    fmt::format_to(std::back_inserter(bytes), "{:x}\r\n", events_.size());
    bytes.append(events_).append("\r\n");
    events_.clear();
  }
  if (last) bytes += "0\r\n\r\n";
  return bytes;
}

Awaitable<bool> ConnectionExchange::flush_events() {
  NEREID_CHECK(phase_ == Phase::kEvents, "flush outside of begin_events and end_events");
  const bool sent = co_await send(take_chunk(false));
  co_return sent && !client_gone();
}

Awaitable<bool> ConnectionExchange::end_events() {
  NEREID_CHECK(phase_ == Phase::kEvents, "end_events without begin_events");
  phase_ = Phase::kDone;
  co_return co_await send(take_chunk(true));
}

void ConnectionExchange::log() const {
  const double seconds = std::chrono::duration<double>(Link::Clock::now() - setup_.started).count();
  const std::string_view shown = head_only_ ? std::string_view("HEAD") : method();
  setup_.shared.context.metrics.observe_http(setup_.route_path.empty() ? "" : shown,
                                             setup_.route_path, status_, seconds);
  log_access({.request_id = request_id_,
              .peer = setup_.link.peer(),
              .method = shown,
              .path = path(),
              .status = status_,
              .bytes_in = setup_.parser != nullptr && setup_.parser->done() ? body().size() : 0,
              .bytes_out = bytes_sent_,
              .seconds = seconds,
              .complete = phase_ == Phase::kDone && sent_});
}

}  // namespace nereid::server
