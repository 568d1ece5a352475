// Where the server under load is: an http:// URL taken apart.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid::loadgen {

struct Url {
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string prefix;  // path in front of "/v1/...", without a slash at the end

  std::string authority() const;  // for the Host header
};

Result<Url> parse_url(std::string_view text);

}  // namespace nereid::loadgen
