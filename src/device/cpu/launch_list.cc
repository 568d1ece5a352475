// How a launch is cut into ranges, and what is asked for before its turn comes.
#include "src/device/cpu/launch_list.h"

#include <algorithm>

#include "src/base/check.h"

namespace nereid {
namespace {

// Smallest ranges of a launch, for each thread: enough that nobody waits long at its end, few
// enough that handing them out does not show.
constexpr uint32_t kRangesPerThread = 128;

constexpr size_t kMostArgs = 32768;  // of all launches that run

constexpr uint64_t kLineBytes = 64;
constexpr uint64_t kPartBytes = 2048;        // asked for between two looks whether it is our turn
constexpr uint64_t kPrefetchBytes = 131072;  // of all streams; must lie in the second-level cache

void prefetch_lines(const std::byte* start, uint64_t bytes) {
  for (uint64_t at = 0; at < bytes; at += kLineBytes) {
    __builtin_prefetch(start + at, /*rw=*/0, /*locality=*/2);
  }
}

}  // namespace

LaunchList::LaunchList(WorkerPool& pool) : pool_(pool) {
  launches_.reserve(WorkerPool::kMostWorks);
  args_.reserve(kMostArgs);
}

LaunchList::Launch LaunchList::launch_of(const ListedLaunch& listed,
                                         std::span<void* const> scratch) {
  Launch launch{.run = listed.run,
                .args = listed.args.data(),
                .scratch = scratch.data(),
                .grid = {listed.grid.x, listed.grid.y, listed.grid.z},
                .programs = listed.programs,
                .uneven = listed.uneven,
                .num_streams = 0,
                .streams = {}};
  for (const LaunchStream& stream : listed.streams) {
    if (launch.num_streams < kMaxStreams) launch.streams[launch.num_streams++] = stream;
  }
  return launch;
}

void LaunchList::add(const ListedLaunch& launch, std::span<void* const> scratch) {
  NEREID_CHECK(launch.args.size() <= kMostArgs, "{} arguments", launch.args.size());
  const bool full =
      launches_.size() == WorkerPool::kMostWorks || args_.size() + launch.args.size() > kMostArgs;
  if (full) finish();
  if (launches_.empty()) pool_.begin();
  Launch& added = launches_.emplace_back(launch_of(launch, scratch));
  added.args = args_.data() + args_.size();
  args_.insert(args_.end(), launch.args.begin(), launch.args.end());
  pool_.add(work_of(added));
}

void LaunchList::finish() {
  if (launches_.empty()) return;
  pool_.finish();
  launches_.clear();
  args_.clear();
}

void LaunchList::run(const ListedLaunch& launch, std::span<void* const> scratch) {
  NEREID_CHECK(launches_.empty(), "{} launches run", launches_.size());
  Launch only = launch_of(launch, scratch);
  pool_.run(work_of(only));
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

PoolWork LaunchList::work_of(Launch& launch) const {
  const uint32_t ranges = static_cast<uint32_t>(pool_.num_threads()) * kRangesPerThread;
  return {.run = run_share,
          .prefetch = launch.num_streams > 0 ? prefetch_share : nullptr,
          .context = &launch,
          .count = launch.programs,
          .chunk = (launch.programs - 1) / ranges + 1,
          .shrinking = !launch.uneven};
}

}  // namespace nereid
