// Tensor: shape arithmetic.
#include "src/tensor/tensor.h"

#include "src/base/check.h"

namespace nereid {

Tensor::Tensor(DevicePtr ptr, DType dtype, std::initializer_list<int64_t> shape)
    : ptr_(ptr), dtype_(dtype) {
  NEREID_CHECK(shape.size() >= 1 && shape.size() <= kMaxRank, "rank {}", shape.size());
  for (int64_t extent : shape) {
    NEREID_CHECK(extent >= 0, "dimension {} is {}", rank_, extent);
    shape_[static_cast<size_t>(rank_++)] = extent;
  }
  row_stride_ = dim(rank_ - 1);
}

int64_t Tensor::dim(int index) const {
  NEREID_CHECK(index >= 0 && index < rank_, "dimension {} of rank {}", index, rank_);
  return shape_[static_cast<size_t>(index)];
}

int64_t Tensor::num_elements() const {
  int64_t count = rank_ == 0 ? 0 : 1;
  for (int index = 0; index < rank_; ++index) count *= dim(index);
  return count;
}

Tensor Tensor::rows(int64_t first, int64_t count) const {
  NEREID_CHECK(first >= 0 && count >= 0 && first + count <= dim(0), "rows [{}, {}) of {}", first,
               first + count, describe());
  int64_t elements_per_row = rank_ == 1 ? 1 : row_stride_;
  for (int index = 1; index + 1 < rank_; ++index) elements_per_row *= dim(index);
  Tensor view = *this;
  view.ptr_ += static_cast<uint64_t>(first * elements_per_row) * dtype_size(dtype_);
  view.shape_[0] = count;
  return view;
}

Tensor Tensor::columns(int64_t first, int64_t count) const {
  NEREID_CHECK(rank_ == 2 && first >= 0 && count >= 0 && first + count <= dim(1),
               "columns [{}, {}) of {}", first, first + count, describe());
  Tensor view = *this;
  view.ptr_ += static_cast<uint64_t>(first) * dtype_size(dtype_);
  view.shape_[1] = count;
  return view;
}

std::string Tensor::describe() const {
  std::string text{dtype_name(dtype_)};
  for (int index = 0; index < rank_; ++index) {
    text += (index == 0 ? "[" : ", ") + std::to_string(dim(index));
  }
  return text + "]";
}

}  // namespace nereid
