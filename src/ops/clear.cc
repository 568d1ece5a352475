// See clear.h.
#include "src/ops/clear.h"

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::ops {

Status clear(Launcher& launcher, const Buffer& buffer) {
  NEREID_CHECK(buffer.bytes() % sizeof(float) == 0, "found {} bytes", buffer.bytes());
  return launcher.launch<kernels::Fill>(
      {.dtype = DType::kF32}, {.out = buffer.ptr(),
                               .count = static_cast<int64_t>(buffer.bytes() / sizeof(float)),
                               .value = 0});
}

}  // namespace nereid::ops
