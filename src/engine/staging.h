// The integers and parameters of a step on their way to the device: collected on the host, sent in
// one copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "src/base/check.h"
#include "src/base/result.h"
#include "src/device/device.h"
#include "src/tensor/tensor.h"

namespace nereid {

class Staging {
 public:
  static Result<Staging> create(Device& device, uint64_t capacity) {
    Staging staging;
    NEREID_TRY(staging.buffer_, Buffer::alloc(device, capacity));
    staging.host_.reserve(capacity);
    staging.device_ = &device;
    return staging;
  }

  // Bytes that `count` elements take here: sections start at 64-byte borders.
  static constexpr uint64_t section_bytes(uint64_t count, uint64_t element_bytes) {
    return (count * element_bytes + 63) / 64 * 64;
  }

  void clear() { host_.clear(); }

  // Room for `count` elements: where to write them on the host, and the view of them once uploaded.
  template <typename T>
  struct Section {
    std::span<T> host;  // zeros; valid until the next call
    Tensor tensor;      // [count]
  };
  template <typename T>
  Section<T> add(DType dtype, size_t count) {
    const size_t at = host_.size(), end = at + section_bytes(count, sizeof(T));
    NEREID_CHECK(end <= host_.capacity(), "{} of {} staging bytes", end, host_.capacity());
    host_.resize(end);
    return {std::span(reinterpret_cast<T*>(host_.data() + at), count),
            Tensor(dtype, {static_cast<int64_t>(count)}, buffer_.ptr() + at)};
  }
  template <typename T>
  Tensor add(DType dtype, std::span<const T> values) {
    const Section<T> section = add<T>(dtype, values.size());
    std::ranges::copy(values, section.host.begin());
    return section.tensor;
  }

  const Buffer& buffer() const { return buffer_; }

  // Sends everything since clear().
  Status upload() {
    if (host_.empty()) return {};
    return device_->upload(buffer_.ptr(), host_);
  }

 private:
  Device* device_ = nullptr;
  Buffer buffer_;
  std::vector<std::byte> host_;  // never grows past its first capacity
};

}  // namespace nereid
