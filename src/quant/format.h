// What the engine knows of each storage format: how it lies in memory at run time and what its
// bytes mean.
//
// A format is one row of a table in one of formats_*.cc. Adding one: a row in storage.cc, a row in
// a formats_*.cc, and a branch in the repack kernel (kernels/quant.py) only where the bytes are
// new.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "src/base/result.h"
#include "src/device/dtype.h"
#include "src/quant/storage.h"

namespace nereid::quant {

// The run-time layout of weights [n, k]: panels of 32 rows, words of 32 neighbouring rows side by
// side. kernels/quant.py says which bits are where; value = scale * (code - zero) + min. e4m3 codes
// have their scales as kernels/linear_f8.py says: f32 [ceil(n / scale_rows), ceil(k / group)].
inline constexpr int64_t kPanelRows = 32;
inline constexpr int32_t kScaleBlock = 128;  // rows and columns of a block with one scale

struct PlaneFormat {
  int32_t bits = 0;               // of a code: 4, 8, 16 or 32
  DType code_dtype = DType::kU8;  // u8, i8, f8e4m3, or the element type of an unquantised weight
  int32_t zero = 0;               // subtracted from a code
  int32_t group = 0;  // columns that share a scale; 0: unquantised, or e4m3 codes: all of them
  DType scale_dtype = DType::kF32;  // of scales and mins
  bool has_min = false;
  int32_t scale_rows = 0;  // e4m3 codes: rows that share a scale

  bool is_float8() const { return code_dtype == DType::kF8E4M3; }
  bool has_integer_codes() const { return code_dtype == DType::kU8 || code_dtype == DType::kI8; }
  bool operator==(const PlaneFormat&) const = default;
};

struct PlaneBytes {
  uint64_t codes = 0, scales = 0, mins = 0;  // 0: no such plane
};

struct QuantFormat {
  StorageFormat storage;
  PlaneFormat planes;
  // Exact values of `blocks` whole blocks; `out` holds blocks * block_elements floats. For tests
  // and for checking kernels: the engine itself never dequantises on the host.
  void (*dequantise)(const std::byte* stored, int64_t blocks, float* out);
  // Whether every scale (quantised) or element (unquantised) is a finite number.
  bool (*is_finite)(const std::byte* stored, int64_t blocks);
};

const QuantFormat& quant_format(StorageFormat storage);

PlaneFormat plane_format(StorageFormat storage);
// As `target` wants them: where it multiplies signed bytes by unsigned ones, Q8_0 has the latter.
PlaneFormat plane_format(StorageFormat storage, std::string_view target);

// Sizes for a weight of n output rows and k columns, rounded up to whole panels.
PlaneBytes plane_bytes(const PlaneFormat& format, int64_t n, int64_t k);

// Shape of the scales of e4m3 codes.
int64_t float8_scale_rows(const PlaneFormat& format, int64_t n);
int64_t float8_scale_columns(const PlaneFormat& format, int64_t k);

// The values of a stored tensor, row-major. `out` has as many elements as the shape.
void dequantise(const StoredTensor& tensor, std::span<float> out);

// Rows, counted from the outermost dimension inwards; a vector is one row.
struct StoredRows {
  int64_t rows = 0;
  int64_t columns = 0;
  uint64_t row_bytes = 0;
};
StoredRows stored_rows(const StoredTensor& tensor);

// An error names the first row of [first, first + count) with a NaN or infinite scale or element.
Status check_finite(const StoredTensor& tensor, int64_t first, int64_t count);

}  // namespace nereid::quant
