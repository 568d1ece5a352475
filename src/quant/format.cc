// The table of formats and what follows from a row of it.
#include "src/quant/format.h"

#include <array>
#include <vector>

#include "src/base/check.h"
#include "src/device/target.h"
#include "src/quant/formats.h"

namespace nereid::quant {
namespace {

constexpr int64_t kColumnUnit = 32;

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// By StorageFormat.
std::array<QuantFormat, kNumStorageFormats> make_table() {
  std::array<QuantFormat, kNumStorageFormats> table{};
  std::array<bool, kNumStorageFormats> filled{};
  for (const auto formats : {unquantised_formats(), round_formats(), k_formats(), f8_formats()}) {
    for (const QuantFormat& format : formats) {
      const auto index = static_cast<size_t>(format.storage);
      NEREID_CHECK(!filled[index], "{} is declared twice", storage_info(format.storage).name);
      filled[index] = true;
      table[index] = format;
    }
  }
  for (size_t index = 0; index < filled.size(); ++index) {
    NEREID_CHECK(filled[index], "{} has no row",
                 storage_info(static_cast<StorageFormat>(index)).name);
  }
  return table;
}

}  // namespace

const QuantFormat& quant_format(StorageFormat storage) {
  static const std::array<QuantFormat, kNumStorageFormats> table = make_table();
  return table[static_cast<size_t>(storage)];
}

PlaneFormat plane_format(StorageFormat storage) {
  return quant_format(storage).planes;
}

PlaneFormat plane_format(StorageFormat storage, std::string_view target) {
  PlaneFormat format = plane_format(storage);
  if (storage == StorageFormat::kQ8_0 && target_wants_unsigned_codes(target)) {
    format.code_dtype = DType::kU8;
    format.zero = 128;
  }
  return format;
}

PlaneBytes plane_bytes(const PlaneFormat& format, int64_t n, int64_t k) {
  NEREID_CHECK(n > 0 && k > 0, "weight [{}, {}]", n, k);
  const auto rows = static_cast<uint64_t>(round_up(n, kPanelRows));
  const auto columns = static_cast<uint64_t>(round_up(k, kColumnUnit));
  PlaneBytes bytes;
  bytes.codes = rows * columns * static_cast<uint64_t>(format.bits) / 8;
  if (format.is_float8()) {
    bytes.scales = static_cast<uint64_t>(float8_scale_rows(format, n)) *
                   static_cast<uint64_t>(float8_scale_columns(format, k)) * sizeof(float);
    return bytes;
  }
  if (format.group == 0) return bytes;
  NEREID_CHECK(k % format.group == 0, "{} columns in groups of {}", k, format.group);
  bytes.scales = rows * static_cast<uint64_t>(k / format.group) * dtype_size(format.scale_dtype);
  if (format.has_min) bytes.mins = bytes.scales;
  return bytes;
}

int64_t float8_scale_rows(const PlaneFormat& format, int64_t n) {
  return (n + format.scale_rows - 1) / format.scale_rows;
}

int64_t float8_scale_columns(const PlaneFormat& format, int64_t k) {
  return format.group == 0 ? 1 : (k + format.group - 1) / format.group;
}

StoredRows stored_rows(const StoredTensor& tensor) {
  StoredRows result;
  result.columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  const StorageInfo& info = storage_info(tensor.format);
  result.row_bytes = static_cast<uint64_t>(result.columns) / info.block_elements * info.block_bytes;
  const uint64_t bytes = stored_bytes(tensor);
  NEREID_CHECK(result.row_bytes > 0 && bytes % result.row_bytes == 0, "{} bytes of rows of {}",
               bytes, result.row_bytes);
  result.rows = static_cast<int64_t>(bytes / result.row_bytes);
  return result;
}

namespace {

// Codes [n, k] times their scales.
void apply_scales(const StoredTensor& tensor, std::span<float> values) {
  const StoredScales& scales = tensor.scales;
  const auto scale_count = static_cast<size_t>(scales.rows * scales.columns);
  std::vector<float> scale(scale_count);
  quant_format(scales.format)
      .dequantise(scales.bytes.data(), static_cast<int64_t>(scale_count), scale.data());
  const int64_t columns = tensor.shape.back();
  const bool block = tensor.format == StorageFormat::kF8E4M3Block;
  for (size_t at = 0; at < values.size(); ++at) {
    const auto row = static_cast<int64_t>(at) / columns,
               column = static_cast<int64_t>(at) % columns;
    const int64_t scale_row = block ? row / kScaleBlock : scales.rows == 1 ? 0 : row;
    const int64_t scale_column = block ? column / kScaleBlock : 0;
    values[at] *= scale[static_cast<size_t>(scale_row * scales.columns + scale_column)];
  }
}

}  // namespace

void dequantise(const StoredTensor& tensor, std::span<float> out) {
  const StorageInfo& info = storage_info(tensor.format);
  const auto blocks = static_cast<int64_t>(tensor.bytes.size() / info.block_bytes);
  NEREID_CHECK(out.size() == static_cast<size_t>(blocks) * info.block_elements,
               "{} floats for {} blocks", out.size(), blocks);
  quant_format(tensor.format).dequantise(tensor.bytes.data(), blocks, out.data());
  if (is_float8(tensor.format)) apply_scales(tensor, out);
}

Status check_finite(const StoredTensor& tensor, int64_t first, int64_t count) {
  const StoredRows all = stored_rows(tensor);
  NEREID_CHECK(first >= 0 && count >= 0 && first + count <= all.rows, "rows {} + {} of {}", first,
               count, all.rows);
  const QuantFormat& format = quant_format(tensor.format);
  const auto row_blocks =
      static_cast<int64_t>(all.row_bytes / storage_info(tensor.format).block_bytes);
  const std::byte* begin = tensor.bytes.data() + static_cast<uint64_t>(first) * all.row_bytes;
  if (format.is_finite(begin, count * row_blocks)) return {};
  for (int64_t row = first; row < first + count; ++row, begin += all.row_bytes) {
    if (!format.is_finite(begin, row_blocks)) {
      return error("row {}: found a NaN or infinite {}, expected finite numbers", row,
                   format.planes.has_integer_codes() ? "scale" : "element");
    }
  }
  return {};
}

}  // namespace nereid::quant

namespace nereid {

Status TensorPages::check(const StoredTensor& tensor, int64_t first, int64_t count) const {
  return quant::check_finite(tensor, first, count);
}

}  // namespace nereid
