// Bounds-checked parsing of one safetensors file; see safetensors_reader.h.
#include "src/weights/safetensors_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "src/base/json.h"
#include "src/weights/byte_cursor.h"

namespace nereid::safetensors {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr int kMaxHeaderDepth = 4;
constexpr size_t kMaxDims = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

struct Range {
  uint64_t begin, end;  // in the data section
};

const json* member(const json& object, std::string_view key) {
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

Result<uint64_t> unsigned_integer(const json& value, std::string_view what) {
  if (!value.is_number_unsigned()) {
    return error("{}: found {}, expected a whole number from 0", what, describe_json(value));
  }
  return value.get<uint64_t>();
}

Result<std::vector<int64_t>> read_shape(const json& entry) {
  const json* shape = member(entry, "shape");
  if (shape == nullptr || !shape->is_array() || shape->size() > kMaxDims) {
    return error("shape: found {}, expected an array of up to {} numbers",
                 shape == nullptr ? "nothing" : describe_json(*shape), kMaxDims);
  }
  std::vector<int64_t> out;
  for (const json& dim : *shape) {
    NEREID_TRY(const uint64_t value, unsigned_integer(dim, "shape"));
    if (value > static_cast<uint64_t>(INT64_MAX)) {
      return error("shape: found {}, expected at most 2^63 - 1", value);
    }
    out.push_back(static_cast<int64_t>(value));
  }
  return out;
}

Result<Range> read_range(const json& entry, uint64_t data_bytes) {
  const json* offsets = member(entry, "data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2) {
    return error("data_offsets: found {}, expected an array of two numbers",
                 offsets == nullptr ? "nothing" : describe_json(*offsets));
  }
  NEREID_TRY(const uint64_t begin, unsigned_integer((*offsets)[0], "data_offsets"));
  NEREID_TRY(const uint64_t end, unsigned_integer((*offsets)[1], "data_offsets"));
  if (begin > end || end > data_bytes) {
    return error("data_offsets: found [{}, {}], expected a range within the {} bytes of data",
                 begin, end, data_bytes);
  }
  return Range{begin, end};
}

Result<StorageFormat> read_dtype(const json& entry) {
  const json* dtype = member(entry, "dtype");
  if (dtype != nullptr && dtype->is_string()) {
    const auto format = storage_from_safetensors(dtype->get_ref<const std::string&>());
    if (format) return *format;
  }
  return error("dtype: found {}, expected F32, F16, BF16 or F8_E4M3",
               dtype == nullptr ? "nothing" : describe_json(*dtype));
}

Result<StoredTensor> read_tensor(const std::string& name, const json& entry, Range& range,
                                 std::span<const std::byte> data) {
  if (!entry.is_object()) return error("found {}, expected an object", describe_json(entry));
  StoredTensor tensor;
  tensor.name = name;
  NEREID_TRY(tensor.format, read_dtype(entry));
  NEREID_TRY(tensor.shape, read_shape(entry));
  NEREID_TRY(range, read_range(entry, data.size()));
  NEREID_TRY_CONTEXT(const uint64_t bytes, storage_bytes(tensor.format, tensor.shape), "shape");
  if (range.end - range.begin != bytes) {
    return error("data_offsets: found {} bytes, expected {} for its shape and dtype",
                 range.end - range.begin, bytes);
  }
  tensor.bytes = data.subspan(range.begin, bytes);
  return tensor;
}

Status check_metadata(const json& metadata) {
  if (!metadata.is_object()) {
    return error("{}: found {}, expected an object of strings", kMetadataKey,
                 describe_json(metadata));
  }
  for (const auto& [key, value] : metadata.items()) {
    if (value.is_string()) continue;
    return error("{}: '{}': found {}, expected a string", kMetadataKey, printable(key),
                 describe_json(value));
  }
  return {};
}

// Sorted by position, tensors must follow each other from the first byte to the last.
Status check_coverage(std::span<const StoredTensor> tensors, std::span<const Range> ranges,
                      uint64_t data_bytes) {
  std::vector<size_t> order(tensors.size());
  for (size_t index = 0; index < order.size(); ++index) order[index] = index;
  std::ranges::sort(order, {}, [&](size_t index) { return ranges[index].begin; });
  uint64_t covered = 0;
  for (const size_t index : order) {
    const auto [begin, end] = ranges[index];
    if (begin != covered) {
      return error("tensor '{}': data begins at {}, expected {}: {}",
                   printable(tensors[index].name), begin, covered,
                   begin < covered ? "it overlaps the tensor before it" : "there is a hole");
    }
    covered = end;
  }
  if (covered != data_bytes) {
    return error("found {} bytes of data, expected {}, the end of the last tensor", data_bytes,
                 covered);
  }
  return {};
}

Result<std::string_view> read_header(ByteCursor& cursor) {
  NEREID_TRY(const auto length, cursor.read<uint64_t>("header length"));
  if (length > kMaxHeaderBytes) {
    return error("header length: found {}, expected at most {}", length, kMaxHeaderBytes);
  }
  NEREID_TRY(const auto bytes, cursor.take(length, "header"));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace

Result<std::vector<StoredTensor>> parse(std::span<const std::byte> file) {
  ByteCursor cursor(file);
  NEREID_TRY(const auto text, read_header(cursor));
  NEREID_TRY_CONTEXT(const json header,
                     parse_json(text, {.max_bytes = kMaxHeaderBytes, .max_depth = kMaxHeaderDepth}),
                     "header");
  if (!header.is_object()) {
    return error("header: found {}, expected an object", describe_json(header));
  }
  const auto data = file.subspan(cursor.position());
  std::vector<StoredTensor> tensors;
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadataKey) {
      NEREID_RETURN_IF_ERROR(check_metadata(entry));
      continue;
    }
    Range range{};
    NEREID_TRY_CONTEXT(auto tensor, read_tensor(name, entry, range, data),
                       fmt::format("tensor '{}'", printable(name)));
    tensors.push_back(std::move(tensor));
    ranges.push_back(range);
  }
  NEREID_RETURN_IF_ERROR(check_coverage(tensors, ranges, data.size()));
  return tensors;
}

}  // namespace nereid::safetensors
