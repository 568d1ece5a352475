// Blocks cut from large mappings on huge pages. Weights and activations of a small model are many
// blocks below 2 MiB: each on pages of its own they would have the processor look up addresses all
// the time, and streams stop at every 4 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "src/base/result.h"

namespace nereid {

// Zeroed memory of `bytes` from a 2 MiB boundary on, with huge pages where the system grants them.
// To be given back with munmap, rounded up to whole pages.
Result<void*> map_huge(uint64_t bytes);

// Not thread safe. Blocks that are still held are unmapped with it.
class HugeRegions {
 public:
  static constexpr uint64_t kAlign = 256;
  static constexpr uint64_t kRegionBytes = uint64_t{64} << 20;
  // Larger blocks leave too much of a region unused.
  static constexpr uint64_t kMaxBlock = kRegionBytes / 4 - kAlign;

  HugeRegions() = default;
  HugeRegions(const HugeRegions&) = delete;
  HugeRegions& operator=(const HugeRegions&) = delete;
  ~HugeRegions();

  // `bytes`: a multiple of kAlign, at most kMaxBlock. From the first place that is large enough; a
  // region is mapped when there is none, and unmapped with its last block.
  Result<void*> alloc(uint64_t bytes);
  void free(void* pointer, uint64_t bytes);  // as they came from alloc

 private:
  using Gaps = std::map<uint64_t, uint64_t>;  // offset in a region to bytes, none next to another

  std::map<std::byte*, Gaps> regions_;
};

}  // namespace nereid
