// One HTTP/1 request out of bytes: Beast's parser, and the checks that Beast leaves to its users.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/server/exchange.h"
#include "src/server/options.h"

namespace nereid::server {

// An answer that ends the request before a handler sees it.
struct HttpFailure {
  int status = 400;
  ApiError error;
  Headers headers = {};
};

class RequestParser {
 public:
  explicit RequestParser(const ServerOptions& options);
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;

  struct Progress {
    size_t consumed = 0;
    std::optional<HttpFailure> failure;
  };
  // Takes bytes until the head is complete; later calls, until the body is. What was not consumed
  // must come again, with more after it.
  Progress feed(std::string_view bytes);
  bool head_done() const;
  bool done() const;

  // With the head done.
  std::string_view method() const;
  std::string_view path() const;
  std::string_view query() const;
  std::string_view header(std::string_view name) const;
  std::string_view host() const;                   // "localhost:8000", of the target or Host
  bool has_body() const;                           // Content-Length above 0, or chunked
  bool says_body_length() const;                   // Content-Length or chunked
  std::optional<uint64_t> content_length() const;  // absent: none, or chunked
  bool http_1_0() const;
  bool keep_alive() const;
  bool expects_continue() const;
  // What of the head makes a request impossible, whatever its route.
  std::optional<HttpFailure> check_head() const;
  // With everything done.
  const std::string& body() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nereid::server
