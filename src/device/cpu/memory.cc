// Heap for small blocks; 2 MiB aligned mappings with huge pages for large ones.
#include "src/device/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

#include "src/base/check.h"
#include "src/base/numbers.h"

namespace nereid {
namespace {

constexpr uint64_t kAlign = 256;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
// Beyond this the machine is asked whether it has the memory: the kernel promises more than there
// is.
constexpr uint64_t kCheckedBytes = uint64_t{64} << 20;

uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// The first number in a file such as /sys/fs/cgroup/memory.max; the maximum if there is none.
uint64_t number_in(const char* path) {
  std::ifstream file(path);
  std::string text;
  uint64_t value = std::numeric_limits<uint64_t>::max();
  if (file >> text) std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

uint64_t meminfo(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string field;
  std::string rest;
  uint64_t kib = 0;
  while (file >> field >> kib && std::getline(file, rest)) {
    if (field == name + ":") return kib << 10;
  }
  return 0;
}

Result<void*> map_huge(uint64_t bytes) {
  const uint64_t reserved = bytes + kHugePage;
  void* mapped =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return error("out of memory: cannot map {}", format_bytes(bytes));
  // Cut off what lies before the first huge page and after the block.
  auto* raw = static_cast<std::byte*>(mapped);
  const auto start = reinterpret_cast<uint64_t>(raw);
  const uint64_t head = round_up(start, kHugePage) - start;
  if (head > 0) ::munmap(raw, head);
  if (head < kHugePage) ::munmap(raw + head + bytes, kHugePage - head);
  ::madvise(raw + head, bytes, MADV_HUGEPAGE);  // a wish
  return raw + head;
}

}  // namespace

MemoryStatus memory_status() {
  MemoryStatus status{.total = meminfo("MemTotal"), .available = meminfo("MemAvailable")};
  const uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
  if (limit < status.total) {
    const uint64_t used = std::min(number_in("/sys/fs/cgroup/memory.current"), limit);
    status.total = limit;
    status.available = std::min(status.available, limit - used);
  }
  return status;
}

Result<void*> CpuMemory::alloc(uint64_t bytes) {
  if (bytes >= kCheckedBytes) {
    const MemoryStatus status = memory_status();
    if (bytes > status.available) {
      return error("out of memory: {} wanted, {} of {} available", format_bytes(bytes),
                   format_bytes(status.available), format_bytes(status.total));
    }
  }
  void* pointer = nullptr;
  Block block{.bytes = round_up(std::max<uint64_t>(bytes, 1), kAlign),
              .mapped = bytes >= kHugePage};
  if (block.mapped) {
    block.bytes = round_up(bytes, static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
    NEREID_TRY(pointer, map_huge(block.bytes));
  } else {
    pointer = std::aligned_alloc(kAlign, block.bytes);
    if (pointer == nullptr) return error("out of memory: {} wanted", format_bytes(bytes));
  }
  blocks_.emplace(pointer, block);
  return pointer;
}

void CpuMemory::release(void* pointer, const Block& block) {
  if (block.mapped) {
    ::munmap(pointer, block.bytes);
  } else {
    std::free(pointer);
  }
}

void CpuMemory::free(void* pointer) {
  const auto found = blocks_.find(pointer);
  NEREID_CHECK(found != blocks_.end(), "{} was not allocated here, or is free already", pointer);
  release(pointer, found->second);
  blocks_.erase(found);
}

CpuMemory::~CpuMemory() {
  for (const auto& [pointer, block] : blocks_) release(pointer, block);
}

}  // namespace nereid
