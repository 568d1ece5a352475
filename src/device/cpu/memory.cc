// Blocks of shared regions, or mappings of their own for large ones, all on huge pages.
#include "src/device/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

#include "src/base/check.h"
#include "src/base/numbers.h"

namespace nereid {
namespace {

// From this size on the machine is asked whether it has the memory: the kernel promises more than
// there is.
constexpr uint64_t kCheckedBytes = uint64_t{1} << 20;

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

// A field of a file whose lines begin with a name and a number; 0 if there is none.
uint64_t field_in(const char* path, std::string_view name) {
  std::ifstream file(path);
  std::string field;
  std::string rest;
  uint64_t value = 0;
  while (file >> field >> value && std::getline(file, rest)) {
    if (field == name) return value;
  }
  return 0;
}

// Anonymous memory of this process that is there in fact.
uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  uint64_t shared = 0;  // of files, and shared memory
  if (!(file >> size >> resident >> shared)) return 0;
  return (resident - std::min(resident, shared)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

MemoryStatus memory_status() {
  constexpr const char* kMachine = "/proc/meminfo";
  constexpr const char* kGroup = "/sys/fs/cgroup/memory.stat";
  return memory_status(
      {.machine_total = field_in(kMachine, "MemTotal:") << 10,
       .machine_available = field_in(kMachine, "MemAvailable:") << 10,
       .cgroup_limit = number_in("/sys/fs/cgroup/memory.max"),
       .cgroup_used = number_in("/sys/fs/cgroup/memory.current"),
       .cgroup_files = field_in(kGroup, "inactive_file") + field_in(kGroup, "active_file")});
}

MemoryStatus memory_status(const MemoryReadings& readings) {
  MemoryStatus status{.total = readings.machine_total, .available = readings.machine_available};
  if (readings.cgroup_limit < status.total) {
    const uint64_t used =
        readings.cgroup_used - std::min(readings.cgroup_used, readings.cgroup_files);
    status.total = readings.cgroup_limit;
    status.available =
        std::min(status.available, readings.cgroup_limit - std::min(used, readings.cgroup_limit));
  }
  return status;
}

uint64_t unpromised(uint64_t available, uint64_t reserved, uint64_t resident) {
  const uint64_t untouched = reserved - std::min(reserved, resident);
  return available - std::min(available, untouched);
}

Result<void*> CpuMemory::alloc(uint64_t bytes) {
  if (bytes >= kCheckedBytes) {
    const MemoryStatus status = memory_status();
    const uint64_t left = unpromised(status.available, reserved_, resident_bytes());
    if (bytes > left) {
      return error("out of memory: {} wanted, {} of {} available", format_bytes(bytes),
                   format_bytes(left), format_bytes(status.total));
    }
  }
  void* pointer = nullptr;
  Block block{.mapped = bytes > HugeRegions::kMaxBlock};
  if (block.mapped) {
    block.bytes = round_up(bytes, static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
    NEREID_TRY(pointer, map_huge(block.bytes));
  } else {
    block.bytes = round_up(std::max<uint64_t>(bytes, 1), HugeRegions::kAlign);
    NEREID_TRY(pointer, regions_.alloc(block.bytes));
  }
  blocks_.emplace(pointer, block);
  reserved_ += block.bytes;
  return pointer;
}

uint64_t CpuMemory::free_bytes() const {
  return unpromised(memory_status().available, reserved_, resident_bytes());
}

void CpuMemory::release(void* pointer, const Block& block) {
  if (block.mapped) {
    ::munmap(pointer, block.bytes);
  } else {
    regions_.free(pointer, block.bytes);
  }
}

void CpuMemory::free(void* pointer) {
  const auto found = blocks_.find(pointer);
  NEREID_CHECK(found != blocks_.end(), "{} was not allocated here, or is free already", pointer);
  release(pointer, found->second);
  reserved_ -= found->second.bytes;
  blocks_.erase(found);
}

uint64_t CpuMemory::size_of(void* pointer) const {
  const auto found = blocks_.find(pointer);
  return found == blocks_.end() ? 0 : found->second.bytes;
}

CpuMemory::~CpuMemory() {
  for (const auto& [pointer, block] : blocks_) release(pointer, block);
}

}  // namespace nereid
