// Memory that frees itself, and typed views over device memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/device/device.h"
#include "src/device/dtype.h"

namespace nereid {

// Owns an allocation of a device, which must outlive it.
class Buffer {
 public:
  static Result<Buffer> alloc(Device& device, uint64_t bytes);

  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  DevicePtr ptr() const { return pointer_; }
  uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return device_ != nullptr; }

 private:
  Buffer(Device* device, DevicePtr pointer, uint64_t bytes)
      : device_(device), pointer_(pointer), bytes_(bytes) {}

  Device* device_ = nullptr;
  DevicePtr pointer_ = 0;
  uint64_t bytes_ = 0;
};

// Up to four dimensions, row-major. Dense except that "rows" (steps of the first dimension) may lie
// further apart than the rest needs, as columns cut out of a wider matrix do.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int dim) const;  // negative: from the end
  int64_t elements() const;
  int64_t row_elements() const;  // product of all dimensions but the first; 1 for rank 0
  std::string text() const;      // "[4, 576]"
  bool operator==(const Shape& other) const = default;

 private:
  std::array<int64_t, kMaxRank> dims_ = {};
  int rank_ = 0;
};

// A view: copying it copies no data, and it does not keep the memory alive.
class Tensor {
 public:
  Tensor() = default;  // empty: ptr() is 0
  // `row_stride` in elements; 0: dense.
  Tensor(DType dtype, Shape shape, DevicePtr pointer, int64_t row_stride = 0);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int at) const { return shape_[at]; }
  DevicePtr ptr() const { return pointer_; }
  explicit operator bool() const { return pointer_ != 0; }

  int64_t row_stride() const { return row_stride_; }  // elements between steps of dimension 0
  bool dense() const { return row_stride_ == shape_.row_elements(); }
  uint64_t bytes() const;  // from the first to the last element

  // Rows [begin, begin + count) of the first dimension.
  Tensor rows(int64_t begin, int64_t count) const;
  // Columns [begin, begin + count) of a rank-2 tensor; keeps the row stride.
  Tensor columns(int64_t begin, int64_t count) const;
  // The same dense elements under another shape.
  Tensor reshape(Shape shape) const;

  std::string text() const;  // "f32 [4, 576]"

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  DevicePtr pointer_ = 0;
  int64_t row_stride_ = 0;
};

// A buffer with a dense tensor over it.
struct OwnedTensor {
  Buffer buffer;
  Tensor tensor;

  static Result<OwnedTensor> alloc(Device& device, DType dtype, const Shape& shape);
};

// Typed copies of host data; `values` must have exactly the tensor's bytes, which must be dense.
Status upload(Device& device, const Tensor& tensor, std::span<const std::byte> values);
Status download(Device& device, std::span<std::byte> values, const Tensor& tensor);

// Small integers that steer a step.
template <typename T>
Status upload_values(Device& device, const Tensor& tensor, std::span<const T> values) {
  return upload(device, tensor, std::as_bytes(values));
}
template <typename T>
Result<std::vector<T>> download_values(Device& device, const Tensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.bytes() / sizeof(T)));
  NEREID_RETURN_IF_ERROR(download(device, std::as_writable_bytes(std::span(values)), tensor));
  return values;
}

}  // namespace nereid
