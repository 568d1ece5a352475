// See response_head.h.
#include "src/server/response_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/status.hpp>
#include <ctime>

#include "src/base/check.h"

namespace nereid::server {
namespace {

// On every answer, unless the route says otherwise: nothing here is for frames, caches or guesses.
constexpr std::pair<std::string_view, std::string_view> kUsualHeaders[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
};

void add(std::string& text, std::string_view name, std::string_view value) {
  NEREID_CHECK(name.find_first_of("\r\n:") == std::string_view::npos &&
                   value.find_first_of("\r\n") == std::string_view::npos,
               "line break in header {}", name);
  fmt::format_to(std::back_inserter(text), "{}: {}\r\n", name, value);
}

bool has(const Headers* headers, std::string_view name) {
  return headers != nullptr && std::ranges::any_of(*headers, [&](const auto& header) {
           return boost::beast::iequals({header.first.data(), header.first.size()},
                                        {name.data(), name.size()});
         });
}

// "Sun, 06 Nov 1994 08:49:37 GMT", made once a second.
const std::string& http_date() {
  thread_local std::time_t last = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != last) text = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now));
  last = now;
  return text;
}

}  // namespace

std::string_view reason_phrase(int status) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {reason.data(), reason.size()};
}

std::string to_text(const ResponseHead& head) {
  std::string text = fmt::format("HTTP/1.{} {} {}\r\n", head.http_1_0 ? 0 : 1, head.status,
                                 reason_phrase(head.status));
  add(text, "Date", http_date());
  if (!head.content_type.empty()) add(text, "Content-Type", head.content_type);
  if (head.content_length) {
    add(text, "Content-Length", std::to_string(*head.content_length));
  } else if (!head.http_1_0 && head.status != 204) {
    add(text, "Transfer-Encoding", "chunked");
  }
  if (!head.keep_alive) {
    add(text, "Connection", "close");
  } else if (head.http_1_0) {
    add(text, "Connection", "keep-alive");
  }
  if (!head.request_id.empty()) add(text, "X-Request-Id", head.request_id);
  if (!head.allow_origin.empty()) {
    add(text, "Access-Control-Allow-Origin", head.allow_origin);
    add(text, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  }
  if (head.vary_origin) add(text, "Vary", "Origin");
  for (const auto& [name, value] : kUsualHeaders) {
    if (!has(head.extra, name)) add(text, name, value);
  }
  if (head.extra != nullptr) {
    for (const auto& [name, value] : *head.extra) add(text, name, value);
  }
  text += "\r\n";
  return text;
}

}  // namespace nereid::server
