// Bounds-checked parsing of GGUF versions 2 and 3; see gguf_reader.h.
#include "src/weights/gguf_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>

#include "src/base/json.h"
#include "src/weights/byte_cursor.h"

namespace nereid::gguf {
namespace {

constexpr uint64_t kMaxKeys = 65536;
constexpr uint64_t kMaxTensors = 262144;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxTensorNameBytes = 255;
constexpr uint32_t kMaxDims = 4;
constexpr uint32_t kMaxAlignment = 65536;
constexpr int kMaxArrayDepth = 4;
constexpr uint32_t kDefaultAlignment = 32;

struct TypeRow {
  std::string_view name;
  uint32_t bytes;  // 0: variable
};
constexpr std::array<TypeRow, 13> kTypes = {{{"u8", 1},
                                             {"i8", 1},
                                             {"u16", 2},
                                             {"i16", 2},
                                             {"u32", 4},
                                             {"i32", 4},
                                             {"f32", 4},
                                             {"bool", 1},
                                             {"string", 0},
                                             {"array", 0},
                                             {"u64", 8},
                                             {"i64", 8},
                                             {"f64", 8}}};

Result<ValueType> read_type(ByteCursor& cursor) {
  NEREID_TRY(const auto type, cursor.read<uint32_t>("value type"));
  if (type >= kTypes.size()) {
    return error("value type: found {}, expected 0 to {}", type, kTypes.size() - 1);
  }
  return static_cast<ValueType>(type);
}

Result<std::string_view> read_string(ByteCursor& cursor, std::string_view what) {
  NEREID_TRY(const auto length, cursor.read<uint64_t>(what));
  NEREID_TRY(const auto bytes, cursor.take(length, what));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<Array> read_array(ByteCursor& cursor, int depth) {
  if (depth > kMaxArrayDepth) {
    return error("arrays nested deeper than {}", kMaxArrayDepth);
  }
  Array array;
  NEREID_TRY(array.element, read_type(cursor));
  NEREID_TRY(array.count, cursor.read<uint64_t>("array length"));
  const uint64_t begin = cursor.position();
  const uint32_t element_bytes = kTypes[static_cast<size_t>(array.element)].bytes;
  // Strings take at least 8 bytes each and arrays 12: a length the file cannot hold fails at once.
  const uint64_t least = element_bytes != 0 ? element_bytes : 8;
  if (array.count > cursor.remaining() / least) {
    return error("array: found {} elements of type {}, but only {} bytes follow", array.count,
                 value_type_name(array.element), cursor.remaining());
  }
  if (element_bytes != 0) {
    NEREID_TRY(array.bytes, cursor.take(array.count * element_bytes, "array"));
    return array;
  }
  for (uint64_t index = 0; index < array.count; ++index) {
    if (array.element == ValueType::kString) {
      NEREID_RETURN_IF_ERROR(read_string(cursor, "array element"));
    } else {
      NEREID_RETURN_IF_ERROR(read_array(cursor, depth + 1));
    }
  }
  array.bytes = cursor.since(begin);
  return array;
}

template <typename Stored, typename Wide>
Result<Value> read_number(ByteCursor& cursor, ValueType type) {
  NEREID_TRY(const auto number, cursor.read<Stored>("value"));
  return Value{type, static_cast<Wide>(number)};
}

Result<Value> read_value(ByteCursor& cursor) {
  NEREID_TRY(const ValueType type, read_type(cursor));
  switch (type) {
    case ValueType::kU8:
      return read_number<uint8_t, uint64_t>(cursor, type);
    case ValueType::kI8:
      return read_number<int8_t, int64_t>(cursor, type);
    case ValueType::kU16:
      return read_number<uint16_t, uint64_t>(cursor, type);
    case ValueType::kI16:
      return read_number<int16_t, int64_t>(cursor, type);
    case ValueType::kU32:
      return read_number<uint32_t, uint64_t>(cursor, type);
    case ValueType::kI32:
      return read_number<int32_t, int64_t>(cursor, type);
    case ValueType::kF32:
      return read_number<float, double>(cursor, type);
    case ValueType::kU64:
      return read_number<uint64_t, uint64_t>(cursor, type);
    case ValueType::kI64:
      return read_number<int64_t, int64_t>(cursor, type);
    case ValueType::kF64:
      return read_number<double, double>(cursor, type);
    case ValueType::kBool: {
      NEREID_TRY(const auto flag, cursor.read<uint8_t>("value"));
      if (flag > 1) return error("bool: found {}, expected 0 or 1", flag);
      return Value{type, flag == 1};
    }
    case ValueType::kString: {
      NEREID_TRY(const auto text, read_string(cursor, "string"));
      return Value{type, text};
    }
    case ValueType::kArray: {
      NEREID_TRY(const auto array, read_array(cursor, 1));
      return Value{type, array};
    }
  }
  return error("value type: found {}", static_cast<uint32_t>(type));
}

Status read_metadata(ByteCursor& cursor, uint64_t count, File& file) {
  std::unordered_set<std::string_view> seen;
  for (uint64_t index = 0; index < count; ++index) {
    const std::string context = fmt::format("metadata entry {} of {}", index + 1, count);
    KeyValue entry;
    NEREID_TRY_CONTEXT(entry.key, read_string(cursor, "key"), context);
    if (entry.key.empty() || entry.key.size() > kMaxKeyBytes) {
      return error("{}: key: found {} bytes, expected 1 to {}", context, entry.key.size(),
                   kMaxKeyBytes);
    }
    NEREID_TRY_CONTEXT(entry.value, read_value(cursor),
                       fmt::format("key '{}'", printable(entry.key)));
    if (!seen.insert(entry.key).second) {
      return error("key '{}' occurs twice", printable(entry.key));
    }
    file.metadata.push_back(entry);
  }
  return {};
}

Status read_alignment(File& file) {
  file.alignment = kDefaultAlignment;
  const Value* value = file.find("general.alignment");
  if (value == nullptr) return {};
  const auto* alignment = std::get_if<uint64_t>(&value->value);
  if (value->type != ValueType::kU32 || alignment == nullptr) {
    return error("key 'general.alignment': found type {}, expected u32",
                 value_type_name(value->type));
  }
  if (*alignment < 8 || *alignment > kMaxAlignment || !std::has_single_bit(*alignment)) {
    return error("key 'general.alignment': found {}, expected a power of two from 8 to {}",
                 *alignment, kMaxAlignment);
  }
  file.alignment = static_cast<uint32_t>(*alignment);
  return {};
}

struct Placement {
  uint64_t offset;  // from the start of the tensor data
  uint64_t bytes;
};

// `entry`: what to call the tensor as long as its name is not known.
Result<Tensor> read_tensor_info(ByteCursor& cursor, const std::string& entry, uint32_t alignment,
                                Placement& place) {
  Tensor tensor;
  NEREID_TRY_CONTEXT(tensor.name, read_string(cursor, "name"), entry);
  if (tensor.name.empty() || tensor.name.size() > kMaxTensorNameBytes) {
    return error("{}: name: found {} bytes, expected 1 to {}", entry, tensor.name.size(),
                 kMaxTensorNameBytes);
  }
  const std::string context = fmt::format("tensor '{}'", printable(tensor.name));
  NEREID_TRY_CONTEXT(const auto num_dims, cursor.read<uint32_t>("dimension count"), context);
  if (num_dims < 1 || num_dims > kMaxDims) {
    return error("{}: found {} dimensions, expected 1 to {}", context, num_dims, kMaxDims);
  }
  for (uint32_t axis = 0; axis < num_dims; ++axis) {
    NEREID_TRY_CONTEXT(const auto dim, cursor.read<uint64_t>("dimension"), context);
    if (dim < 1 || dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return error("{}: dimension {}: found {}, expected 1 to 2^63 - 1", context, axis, dim);
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
  }
  NEREID_TRY_CONTEXT(const auto type, cursor.read<uint32_t>("tensor type"), context);
  const std::optional<StorageFormat> format = storage_from_gguf(type);
  if (!format) {
    std::string known;
    for (int index = 0; index < kNumStorageFormats; ++index) {
      const StorageInfo& info = storage_info(static_cast<StorageFormat>(index));
      if (info.gguf_type == kNoGgufType) continue;
      known += fmt::format("{}{} ({})", index == 0 ? "" : ", ", info.gguf_type, info.name);
    }
    return error("{}: found storage type {}, expected one of {}", context, type, known);
  }
  tensor.format = *format;
  NEREID_TRY_CONTEXT(place.bytes, storage_bytes(*format, tensor.shape), context);
  NEREID_TRY_CONTEXT(place.offset, cursor.read<uint64_t>("tensor offset"), context);
  if (place.offset % alignment != 0) {
    return error("{}: offset: found {}, expected a multiple of {}", context, place.offset,
                 alignment);
  }
  return tensor;
}

// Tensors must lie in the data section without sharing a byte.
Status place_tensors(std::span<const std::byte> data, std::span<const Placement> places,
                     std::vector<Tensor>& tensors) {
  std::vector<size_t> order(tensors.size());
  for (size_t index = 0; index < tensors.size(); ++index) {
    const auto& [offset, bytes] = places[index];
    if (offset > data.size() || bytes > data.size() - offset) {
      return error("tensor '{}': found {} bytes at offset {}, but the file holds {} bytes of data",
                   printable(tensors[index].name), bytes, offset, data.size());
    }
    tensors[index].bytes = data.subspan(offset, bytes);
    order[index] = index;
  }
  std::ranges::sort(order, {}, [&](size_t index) { return places[index].offset; });
  for (size_t rank = 1; rank < order.size(); ++rank) {
    const Placement& before = places[order[rank - 1]];
    if (before.offset + before.bytes > places[order[rank]].offset) {
      return error("tensors '{}' and '{}' overlap in the file",
                   printable(tensors[order[rank - 1]].name), printable(tensors[order[rank]].name));
    }
  }
  return {};
}

Status read_tensors(ByteCursor& cursor, uint64_t count, File& file) {
  std::unordered_set<std::string_view> seen;
  std::vector<Placement> places;
  for (uint64_t index = 0; index < count; ++index) {
    Placement place{};
    const std::string entry = fmt::format("tensor {} of {}", index + 1, count);
    NEREID_TRY(auto tensor, read_tensor_info(cursor, entry, file.alignment, place));
    if (!seen.insert(tensor.name).second) {
      return error("tensor '{}' occurs twice", printable(tensor.name));
    }
    file.tensors.push_back(std::move(tensor));
    places.push_back(place);
  }
  const std::span<const std::byte> all = cursor.all();
  const uint64_t data_begin =
      (cursor.position() + file.alignment - 1) / file.alignment * file.alignment;
  const auto data = data_begin <= all.size() ? all.subspan(data_begin) : all.last(0);
  return place_tensors(data, places, file.tensors);
}

Status read_header(ByteCursor& cursor, uint32_t& version) {
  NEREID_TRY(const auto magic, cursor.take(4, "magic"));
  const std::string_view found(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (found != "GGUF") return error("magic: found '{}', expected 'GGUF'", printable(found));
  NEREID_TRY(version, cursor.read<uint32_t>("version"));
  if (version == 2 || version == 3) return {};
  if (std::byteswap(version) == 2 || std::byteswap(version) == 3) {
    return error("version: found a big-endian file, expected a little-endian one");
  }
  return error("version: found {}, expected 2 or 3", version);
}

}  // namespace

std::string_view value_type_name(ValueType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

const Value* File::find(std::string_view key) const {
  for (const KeyValue& entry : metadata) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

Result<File> parse(std::span<const std::byte> bytes) {
  ByteCursor cursor(bytes);
  File file;
  NEREID_RETURN_IF_ERROR(read_header(cursor, file.version));
  NEREID_TRY(const auto num_tensors, cursor.read<uint64_t>("tensor count"));
  NEREID_TRY(const auto num_keys, cursor.read<uint64_t>("metadata count"));
  if (num_tensors > kMaxTensors) {
    return error("tensor count: found {}, expected at most {}", num_tensors, kMaxTensors);
  }
  if (num_keys > kMaxKeys) {
    return error("metadata count: found {}, expected at most {}", num_keys, kMaxKeys);
  }
  NEREID_RETURN_IF_ERROR(read_metadata(cursor, num_keys, file));
  NEREID_RETURN_IF_ERROR(read_alignment(file));
  NEREID_RETURN_IF_ERROR(read_tensors(cursor, num_tensors, file));
  return file;
}

Result<std::vector<std::string>> string_array(const Array& array) {
  if (array.element != ValueType::kString) {
    return error("found an array of {}, expected one of string", value_type_name(array.element));
  }
  std::vector<std::string> out;
  out.reserve(array.count);
  ByteCursor cursor(array.bytes);
  for (uint64_t index = 0; index < array.count; ++index) {
    NEREID_TRY(const auto text, read_string(cursor, "array element"));
    out.emplace_back(text);
  }
  return out;
}

Result<std::vector<float>> f32_array(const Array& array) {
  if (array.element != ValueType::kF32) {
    return error("found an array of {}, expected one of f32", value_type_name(array.element));
  }
  std::vector<float> out(array.count);
  if (!out.empty()) std::memcpy(out.data(), array.bytes.data(), array.bytes.size());
  return out;
}

Result<std::vector<int32_t>> i32_array(const Array& array) {
  if (array.element != ValueType::kI32 && array.element != ValueType::kU32) {
    return error("found an array of {}, expected one of i32", value_type_name(array.element));
  }
  std::vector<int32_t> out(array.count);
  if (!out.empty()) std::memcpy(out.data(), array.bytes.data(), array.bytes.size());
  return out;
}

}  // namespace nereid::gguf
