// SHA-256 digests (OpenSSL does the work).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace nereid {

// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace nereid
