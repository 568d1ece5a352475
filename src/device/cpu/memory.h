// Memory of the cpu driver: 256-byte aligned blocks, huge pages for large ones.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "src/base/result.h"

namespace nereid {

// Bytes that this process may use at most (machine or cgroup limit) and that are free now.
struct MemoryStatus {
  uint64_t total = 0, available = 0;
};
MemoryStatus memory_status();

// Not thread safe. Blocks that are still held are freed with it.
class CpuMemory {
 public:
  CpuMemory() = default;
  CpuMemory(const CpuMemory&) = delete;
  CpuMemory& operator=(const CpuMemory&) = delete;
  ~CpuMemory();

  Result<void*> alloc(uint64_t bytes);
  void free(void* pointer);  // must come from alloc

 private:
  struct Block {
    uint64_t bytes = 0;
    bool mapped = false;  // by mmap rather than from the heap
  };
  static void release(void* pointer, const Block& block);

  std::unordered_map<void*, Block> blocks_;
};

}  // namespace nereid
