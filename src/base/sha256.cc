// EVP calls behind sha256.h.
#include "src/base/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "src/base/check.h"

namespace nereid {

std::string sha256_hex(std::span<const std::byte> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  const int ok =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  NEREID_CHECK(ok == 1 && length == 32, "OpenSSL gave a digest of {} bytes", length);
  std::string hex;
  hex.reserve(64);
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (unsigned int at = 0; at < length; ++at) {
    hex += kDigits[digest[at] >> 4];
    hex += kDigits[digest[at] & 15];
  }
  return hex;
}

std::string sha256_hex(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text)));
}

}  // namespace nereid
