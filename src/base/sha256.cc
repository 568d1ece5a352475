// EVP calls behind sha256.h.
#include "src/base/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <memory>

#include "src/base/check.h"

namespace nereid {

Sha256Digest sha256(std::span<const std::byte> first, std::span<const std::byte> second) {
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  Sha256Digest digest{};
  const bool ok = EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1 &&
                  EVP_DigestUpdate(context.get(), first.data(), first.size()) == 1 &&
                  EVP_DigestUpdate(context.get(), second.data(), second.size()) == 1 &&
                  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                                     nullptr) == 1;
  NEREID_CHECK(ok, "OpenSSL gave no digest");
  return digest;
}

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
