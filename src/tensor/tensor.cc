// Bounds and strides of views.
#include "src/tensor/tensor.h"

#include <algorithm>
#include <limits>

#include "src/base/check.h"

namespace nereid {

Result<Buffer> Buffer::alloc(Device& device, uint64_t bytes) {
  NEREID_TRY(const DevicePtr pointer, device.alloc(bytes));
  return Buffer(&device, pointer, bytes);
}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      pointer_(std::exchange(other.pointer_, 0)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(pointer_, other.pointer_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (device_ != nullptr) device_->free(pointer_);
}

Shape::Shape(std::initializer_list<int64_t> dims)
    : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  NEREID_CHECK(dims.size() <= kMaxRank, "rank {}", dims.size());
  std::ranges::copy(dims, dims_.begin());
  int64_t left = std::numeric_limits<int64_t>::max();
  for (const int64_t dim : dims) {
    NEREID_CHECK(dim >= 0, "dimension {} of {}", dim, text());
    NEREID_CHECK(dim <= left, "{} has too many elements", text());
    left /= std::max<int64_t>(dim, 1);
  }
}

int64_t Shape::operator[](int dim) const {
  const int at = dim < 0 ? rank_ + dim : dim;
  NEREID_CHECK(at >= 0 && at < rank_, "dimension {} of {}", dim, text());
  return dims_[static_cast<size_t>(at)];
}

int64_t Shape::elements() const {
  int64_t count = 1;
  for (int at = 0; at < rank_; ++at) count *= dims_[static_cast<size_t>(at)];
  return count;
}

int64_t Shape::row_elements() const {
  int64_t count = 1;
  for (int at = 1; at < rank_; ++at) count *= dims_[static_cast<size_t>(at)];
  return count;
}

std::string Shape::text() const {
  return fmt::format("[{}]", fmt::join(dims_.begin(), dims_.begin() + rank_, ", "));
}

Tensor::Tensor(DType dtype, Shape shape, DevicePtr pointer, int64_t row_stride)
    : dtype_(dtype), shape_(shape), pointer_(pointer), row_stride_(row_stride) {
  if (row_stride_ == 0) row_stride_ = shape_.row_elements();
  NEREID_CHECK(row_stride_ >= shape_.row_elements(), "row stride {} of {}", row_stride_, text());
}

uint64_t Tensor::bytes() const {
  if (shape_.elements() == 0) return 0;
  const int64_t rows = shape_.rank() == 0 ? 1 : shape_[0];
  const int64_t span = (rows - 1) * row_stride_ + shape_.row_elements();
  return static_cast<uint64_t>(span) * dtype_size(dtype_);
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  NEREID_CHECK(shape_.rank() >= 1 && begin >= 0 && count >= 0 && count <= shape_[0] - begin,
               "rows {} + {} of {}", begin, count, text());
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int at = 0; at < shape_.rank(); ++at) dims[static_cast<size_t>(at)] = shape_[at];
  dims[0] = count;
  const uint64_t offset = static_cast<uint64_t>(begin * row_stride_) * dtype_size(dtype_);
  return Tensor(dtype_, Shape(std::span(dims).first(static_cast<size_t>(shape_.rank()))),
                pointer_ + offset, row_stride_);
}

Tensor Tensor::columns(int64_t begin, int64_t count) const {
  NEREID_CHECK(shape_.rank() == 2 && begin >= 0 && count >= 0 && count <= shape_[1] - begin,
               "columns {} + {} of {}", begin, count, text());
  const uint64_t offset = static_cast<uint64_t>(begin) * dtype_size(dtype_);
  return Tensor(dtype_, {shape_[0], count}, pointer_ + offset, row_stride_);
}

Tensor Tensor::reshape(Shape shape) const {
  NEREID_CHECK(dense() && shape.elements() == shape_.elements(), "{} as {}", text(), shape.text());
  return Tensor(dtype_, shape, pointer_);
}

std::string Tensor::text() const {
  return fmt::format("{} {}", dtype_name(dtype_), shape_.text());
}

Result<OwnedTensor> OwnedTensor::alloc(Device& device, DType dtype, const Shape& shape) {
  const auto elements = static_cast<uint64_t>(shape.elements());
  if (elements > std::numeric_limits<uint64_t>::max() / dtype_size(dtype)) {
    return error("{} of {} does not fit in memory", shape.text(), dtype_name(dtype));
  }
  OwnedTensor owned;
  NEREID_TRY_CONTEXT(owned.buffer, Buffer::alloc(device, elements * dtype_size(dtype)),
                     shape.text());
  owned.tensor = Tensor(dtype, shape, owned.buffer.ptr());
  return owned;
}

Status upload(Device& device, const Tensor& tensor, std::span<const std::byte> values) {
  NEREID_CHECK(tensor.dense() && values.size() == tensor.bytes(), "{} bytes to {}", values.size(),
               tensor.text());
  return device.upload(tensor.ptr(), values);
}

Status download(Device& device, std::span<std::byte> values, const Tensor& tensor) {
  NEREID_CHECK(tensor.dense() && values.size() == tensor.bytes(), "{} bytes from {}", values.size(),
               tensor.text());
  return device.download(values, tensor.ptr());
}

}  // namespace nereid
