// Element types of device memory, under the short names that kernel declarations use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nereid {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kU8,
  kI16,
  kI32,
  kI64,
  kU32,
  kU64,
  kF8E4M3,
  kF8E5M2,
};

size_t dtype_size(DType dtype);            // bytes per element
std::string_view dtype_name(DType dtype);  // "f32", "bf16", ...
std::optional<DType> parse_dtype(std::string_view name);

}  // namespace nereid
