// Compiled kernels as the cpu driver gets them: shared objects in memory (docs/cpu-compiler.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/base/result.h"

namespace nereid {

// Runs programs [pid_begin, pid_end) of `grid`; pid = x + grid[0] * (y + grid[1] * z).
using CpuKernelFn = void (*)(const uint64_t* args, uint32_t pid_begin, uint32_t pid_end,
                             const uint32_t grid[3], void* scratch);

// What an object says of a kernel under the symbol "<entry>_info".
struct CpuKernelInfo {
  uint32_t abi_version, num_args;
  uint64_t scratch_bytes;
  uint32_t scratch_align, reserved;
};

class SharedObject {
 public:
  // The bytes are copied.
  static Result<std::unique_ptr<SharedObject>> load(std::span<const std::byte> bytes);
  ~SharedObject();
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  Result<CpuKernelFn> function(const std::string& entry) const;
  Result<CpuKernelInfo> info(const std::string& entry) const;

 private:
  explicit SharedObject(void* handle) : handle_(handle) {}

  void* handle_;
};

}  // namespace nereid
