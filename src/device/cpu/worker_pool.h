// Persistent threads that share the programs of launches; the calling thread is one of them.
//
// Design goals:
//   - a launch costs about a microsecond: workers spin for a while before they sleep on a futex;
//   - nobody waits for a worker that has not begun: programs are handed out in chunks, and when the
//     caller finds none left it closes the launch to those that come late (a core that another
//     process has taken, a worker that still wakes up);
//   - thread t of n begins with programs count * t / n and those behind them, launch after launch:
//     what it wrote in the last one lies in its core's caches. Who is done takes of others' shares;
//   - several launches in a row cost one opening and one closing, and the first of them run while
//     the caller still lists others. From one to the next a thread waits for programs that still
//     run, and has the memory it needs next brought meanwhile.
// Non-goals:
//   - tasks, priorities, nesting: one list of launches at a time, each after the one before.
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
  // Optional: asks for a part, the first being 0, of the memory that programs [begin, end) read
  // first. Called while programs of the work before still run; false when nothing is left to ask.
  bool (*prefetch)(void* context, uint32_t begin, uint32_t end, uint32_t part) = nullptr;
  void* context = nullptr;
  uint32_t count = 0;  // at most 2^31 - 1
  uint32_t chunk = 1;  // size of a range; larger is cheaper, smaller evens out differences
  // Ranges begin with half of what is left of a thread's share, and `chunk` is the smallest: long
  // runs of neighbours, and little to wait for at the end.
  bool shrinking = false;
};

struct PoolOptions {
  int num_threads = 1;    // with the calling thread, at most 1024
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

  // The same for works of which each begins when the one before has run, at most kMostWorks of
  // them: other threads begin while the caller, which takes part in `finish`, still adds works.
  static constexpr uint32_t kMostWorks = 1024;
  void begin() { open(static_cast<uint32_t>(threads_.size())); }
  void add(const PoolWork& work);
  void finish();

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

 private:
  struct Range {
    uint32_t begin = 0, end = 0;
    bool empty() const { return begin == end; }
  };
  // Of one work, on a cache line of its own.
  struct alignas(64) Progress {
    std::atomic<uint32_t> empty_shares = 0;  // threads' shares that are handed out
    std::atomic<uint32_t> done = 0;          // programs that have run
  };

  WorkerPool() = default;

  void worker_main(uint32_t worker);
  uint64_t wait_for_launch(uint32_t seen);
  bool join(uint64_t state);
  uint32_t helpers_for(const PoolWork& work) const;
  void open(uint32_t helpers);
  void run_works(uint32_t worker);
  bool wait_until_listed(uint32_t at) const;
  void spin(uint32_t round) const;
  uint32_t share_begin(uint32_t worker, uint32_t at) const;
  Range claim(uint32_t worker, uint32_t at);
  Range claim_of(uint32_t owner, uint32_t at);
  void wait_until_run(uint32_t at, const Range& next);
  void close_and_wait();

  // Of each work: written by the caller before it is listed, read by those who see that it is.
  std::vector<PoolWork> works_ = std::vector<PoolWork>(kMostWorks);
  std::vector<Progress> progress_ = std::vector<Progress>(kMostWorks);
  // First programs not handed out: of thread t's share of work i at [t * kMostWorks + i].
  std::vector<std::atomic<uint32_t>> next_;
  std::vector<std::thread> threads_;
  uint32_t spin_rounds_ = 0;
  std::atomic<bool> stopping_ = false;

  // Of the current launch: number (32 bits), workers that have joined (15), workers that may (15),
  // closed (1). The number is the futex word of sleeping workers.
  alignas(128) std::atomic<uint64_t> state_ = 0;
  std::atomic<uint32_t> sleepers_ = 0;
  alignas(128) std::atomic<uint32_t> listed_ = 0;    // works, and whether no more will come
  alignas(128) std::atomic<uint32_t> finished_ = 0;  // workers that have joined and are done
  std::atomic<bool> caller_sleeps_ = false;
};

}  // namespace nereid
