// How a launch is cut into ranges, and what is asked for before its turn comes.
#include "src/device/cpu/launch_list.h"

#include <algorithm>

namespace nereid {
namespace {

// Smallest ranges of a launch, for each thread: enough that nobody waits long at its end, few
// enough that handing them out does not show.
constexpr uint32_t kRangesPerThread = 128;

constexpr uint64_t kLineBytes = 64;
constexpr uint64_t kPartBytes = 2048;        // asked for between two looks whether it is our turn
constexpr uint64_t kPrefetchBytes = 131072;  // of all streams; must lie in the second-level cache

void prefetch_lines(const std::byte* start, uint64_t bytes) {
  for (uint64_t at = 0; at < bytes; at += kLineBytes) {
    __builtin_prefetch(start + at, /*rw=*/0, /*locality=*/2);
  }
}

}  // namespace

void LaunchList::add(const ListedLaunch& launch) {
  Launch& added =
      launches_.emplace_back(Launch{.run = launch.run,
                                    .args = nullptr,
                                    .scratch = nullptr,
                                    .args_at = args_.size(),
                                    .grid = {launch.grid.x, launch.grid.y, launch.grid.z},
                                    .programs = launch.programs,
                                    .uneven = launch.uneven,
                                    .num_streams = 0,
                                    .streams = {}});
  args_.insert(args_.end(), launch.args.begin(), launch.args.end());
  for (const LaunchStream& stream : launch.streams) {
    if (added.num_streams < kMaxStreams) added.streams[added.num_streams++] = stream;
  }
}

void LaunchList::run_share(void* context, uint32_t worker, uint32_t begin, uint32_t end) {
  const auto& launch = *static_cast<const Launch*>(context);
  // Vectors that a kernel keeps on its stack lie there as the caller's stack does: without this,
  // each may lie on two lines.
  alignas(kLineBytes) std::byte line{};
  asm volatile("" : : "r"(&line) : "memory");
  launch.run(launch.args, begin, end, launch.grid, launch.scratch[worker]);
}

// Part `part` of what the first of these programs read, one stream after the other.
bool LaunchList::prefetch_share(void* context, uint32_t begin, uint32_t end, uint32_t part) {
  const auto& launch = *static_cast<const Launch*>(context);
  if (launch.num_streams == 0) return false;
  const LaunchStream& stream = launch.streams[part % launch.num_streams];
  const uint64_t first = stream.bytes * begin / launch.programs;
  const uint64_t last = stream.bytes * end / launch.programs;
  const uint64_t from = first + part / launch.num_streams * kPartBytes;
  if (from >= last || (part + 1) * kPartBytes > kPrefetchBytes) return false;
  prefetch_lines(stream.start + from, std::min(kPartBytes, last - from));
  return true;
}

PoolWork LaunchList::work_of(Launch& launch, uint32_t threads) {
  const uint32_t ranges = threads * kRangesPerThread;
  return {.run = run_share,
          .prefetch = launch.num_streams > 0 ? prefetch_share : nullptr,
          .context = &launch,
          .count = launch.programs,
          .chunk = (launch.programs - 1) / ranges + 1,
          .shrinking = !launch.uneven};
}

void LaunchList::run(WorkerPool& pool, std::span<void* const> scratch) {
  works_.clear();
  for (Launch& launch : launches_) {
    launch.args = args_.data() + launch.args_at;
    launch.scratch = scratch.data();
    works_.push_back(work_of(launch, static_cast<uint32_t>(pool.num_threads())));
  }
  pool.run(works_);
  launches_.clear();
  args_.clear();
}

}  // namespace nereid
