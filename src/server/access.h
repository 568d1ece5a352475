// Who may ask: API keys and origins of other web sites.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/server/options.h"

namespace nereid::server {

// Immutable, for use by many threads at once.
class Access {
 public:
  explicit Access(const ServerOptions& options);

  // `authorization`: the header, "Bearer KEY". The time it takes tells nothing of the keys. True
  // for everybody when there are no keys.
  bool key_is_good(std::string_view authorization) const;
  bool needs_key() const { return !digests_.empty(); }
  // What Access-Control-Allow-Origin says to a page from `origin`; empty: nothing.
  std::string_view allowed_origin(std::string_view origin) const;
  bool cors() const { return !origins_.empty(); }

 private:
  using Digest = std::array<uint8_t, 32>;  // SHA-256, so that lengths do not show either
  std::vector<Digest> digests_;
  std::vector<std::string> origins_;
  bool any_origin_ = false;
};

// X-Request-Id of the client when it is short and plain, else a new random one.
std::string request_id_of(std::string_view header);

}  // namespace nereid::server
