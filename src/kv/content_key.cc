// Chains SHA-256 over pages.
#include "src/kv/content_key.h"

#include "src/base/sha256.h"

namespace nereid {

namespace {

ContentKey key_of(const Sha256Digest& digest) {
  ContentKey key;
  for (size_t word = 0; word < key.words.size(); ++word) {
    for (size_t byte = 0; byte < 8; ++byte) {
      key.words[word] |= uint64_t{std::to_integer<uint8_t>(digest[word * 8 + byte])} << (8 * byte);
    }
  }
  return key;
}

}  // namespace

ContentKey root_key(uint64_t salt) {
  return {{salt, 0}};
}

ContentKey child_key(const ContentKey& parent, std::span<const int32_t> tokens) {
  return key_of(sha256(std::as_bytes(std::span(parent.words)), std::as_bytes(tokens)));
}

}  // namespace nereid
