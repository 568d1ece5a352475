// Persistent threads that share the programs of one launch; the calling thread is one of them.
//
// Design goals:
//   - a launch costs a few microseconds: workers spin for a while before they sleep on a futex;
//   - a worker that takes no part in a launch is not waited for.
// Non-goals:
//   - tasks, priorities, nesting: one launch at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "src/base/result.h"

namespace nereid {

// Work of one launch: `run` is called for disjoint ranges that cover [0, count). `worker` is below
// the number of threads, and no two calls at a time have the same.
struct PoolWork {
  void (*run)(void* context, uint32_t worker, uint32_t begin, uint32_t end) = nullptr;
  void* context = nullptr;
  uint32_t count = 0;
  uint32_t chunk =
      0;  // 0: one contiguous share each; else shares of this size, first come first served
};

struct PoolOptions {
  int num_threads = 1;    // with the calling thread
  std::vector<int> cpus;  // worker w is pinned to cpus[w % size]; empty: not pinned
  int spin_microseconds = 60;
};

class WorkerPool {
 public:
  static Result<std::unique_ptr<WorkerPool>> create(const PoolOptions& options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Returns when all of it has run. One thread at a time, not from within a run.
  void run(const PoolWork& work);

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

 private:
  WorkerPool() = default;

  void worker_main(uint32_t worker);
  uint64_t wait_for_change(uint64_t seen);
  void take_part(uint32_t worker, uint32_t active);
  void wait_for_workers();

  // Written by the caller before `state_` changes, read by active workers after.
  PoolWork work_;
  std::vector<std::thread> threads_;
  uint32_t spin_rounds_ = 0;
  bool stopping_ = false;

  // Low half: number of the launch; high half: threads that take part in it.
  alignas(128) std::atomic<uint64_t> state_ = 0;
  std::atomic<uint32_t> sleepers_ = 0;
  alignas(128) std::atomic<uint32_t> next_ = 0;     // first program not yet taken (chunks)
  alignas(128) std::atomic<uint32_t> running_ = 0;  // workers that have not finished
  std::atomic<bool> caller_sleeps_ = false;
};

}  // namespace nereid
