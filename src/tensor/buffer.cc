// Buffer: allocation and release.
#include "src/tensor/buffer.h"

namespace nereid {

Result<Buffer> Buffer::create(Device& device, uint64_t bytes) {
  Buffer buffer;
  NEREID_TRY(buffer.ptr_, device.alloc(bytes));
  buffer.device_ = &device;
  buffer.bytes_ = bytes;
  return buffer;
}

void Buffer::reset() {
  if (ptr_ != 0) device_->free(ptr_);
  device_ = nullptr;
  ptr_ = 0;
  bytes_ = 0;
}

}  // namespace nereid
