// Memory of the cpu driver: 256-byte aligned blocks on huge pages.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "src/base/result.h"
#include "src/device/cpu/huge_regions.h"

namespace nereid {

// Bytes that this process may use at most (machine or cgroup limit) and that are free now.
struct MemoryStatus {
  uint64_t total = 0, available = 0;
};
MemoryStatus memory_status();

// What the system says: bytes.
struct MemoryReadings {
  uint64_t machine_total = 0, machine_available = 0;
  // Of the cgroup; without a limit its maximum value. `cgroup_files` is page cache, a part of
  // `cgroup_used` that the kernel gives up when memory is asked for.
  uint64_t cgroup_limit = 0, cgroup_used = 0, cgroup_files = 0;
};
MemoryStatus memory_status(const MemoryReadings& readings);

// What can still be given out. `reserved`: bytes given out before. `resident`: memory that this
// process has written to, which `available` no longer has. Blocks not written to yet are still
// in `available`, and must not be promised twice.
uint64_t unpromised(uint64_t available, uint64_t reserved, uint64_t resident);

// Not thread safe. Blocks that are still held are freed with it.
class CpuMemory {
 public:
  CpuMemory() = default;
  CpuMemory(const CpuMemory&) = delete;
  CpuMemory& operator=(const CpuMemory&) = delete;
  ~CpuMemory();

  Result<void*> alloc(uint64_t bytes);
  void free(void* pointer);  // must come from alloc
  uint64_t free_bytes() const;

  // Bytes of the block that starts there; 0 if none does.
  uint64_t size_of(void* pointer) const;

 private:
  struct Block {
    uint64_t bytes = 0;
    bool mapped = false;  // on its own rather than in a region
  };
  void release(void* pointer, const Block& block);

  HugeRegions regions_;
  std::unordered_map<void*, Block> blocks_;
  uint64_t reserved_ = 0;  // bytes of all blocks
};

}  // namespace nereid
