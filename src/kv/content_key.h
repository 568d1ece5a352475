// What a full page of the KV cache holds, as a key: the hash of its tokens and of all tokens before
// them. Equal keys mean equal keys and values, so a page found by its key can be shared.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace nereid {

// The first 128 bits of SHA-256: two different prefixes of users who do not trust each other must
// not meet.
struct ContentKey {
  std::array<uint64_t, 2> words = {0, 0};
  bool operator==(const ContentKey&) const = default;
};

struct ContentKeyHash {
  size_t operator()(const ContentKey& key) const { return static_cast<size_t>(key.words[0]); }
};

// The key of a sequence before its first token. Sequences with different salts share nothing.
ContentKey root_key(uint64_t salt);
// The key of a page that holds `tokens` after the pages that `parent` stands for.
ContentKey child_key(const ContentKey& parent, std::span<const int32_t> tokens);

}  // namespace nereid
