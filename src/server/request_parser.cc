// See request_parser.h.
#include "src/server/request_parser.h"

#include <fmt/format.h>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>

namespace nereid::server {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

beast::string_view beast_view(std::string_view text) {
  return {text.data(), text.size()};
}

// "http://host/path" -> "/path"; others as they are.
std::string_view without_authority(std::string_view target) {
  const size_t scheme = target.find("://");
  if (target.starts_with('/') || scheme == std::string_view::npos) return target;
  const size_t slash = target.find('/', scheme + 3);
  return slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
}

}  // namespace

struct RequestParser::State {
  explicit State(const ServerOptions& server_options) : options(server_options) {
    parser.header_limit(options.max_header_bytes);
    parser.body_limit(options.max_body_bytes);
  }
  HttpFailure failure_of(const beast::error_code& code) const;

  const ServerOptions& options;
  http::request_parser<http::string_body> parser;
};

HttpFailure RequestParser::State::failure_of(const beast::error_code& code) const {
  if (code == http::error::body_limit) {
    return {.status = 413,
            .error = {.message = fmt::format("the body is larger than {} bytes, the limit",
                                             options.max_body_bytes)}};
  }
  if (code == http::error::header_limit || code == http::error::buffer_overflow) {
    const bool in_target = parser.get().target().empty();
    return {.status = in_target ? 414 : 431,
            .error = {.message = fmt::format("the {} longer than {} bytes, the limit",
                                             in_target ? "request line is" : "headers are",
                                             options.max_header_bytes)}};
  }
  if (code == http::error::bad_version) {
    return {.status = 505, .error = {.message = "only HTTP/1.1 and HTTP/1.0 are spoken here"}};
  }
  return {.status = 400,
          .error = {.message = fmt::format("not a valid HTTP request: {}", code.message())}};
}

RequestParser::RequestParser(const ServerOptions& options)
    : state_(std::make_unique<State>(options)) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;

RequestParser::Progress RequestParser::feed(std::string_view bytes) {
  auto& parser = state_->parser;
  Progress progress;
  const bool head_was_done = parser.is_header_done();
  parser.eager(head_was_done);
  while (progress.consumed < bytes.size() && !parser.is_done() &&
         (head_was_done || !parser.is_header_done())) {
    beast::error_code code;
    const std::string_view rest = bytes.substr(progress.consumed);
    const size_t count = parser.put(boost::asio::buffer(rest.data(), rest.size()), code);
    progress.consumed += count;
    if (code == http::error::need_more) break;
    if (code) {
      progress.failure = state_->failure_of(code);
      break;
    }
    if (count == 0) break;
  }
  return progress;
}

bool RequestParser::head_done() const {
  return state_->parser.is_header_done();
}

bool RequestParser::done() const {
  return state_->parser.is_done();
}

std::string_view RequestParser::method() const {
  return view(state_->parser.get().method_string());
}

std::string_view RequestParser::path() const {
  const std::string_view target = without_authority(view(state_->parser.get().target()));
  return target.substr(0, target.find_first_of("?#"));
}

std::string_view RequestParser::query() const {
  std::string_view target = without_authority(view(state_->parser.get().target()));
  target = target.substr(0, target.find('#'));
  const size_t mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
}

std::string_view RequestParser::host() const {
  const std::string_view target = view(state_->parser.get().target());
  const size_t scheme = target.find("://");
  if (target.starts_with('/') || scheme == std::string_view::npos) return header("Host");
  const std::string_view rest = target.substr(scheme + 3);
  return rest.substr(0, rest.find_first_of("/?#"));
}

std::string_view RequestParser::header(std::string_view name) const {
  return view(state_->parser.get()[beast_view(name)]);
}

bool RequestParser::has_body() const {
  return state_->parser.chunked() || content_length().value_or(0) > 0;
}

bool RequestParser::says_body_length() const {
  return state_->parser.chunked() || content_length().has_value();
}

std::optional<uint64_t> RequestParser::content_length() const {
  const auto length = state_->parser.content_length();
  return length ? std::optional<uint64_t>(*length) : std::nullopt;
}

bool RequestParser::http_1_0() const {
  return state_->parser.get().version() < 11;
}

bool RequestParser::keep_alive() const {
  return state_->parser.keep_alive();
}

bool RequestParser::expects_continue() const {
  return !http_1_0() && beast::iequals(state_->parser.get()[http::field::expect], "100-continue");
}

std::optional<HttpFailure> RequestParser::check_head() const {
  const auto& request = state_->parser.get();
  const auto fail = [](int status, std::string message) {
    return HttpFailure{.status = status, .error = {.message = std::move(message)}};
  };
  if (request.version() != 10 && request.version() != 11) {
    return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  const std::string_view target = view(request.target());
  if (target.size() > state_->options.max_target_bytes) {
    return fail(414, fmt::format("the target has {} bytes, at most {} are taken", target.size(),
                                 state_->options.max_target_bytes));
  }
  if (!path().starts_with('/') && path() != "*") {
    return fail(400, "the target is neither a path nor a URL");
  }
  const size_t hosts = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && !http_1_0())) {
    return fail(400, fmt::format("{} Host headers, expected one", hosts));
  }
  const size_t encodings = request.count(http::field::transfer_encoding);
  if (encodings > 0) {
    if (http_1_0() || request.count(http::field::content_length) > 0) {
      return fail(400, "Transfer-Encoding with Content-Length, or in HTTP/1.0");
    }
    if (encodings > 1 || !beast::iequals(request[http::field::transfer_encoding], "chunked")) {
      return fail(501, "Transfer-Encoding other than chunked");
    }
  }
  const auto expect = request[http::field::expect];
  if (!expect.empty() && !beast::iequals(expect, "100-continue")) {
    return fail(417, "Expect other than 100-continue");
  }
  return std::nullopt;
}

const std::string& RequestParser::body() const {
  return state_->parser.get().body();
}

}  // namespace nereid::server
