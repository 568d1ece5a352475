// Device memory with an owner: freed when the Buffer goes away. The device must outlive it.
#pragma once

#include <cstdint>
#include <utility>

#include "src/device/device.h"

namespace nereid {

class Buffer {
 public:
  Buffer() = default;
  // `bytes` of uninitialised memory, aligned to 256. Fails when there is not enough.
  static Result<Buffer> create(Device& device, uint64_t bytes);
  ~Buffer() { reset(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      reset();
      swap(other);
    }
    return *this;
  }

  DevicePtr ptr() const { return ptr_; }
  uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return ptr_ != 0; }
  void reset();

 private:
  void swap(Buffer& other) {
    std::swap(device_, other.device_);
    std::swap(ptr_, other.ptr_);
    std::swap(bytes_, other.bytes_);
  }

  Device* device_ = nullptr;
  DevicePtr ptr_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace nereid
