// How elements of a tensor are encoded in a model file: the one table of storage formats.
// Block formats are laid out as ggml lays them out; the meaning of their bytes is in the
// formats_*.cc.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid {

enum class StorageFormat : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kF8E4M3,       // codes; each row, or all of them, have a scale beside the tensor
  kF8E4M3Block,  // codes; each 128 rows and columns have one
};
inline constexpr int kNumStorageFormats = 13;
inline constexpr uint32_t kNoGgufType = UINT32_MAX;

struct StorageInfo {
  StorageFormat format;
  std::string_view name;    // "Q4_1"
  uint32_t block_elements;  // elements per block; 1 for plain element types
  uint32_t block_bytes;     // bytes per block
  uint32_t gguf_type;       // number of this format in a GGUF file; kNoGgufType: never in one
  std::string_view safetensors_name;  // "BF16"; empty: never in a safetensors file
};

const StorageInfo& storage_info(StorageFormat format);
std::optional<StorageFormat> storage_from_gguf(uint32_t gguf_type);
std::optional<StorageFormat> storage_named(std::string_view name);  // as in StorageInfo
std::optional<StorageFormat> storage_from_safetensors(std::string_view dtype);

// Bytes of a row-major tensor whose rows are whole blocks. Dimensions below 1, a last dimension
// that is no multiple of the block, and products past 2^62 are errors.
Result<uint64_t> storage_bytes(StorageFormat format, std::span<const int64_t> shape);

// e4m3 codes, whose tensors have StoredScales.
bool is_float8(StorageFormat format);
// Elements as they are, without scales: F32, F16, BF16.
bool is_plain(StorageFormat format);

// What e4m3 codes are multiplied with (the `weight_scale` or `weight_scale_inv` beside a weight).
struct StoredScales {
  StorageFormat format = StorageFormat::kF32;  // a plain one
  // [1, 1]: of the whole tensor; [n, 1]: of each row; [ceil(n / 128), ceil(k / 128)] with
  // kF8E4M3Block.
  int64_t rows = 0, columns = 0;
  std::span<const std::byte> bytes;  // in the mapped file
};

// A tensor as stored. Shapes are row-major, outermost first: a linear weight is [out, in].
struct StoredTensor {
  std::string name;  // canonical (Hugging Face) name: "model.layers.0.self_attn.q_proj.weight"
  StorageFormat format = StorageFormat::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // in the mapped file; empty where `dummy`
  std::string file_name;             // what the file calls it; empty: `name`
  bool dummy = false;                // no file holds it: see dummy_weight.h
  StoredScales scales;               // where is_float8(format), unless `dummy`

  // "tensor 'blk.0.attn_q.weight'", for messages to who knows the file.
  std::string text() const {
    return fmt::format("tensor '{}'", file_name.empty() ? name : file_name);
  }
};

// Bytes of the tensor in its format, whether or not a file holds them.
uint64_t stored_bytes(const StoredTensor& tensor);

// Whoever maps the files that stored tensors lie in.
class TensorPages {
 public:
  virtual ~TensorPages() = default;
  // Rows [first, first + count) are in memory, and all their scales (quantised) or elements are
  // finite numbers; an error names the first row where not.
  virtual Status check(const StoredTensor& tensor, int64_t first, int64_t count) const;
  // The pages of this tensor will not be read again soon (keeps resident memory flat while
  // loading).
  virtual void release(const StoredTensor& tensor) const = 0;
};

}  // namespace nereid
