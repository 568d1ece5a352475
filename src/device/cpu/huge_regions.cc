// First fit: models are loaded once, and what is freed early, such as staging, is refilled.
#include "src/device/cpu/huge_regions.h"

#include <sanitizer/asan_interface.h>  // without it what is said to it compiles to nothing
#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "src/base/check.h"
#include "src/base/numbers.h"

namespace nereid {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;

// Left behind each block, for the address sanitizer to watch.
constexpr uint64_t kGuard = HugeRegions::kAlign;

void unmap(std::byte* region) {
  ASAN_UNPOISON_MEMORY_REGION(region, HugeRegions::kRegionBytes);
  ::munmap(region, HugeRegions::kRegionBytes);
}

}  // namespace

Result<void*> map_huge(uint64_t bytes) {
  const uint64_t reserved = bytes + kHugePage;
  void* mapped =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return error("out of memory: cannot map {}", format_bytes(bytes));
  // Cut off what lies before the first huge page and after the block.
  auto* raw = static_cast<std::byte*>(mapped);
  const auto start = reinterpret_cast<uint64_t>(raw);
  const uint64_t head = (start + kHugePage - 1) / kHugePage * kHugePage - start;
  if (head > 0) ::munmap(raw, head);
  if (head < kHugePage) ::munmap(raw + head + bytes, kHugePage - head);
  ::madvise(raw + head, bytes, MADV_HUGEPAGE);  // a wish
  return raw + head;
}

Result<void*> HugeRegions::alloc(uint64_t bytes) {
  NEREID_CHECK(bytes > 0 && bytes % kAlign == 0 && bytes <= kMaxBlock, "a block of {} bytes",
               bytes);
  const uint64_t wanted = bytes + kGuard;
  void* block = nullptr;
  for (auto& [region, gaps] : regions_) {
    const auto gap =
        std::ranges::find_if(gaps, [&](const auto& entry) { return entry.second >= wanted; });
    if (gap == gaps.end()) continue;
    const auto [offset, size] = *gap;
    gaps.erase(gap);
    if (size > wanted) gaps.emplace(offset + wanted, size - wanted);
    block = region + offset;
    break;
  }
  if (block == nullptr) {
    NEREID_TRY(block, map_huge(kRegionBytes));
    ASAN_POISON_MEMORY_REGION(block, kRegionBytes);
    regions_[static_cast<std::byte*>(block)] = {{wanted, kRegionBytes - wanted}};
  }
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  return block;
}

void HugeRegions::free(void* pointer, uint64_t bytes) {
  auto* const address = static_cast<std::byte*>(pointer);
  auto region = regions_.upper_bound(address);
  NEREID_CHECK(region != regions_.begin(), "{} lies in no region", pointer);
  --region;
  auto offset = static_cast<uint64_t>(address - region->first);
  bytes += kGuard;
  NEREID_CHECK(offset + bytes <= kRegionBytes, "{} lies in no region", pointer);
  ASAN_POISON_MEMORY_REGION(pointer, bytes);
  Gaps& gaps = region->second;
  auto after = gaps.lower_bound(offset);
  if (after != gaps.end() && after->first == offset + bytes) {
    bytes += after->second;
    after = gaps.erase(after);
  }
  if (after != gaps.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == offset) {
      offset = before->first;
      bytes += before->second;
      gaps.erase(before);
    }
  }
  if (bytes == kRegionBytes) {
    unmap(region->first);
    regions_.erase(region);
  } else {
    gaps.emplace(offset, bytes);
  }
}

HugeRegions::~HugeRegions() {
  for (const auto& [region, gaps] : regions_) unmap(region);
}

}  // namespace nereid
