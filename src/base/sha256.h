// SHA-256 digests (OpenSSL does the work).
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace nereid {

using Sha256Digest = std::array<std::byte, 32>;
// Of the two parts one after the other.
Sha256Digest sha256(std::span<const std::byte> first, std::span<const std::byte> second);

// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace nereid
