// Keeps the pages of other web sites from using a server that asks for no key. A page can reach
// this machine's ports by a name of its own that it lets point here (DNS rebinding: then the
// request's Host is that name), and can send requests whose answers it cannot read (then its Origin
// is not this server's).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/server/options.h"
#include "src/server/request_parser.h"

namespace nereid::server {

// Immutable, for use by many threads at once.
class SiteGuard {
 public:
  // on_loopback: only programs of this machine can connect, so that only its own names are right.
  SiteGuard(const ServerOptions& options, bool on_loopback);

  // The answer to a request that another site has sent; with the head done.
  std::optional<HttpFailure> refuse(const RequestParser& request) const;

 private:
  bool host_is_known(std::string_view host) const;
  bool origin_is_known(const RequestParser& request) const;

  std::vector<std::string> hosts_;  // lower case, without port
  std::vector<std::string> origins_;
  bool check_host_ = false, check_origin_ = false;
};

// "localhost:8000" -> "localhost", "[::1]:8000" -> "[::1]".
std::string_view without_port(std::string_view authority);

}  // namespace nereid::server
