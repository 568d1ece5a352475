// See access.h.
#include "src/server/access.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

#include "src/base/check.h"

namespace nereid::server {
namespace {

constexpr size_t kMaxRequestId = 128;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_' ||
         c == '.' || c == ':';
}

// "Bearer KEY" -> "KEY"; else empty.
std::string_view bearer(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  const bool matches =
      std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme, {}, lower);
  if (!matches) return {};
  std::string_view key = authorization.substr(kScheme.size());
  while (key.starts_with(' ')) key.remove_prefix(1);
  while (key.ends_with(' ')) key.remove_suffix(1);
  return key;
}

std::array<uint8_t, 32> digest(std::string_view text) {
  std::array<uint8_t, 32> result{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), result.data());
  return result;
}

}  // namespace

Access::Access(const ServerOptions& options) : origins_(options.cors_origins) {
  for (const std::string& key : options.api_keys) digests_.push_back(digest(key));
  any_origin_ = std::ranges::find(origins_, "*") != origins_.end();
}

bool Access::key_is_good(std::string_view authorization) const {
  if (digests_.empty()) return true;
  const Digest given = digest(bearer(authorization));
  bool good = false;
  for (const Digest& expected : digests_) {  // all of them, always
    good |= CRYPTO_memcmp(given.data(), expected.data(), given.size()) == 0;
  }
  return good;
}

std::string_view Access::allowed_origin(std::string_view origin) const {
  if (origin.empty()) return {};
  if (any_origin_) return "*";
  const auto at = std::ranges::find(origins_, origin);
  return at == origins_.end() ? std::string_view{} : std::string_view(*at);
}

std::string request_id_of(std::string_view header) {
  if (!header.empty() && header.size() <= kMaxRequestId && std::ranges::all_of(header, is_plain)) {
    return std::string(header);
  }
  std::array<uint8_t, 16> bytes{};
  NEREID_CHECK(RAND_bytes(bytes.data(), bytes.size()) == 1, "no random bytes");
  return fmt::format("req-{:02x}", fmt::join(bytes, ""));
}

}  // namespace nereid::server
