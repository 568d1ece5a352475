// See site_guard.h.
#include "src/server/site_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>

#include "src/base/json.h"

namespace nereid::server {
namespace {

bool iequals(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

// As Host shows it: IPv6 addresses in brackets.
std::string host_name(const std::string& name) {
  const bool bare_v6 = name.find(':') != std::string::npos && !name.starts_with('[');
  return bare_v6 ? "[" + name + "]" : name;
}

}  // namespace

std::string_view without_port(std::string_view authority) {
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  return authority.substr(0, colon);
}

SiteGuard::SiteGuard(const ServerOptions& options, bool on_loopback)
    : hosts_{"localhost", "127.0.0.1", "[::1]", host_name(options.host)},
      origins_(options.cors_origins) {
  for (const std::string& name : options.allowed_hosts) hosts_.push_back(host_name(name));
  const bool any_host =
      std::ranges::find(options.allowed_hosts, "*") != options.allowed_hosts.end();
  const bool any_origin = std::ranges::find(origins_, "*") != origins_.end();
  const bool open = options.api_keys.empty();  // a page does not know the key
  check_host_ = !any_host && ((open && on_loopback) || !options.allowed_hosts.empty());
  check_origin_ = open && !any_origin;
}

bool SiteGuard::host_is_known(std::string_view host) const {
  // Without a Host, HTTP/1.0: no browser.
  return host.empty() || std::ranges::any_of(hosts_, [&](const std::string& known) {
           return iequals(without_port(host), known);
         });
}

bool SiteGuard::origin_is_known(const RequestParser& request) const {
  const std::string_view origin = request.header("Origin");
  // Not from a page, or the browser itself says that the page is of this server.
  if (origin.empty() || iequals(request.header("Sec-Fetch-Site"), "same-origin")) return true;
  if (std::ranges::find(origins_, origin) != origins_.end()) return true;
  const size_t scheme = origin.find("://");
  return scheme != std::string_view::npos && iequals(origin.substr(scheme + 3), request.host());
}

std::optional<HttpFailure> SiteGuard::refuse(const RequestParser& request) const {
  if (check_host_ && !host_is_known(request.host())) {
    const std::string name = printable(without_port(request.host()), 128);
    return HttpFailure{
        .status = 403,
        .error = {.message = fmt::format(
                      "Host: found '{}', expected localhost or an address of this machine; to "
                      "serve under that name start with --allowed-host {}, or ask for a key",
                      name, name),
                  .code = "host_not_allowed"}};
  }
  if (check_origin_ && !origin_is_known(request)) {
    const std::string origin = printable(request.header("Origin"), 128);
    return HttpFailure{
        .status = 403,
        .error = {.message = fmt::format("Origin: found '{}', expected none or this server's own; "
                                         "to let pages of that site ask start with --cors-origin "
                                         "{}",
                                         origin, origin),
                  .code = "origin_not_allowed"}};
  }
  return std::nullopt;
}

}  // namespace nereid::server
