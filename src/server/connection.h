// One client's connection: request after request is read, checked against limits and keys, given to
// its route, logged.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "src/server/access.h"
#include "src/server/context.h"
#include "src/server/link.h"
#include "src/server/request_parser.h"
#include "src/server/routes.h"
#include "src/server/site_guard.h"

namespace nereid::server {

// What all connections of a server share.
struct ConnectionShared {
  ServerContext& context;
  Access access;
  SiteGuard site_guard;
  std::span<const Route> routes;
  std::atomic<int32_t> active_requests = 0;      // being read beyond the head, or answered
  std::atomic<uint64_t> pending_body_bytes = 0;  // of requests that are not answered yet
};

class Connection {
 public:
  Connection(std::shared_ptr<Link> link, ConnectionShared& shared);
  // Ends when the client or the server closes the connection.
  Awaitable<> run();

 private:
  Awaitable<bool> serve_one();
  Awaitable<bool> serve_complete(RequestParser& parser, Link::Clock::time_point deadline);
  // Reads until done(); false: the client has gone, or was answered with a failure.
  Awaitable<bool> read_head(RequestParser& parser, Link::Clock::time_point deadline);
  Awaitable<bool> read_body(RequestParser& parser, Link::Clock::time_point deadline);
  // What the head alone allows to refuse.
  std::optional<HttpFailure> refuse(const RequestParser& parser, const RouteMatch& match) const;
  Awaitable<> fail(const RequestParser* parser, HttpFailure failure);
  Awaitable<bool> handle(RequestParser& parser, const RouteMatch& match);
  bool is_preflight(const RequestParser& parser) const;
  Awaitable<bool> answer_preflight(RequestParser& parser);

  std::shared_ptr<Link> link_;
  ConnectionShared& shared_;
  const ServerOptions& options_;
  Link::Clock::time_point started_;  // of the request at hand
};

}  // namespace nereid::server
