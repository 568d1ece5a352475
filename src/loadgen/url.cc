// See url.h.
#include "src/loadgen/url.h"

#include <algorithm>

#include "src/base/json.h"
#include "src/base/numbers.h"

namespace nereid::loadgen {
namespace {

constexpr std::string_view kScheme = "http://";
constexpr const char* kExpected = "expected http://HOST[:PORT][/PATH]";

}  // namespace

std::string Url::authority() const {
  const bool is_ipv6 = host.contains(':');
  return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Url> parse_url(std::string_view text) {
  const std::string shown = printable(text);
  if (text.starts_with("https://")) {
    return error("'{}': https is not supported, put a proxy in front or use http", shown);
  }
  if (!text.starts_with(kScheme)) return error("'{}': {}", shown, kExpected);
  const bool has_odd_byte = std::ranges::any_of(
      text, [](char byte) { return static_cast<unsigned char>(byte) <= ' ' || byte == '\x7f'; });
  if (has_odd_byte) return error("'{}': {}", shown, kExpected);
  text.remove_prefix(kScheme.size());
  const size_t slash = std::min(text.find('/'), text.size());
  std::string_view authority = text.substr(0, slash);
  std::string_view path = text.substr(slash);
  if (authority.contains('@') || path.contains('?') || path.contains('#')) {
    return error("'{}': {}", shown, kExpected);
  }
  Url url{.host = {}, .port = "80", .prefix = {}};
  size_t host_end = authority.find(':');
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return error("'{}': {}", shown, kExpected);
    url.host = authority.substr(1, bracket - 1);
    authority.remove_prefix(bracket + 1);
    if (!authority.empty() && authority[0] != ':') return error("'{}': {}", shown, kExpected);
    host_end = 0;
  } else {
    host_end = std::min(host_end, authority.size());
    url.host = authority.substr(0, host_end);
  }
  if (host_end < authority.size()) {
    const std::string_view port = authority.substr(host_end + 1);
    NEREID_TRY_CONTEXT(const int64_t number, parse_int(port, "port", 1, 65535),
                       fmt::format("'{}'", shown));
    url.port = std::to_string(number);
  }
  if (url.host.empty()) return error("'{}': {}", shown, kExpected);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/v1" || path.ends_with("/v1")) path.remove_suffix(3);  // as clients' base_url
  url.prefix = path;
  return url;
}

}  // namespace nereid::loadgen
