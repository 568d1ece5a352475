// A position in a span of bytes that cannot be moved past its end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "src/base/result.h"

namespace nereid {

static_assert(std::endian::native == std::endian::little, "model files are read as they lie");

class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }
  std::span<const std::byte> all() const { return bytes_; }
  // [begin, position())
  std::span<const std::byte> since(uint64_t begin) const {
    return bytes_.subspan(begin, at_ - begin);
  }

  Result<std::span<const std::byte>> take(uint64_t count, std::string_view what) {
    if (count > remaining()) {
      return error("{}: found {} bytes at byte {}, expected {}: the file is truncated or damaged",
                   what, remaining(), at_, count);
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  Result<T> read(std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    NEREID_TRY(const auto taken, take(sizeof(T), what));
    T value;
    std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
};

}  // namespace nereid
