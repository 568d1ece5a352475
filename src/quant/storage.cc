// The table of storage formats and size arithmetic that cannot overflow.
#include "src/quant/storage.h"

#include <array>

#include "src/base/check.h"

namespace nereid {
namespace {

constexpr std::array<StorageInfo, kNumStorageFormats> kFormats = {{
    {StorageFormat::kF32, "F32", 1, 4, 0, "F32"},
    {StorageFormat::kF16, "F16", 1, 2, 1, "F16"},
    {StorageFormat::kBF16, "BF16", 1, 2, 30, "BF16"},
    {StorageFormat::kQ4_0, "Q4_0", 32, 18, 2, ""},
    {StorageFormat::kQ4_1, "Q4_1", 32, 20, 3, ""},
    {StorageFormat::kQ5_0, "Q5_0", 32, 22, 6, ""},
    {StorageFormat::kQ5_1, "Q5_1", 32, 24, 7, ""},
    {StorageFormat::kQ8_0, "Q8_0", 32, 34, 8, ""},
    {StorageFormat::kQ4_K, "Q4_K", 256, 144, 12, ""},
    {StorageFormat::kQ5_K, "Q5_K", 256, 176, 13, ""},
    {StorageFormat::kQ6_K, "Q6_K", 256, 210, 14, ""},
    {StorageFormat::kF8E4M3, "F8_E4M3", 1, 1, kNoGgufType, "F8_E4M3"},
    {StorageFormat::kF8E4M3Block, "F8_E4M3_B128", 1, 1, kNoGgufType, ""},
}};

}  // namespace

const StorageInfo& storage_info(StorageFormat format) {
  const auto index = static_cast<size_t>(format);
  NEREID_CHECK(index < kFormats.size() && kFormats[index].format == format, "storage format {}",
               index);
  return kFormats[index];
}

std::optional<StorageFormat> storage_from_gguf(uint32_t gguf_type) {
  for (const StorageInfo& info : kFormats) {
    if (info.gguf_type == gguf_type && gguf_type != kNoGgufType) return info.format;
  }
  return std::nullopt;
}

std::optional<StorageFormat> storage_named(std::string_view name) {
  for (const StorageInfo& info : kFormats) {
    if (info.name == name) return info.format;
  }
  return std::nullopt;
}

std::optional<StorageFormat> storage_from_safetensors(std::string_view dtype) {
  for (const StorageInfo& info : kFormats) {
    if (!dtype.empty() && info.safetensors_name == dtype) return info.format;
  }
  return std::nullopt;
}

bool is_float8(StorageFormat format) {
  return format == StorageFormat::kF8E4M3 || format == StorageFormat::kF8E4M3Block;
}

bool is_plain(StorageFormat format) {
  return storage_info(format).block_elements == 1 && !is_float8(format);
}

Result<uint64_t> storage_bytes(StorageFormat format, std::span<const int64_t> shape) {
  constexpr uint64_t kMaxElements = uint64_t{1} << 62;
  const StorageInfo& info = storage_info(format);
  uint64_t elements = 1;
  for (const int64_t dim : shape) {
    if (dim < 1) return error("dimension: found {}, expected at least 1", dim);
    if (elements > kMaxElements / static_cast<uint64_t>(dim)) {
      return error("dimensions multiply past 2^62 elements");
    }
    elements *= static_cast<uint64_t>(dim);
  }
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % info.block_elements != 0) {
    return error("row length: found {}, expected a multiple of {} ({} blocks)", row,
                 info.block_elements, info.name);
  }
  const uint64_t blocks = elements / info.block_elements;
  if (blocks > kMaxElements / info.block_bytes) return error("tensor is larger than 2^62 bytes");
  return blocks * info.block_bytes;
}

uint64_t stored_bytes(const StoredTensor& tensor) {
  if (!tensor.dummy) return tensor.bytes.size();
  const auto bytes = storage_bytes(tensor.format, tensor.shape);
  NEREID_CHECK(bytes.has_value(), "{}: {}", tensor.text(), bytes.error().message);
  return *bytes;
}

}  // namespace nereid
