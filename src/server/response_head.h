// The head of an answer as text: status line, and the headers that every answer has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/server/exchange.h"

namespace nereid::server {

struct ResponseHead {
  int status = 200;
  bool http_1_0 = false, keep_alive = true;
  std::string_view content_type;           // empty: no such header
  std::optional<uint64_t> content_length;  // absent: chunked, or until the end in HTTP/1.0
  std::string_view request_id;             // empty: no such header
  std::string_view allow_origin;           // of Access-Control-Allow-Origin; empty: none
  bool vary_origin = false;                // caches must tell origins apart
  const Headers* extra = nullptr;          // win over the usual headers of the same name
};

std::string to_text(const ResponseHead& head);
std::string_view reason_phrase(int status);

}  // namespace nereid::server
