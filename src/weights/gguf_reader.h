// The GGUF container: metadata and the table of tensors, without any meaning given to them.
//
// Design goals:
//   - no byte outside the given span is read, whatever the file says;
//   - no allocation is larger than a small multiple of the bytes already seen;
//   - a message names the key or tensor, what was found and what was expected.
// Non-goals:
//   - big-endian files, version 1.
// Everything returned points into the span given to parse(); it must stay mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "src/base/result.h"
#include "src/quant/storage.h"

namespace nereid::gguf {

enum class ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
std::string_view value_type_name(ValueType type);  // "u32"

// Encoded elements, already checked to lie in the file. Read them with the functions below.
struct Array {
  ValueType element = ValueType::kU8;
  uint64_t count = 0;
  std::span<const std::byte> bytes;
};

struct Value {
  ValueType type = ValueType::kU8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, Array> value;
};

struct KeyValue {
  std::string_view key;
  Value value;
};

struct Tensor {
  std::string_view name;
  StorageFormat format = StorageFormat::kF32;
  std::vector<int64_t> shape;  // row-major, outermost first (the file has it innermost first)
  std::span<const std::byte> bytes;
};

struct File {
  uint32_t version = 0;
  uint32_t alignment = 32;
  std::vector<KeyValue> metadata;  // in file order, keys unique
  std::vector<Tensor> tensors;     // in file order, names unique, bytes disjoint

  const Value* find(std::string_view key) const;  // nullptr when absent
};

Result<File> parse(std::span<const std::byte> file);

// Elements of an array; errors say what the element type is and what was expected.
Result<std::vector<std::string>> string_array(const Array& array);
Result<std::vector<float>> f32_array(const Array& array);
Result<std::vector<int32_t>> i32_array(const Array& array);  // from i32 or u32

}  // namespace nereid::gguf
