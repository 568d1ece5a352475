// A view of device memory with a dtype and a shape: what operators take. Owns nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "src/device/device.h"
#include "src/device/dtype.h"

namespace nereid {

// Row-major, at most four dimensions, dense except that a matrix may be a column slice of a wider one
// (row_stride > columns).
class Tensor {
 public:
  static constexpr int kMaxRank = 4;

  Tensor() = default;
  Tensor(DevicePtr ptr, DType dtype, std::initializer_list<int64_t> shape);

  DevicePtr ptr() const { return ptr_; }
  DType dtype() const { return dtype_; }
  int rank() const { return rank_; }
  int64_t dim(int index) const;
  int64_t num_elements() const;
  int64_t row_stride() const { return row_stride_; }  // elements between rows of the last dimension
  bool empty() const { return ptr_ == 0; }

  // Rows [first, first + count) of the outermost dimension.
  Tensor rows(int64_t first, int64_t count) const;
  // Columns [first, first + count) of a matrix.
  Tensor columns(int64_t first, int64_t count) const;

  std::string describe() const;  // "bf16[12, 576]"

 private:
  DevicePtr ptr_ = 0;
  DType dtype_ = DType::kF32;
  int rank_ = 0;
  std::array<int64_t, kMaxRank> shape_{};
  int64_t row_stride_ = 0;
};

}  // namespace nereid
