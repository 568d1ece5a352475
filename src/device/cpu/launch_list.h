// Launches of the cpu driver, alone or a sequence, as works of its pool.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/device/cpu/shared_object.h"
#include "src/device/cpu/worker_pool.h"
#include "src/device/device.h"

namespace nereid {

// Memory of which each program of a launch reads its equal part, in their order.
struct LaunchStream {
  const std::byte* start = nullptr;
  uint64_t bytes = 0;
};

struct ListedLaunch {
  CpuKernelFn run = nullptr;
  Grid grid;
  uint32_t programs = 0;
  bool uneven = false;             // programs differ much in work
  std::span<const uint64_t> args;  // copied
  std::span<const LaunchStream> streams;
};

class LaunchList {
 public:
  // Of one launch; more are left out.
  static constexpr size_t kMaxStreams = 2;

  // Launches run on `pool`, and finish before the list is gone: what they use must outlive it.
  explicit LaunchList(WorkerPool& pool);
  ~LaunchList() { finish(); }
  LaunchList(const LaunchList&) = delete;
  LaunchList& operator=(const LaunchList&) = delete;

  // Begins to run the launch, after those that were added before. `scratch`: one arena for each
  // thread, there until `finish`.
  void add(const ListedLaunch& launch, std::span<void* const> scratch);

  // Returns when all have run, and forgets them.
  void finish();

  // Runs one launch. Not between `add` and `finish`.
  void run(const ListedLaunch& launch, std::span<void* const> scratch);

 private:
  struct Launch {
    CpuKernelFn run;
    const uint64_t* args;
    void* const* scratch;
    uint32_t grid[3];
    uint32_t programs;
    bool uneven;
    uint32_t num_streams;
    LaunchStream streams[kMaxStreams];
  };
  static void run_share(void* context, uint32_t worker, uint32_t begin, uint32_t end);
  static bool prefetch_share(void* context, uint32_t begin, uint32_t end, uint32_t part);
  static Launch launch_of(const ListedLaunch& listed, std::span<void* const> scratch);
  PoolWork work_of(Launch& launch) const;

  WorkerPool& pool_;
  // Of launches that run: neither may move.
  std::vector<Launch> launches_;
  std::vector<uint64_t> args_;
};

}  // namespace nereid
