// Hand-over of launches to the workers: one atomic word that opens and closes, futexes for
// sleepers.
#include "src/device/cpu/worker_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <system_error>

#include "src/base/check.h"

namespace nereid {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How many pauses take about this long on this machine.
uint32_t pauses_in(int microseconds) {
  constexpr uint32_t kProbe = 2000;
  const auto start = std::chrono::steady_clock::now();
  for (uint32_t round = 0; round < kProbe; ++round) pause();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  const double rounds = kProbe * microseconds / std::max(took.count(), 1.0);
  return static_cast<uint32_t>(std::clamp(rounds, 1.0, 1e6));
}

void futex_wait(const void* word, uint32_t expected) {
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(const void* word, int count) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

// Fields of WorkerPool::state_.
constexpr uint64_t kOneJoined = uint64_t{1} << 32;
constexpr int kPlacesShift = 47;
constexpr uint64_t kFieldMask = (1 << 15) - 1;
constexpr uint64_t kClosed = uint64_t{1} << 63;

constexpr uint32_t kAllListed = uint32_t{1} << 31;  // in WorkerPool::listed_

uint32_t launch_number(uint64_t state) {
  return static_cast<uint32_t>(state);
}
uint32_t joined(uint64_t state) {
  return static_cast<uint32_t>(state >> 32 & kFieldMask);
}
uint32_t places(uint64_t state) {
  return static_cast<uint32_t>(state >> kPlacesShift & kFieldMask);
}

}  // namespace

Result<std::unique_ptr<WorkerPool>> WorkerPool::create(const PoolOptions& options) {
  NEREID_CHECK(options.num_threads >= 1 && options.num_threads <= 1024, "{} threads",
               options.num_threads);
  std::unique_ptr<WorkerPool> pool(new WorkerPool);
  pool->spin_rounds_ = pauses_in(options.spin_microseconds);
  pool->next_ =
      std::vector<std::atomic<uint32_t>>(static_cast<size_t>(options.num_threads) * kMostWorks);
  for (int worker = 1; worker < options.num_threads; ++worker) {
    try {
      pool->threads_.emplace_back([raw = pool.get(), worker] { raw->worker_main(worker); });
    } catch (const std::system_error& failure) {
      return error("cannot start worker thread {} of {}: {}", worker, options.num_threads,
                   failure.code().message());
    }
    const pthread_t handle = pool->threads_.back().native_handle();
    pthread_setname_np(handle, fmt::format("nereid-{}", worker).c_str());
    if (options.cpus.empty()) continue;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(options.cpus[static_cast<size_t>(worker) % options.cpus.size()], &set);
    pthread_setaffinity_np(handle, sizeof(set), &set);  // best effort
  }
  return pool;
}

WorkerPool::~WorkerPool() {
  stopping_ = true;
  state_.store(kClosed | (launch_number(state_.load()) + 1));
  futex_wake(&state_, static_cast<int>(threads_.size()));
  for (std::thread& thread : threads_) thread.join();
}

// How many workers could find a range.
uint32_t WorkerPool::helpers_for(const PoolWork& work) const {
  NEREID_CHECK(work.chunk > 0, "chunks of nothing");
  const uint32_t others = work.count > 0 ? (work.count - 1) / work.chunk : 0;
  return std::min(static_cast<uint32_t>(threads_.size()), others);
}

void WorkerPool::run(const PoolWork& work) {
  if (const uint32_t helpers = helpers_for(work); helpers > 0) {
    open(helpers);
    add(work);
    finish();
  } else if (work.count > 0) {
    work.run(work.context, 0, 0, work.count);
  }
}

void WorkerPool::open(uint32_t helpers) {
  // Nobody reads these now: the last launch is closed, and all that had joined it are done.
  finished_.store(0, std::memory_order_relaxed);
  listed_.store(0, std::memory_order_relaxed);
  const uint32_t number = launch_number(state_.load(std::memory_order_relaxed)) + 1;
  state_.store(uint64_t{helpers} << kPlacesShift | number);
  if (const uint32_t asleep = sleepers_.load(); asleep > 0) {
    futex_wake(&state_, static_cast<int>(std::min(asleep, helpers)));
  }
}

void WorkerPool::add(const PoolWork& work) {
  NEREID_CHECK(work.chunk > 0, "chunks of nothing");
  const uint32_t at = listed_.load(std::memory_order_relaxed);
  NEREID_CHECK(at < kMostWorks, "more than {} works", kMostWorks);
  works_[at] = work;
  const auto threads = static_cast<uint32_t>(num_threads());
  uint32_t empty = 0;
  for (uint32_t worker = 0; worker < threads; ++worker) {
    const uint32_t begin = share_begin(worker, at);
    next_[worker * kMostWorks + at].store(begin, std::memory_order_relaxed);
    if (begin == share_begin(worker + 1, at)) ++empty;
  }
  progress_[at].empty_shares.store(empty, std::memory_order_relaxed);
  progress_[at].done.store(0, std::memory_order_relaxed);
  listed_.store(at + 1, std::memory_order_release);
}

void WorkerPool::finish() {
  listed_.store(listed_.load(std::memory_order_relaxed) | kAllListed, std::memory_order_release);
  run_works(0);
  close_and_wait();
}

uint32_t WorkerPool::share_begin(uint32_t worker, uint32_t at) const {
  return static_cast<uint32_t>(uint64_t{works_[at].count} * worker /
                               static_cast<uint32_t>(num_threads()));
}

// For a while, then leaves the core to others: who is waited for may need it.
void WorkerPool::spin(uint32_t round) const {
  if (round < spin_rounds_) {
    pause();
  } else {
    ::sched_yield();
  }
}

// False: there is no such work.
bool WorkerPool::wait_until_listed(uint32_t at) const {
  for (uint32_t round = 0;; ++round) {
    const uint32_t listed = listed_.load(std::memory_order_acquire);
    if (at < (listed & ~kAllListed)) return true;
    if ((listed & kAllListed) != 0) return false;
    spin(round);
  }
}

// A thread that finds no range left takes one of the next work, if it can, before it waits for
// programs of this one: it then knows what memory to ask for.
void WorkerPool::run_works(uint32_t worker) {
  for (uint32_t at = 0; wait_until_listed(at); ++at) {
    const PoolWork& work = works_[at];
    Range range = claim(worker, at);
    if (at > 0) wait_until_run(at - 1, range);
    uint32_t run = 0;  // said once, since it costs a line that all threads write
    for (; !range.empty(); range = claim(worker, at)) {
      work.run(work.context, worker, range.begin, range.end);
      run += range.end - range.begin;
    }
    if (run > 0) progress_[at].done.fetch_add(run, std::memory_order_release);
  }
}

// Of the worker's own share, or of one that has something left.
WorkerPool::Range WorkerPool::claim(uint32_t worker, uint32_t at) {
  const auto threads = static_cast<uint32_t>(num_threads());
  const std::atomic<uint32_t>& empty_shares = progress_[at].empty_shares;
  for (uint32_t step = 0; step < threads; ++step) {
    const Range range = claim_of((worker + step) % threads, at);
    if (!range.empty()) return range;
    if (empty_shares.load(std::memory_order_relaxed) == threads) return {};
  }
  return {};
}

WorkerPool::Range WorkerPool::claim_of(uint32_t owner, uint32_t at) {
  const PoolWork& work = works_[at];
  const uint32_t share_end = share_begin(owner + 1, at);
  std::atomic<uint32_t>& next = next_[owner * kMostWorks + at];
  uint32_t begin = next.load(std::memory_order_relaxed);
  while (begin < share_end) {
    const uint32_t left = share_end - begin;
    const uint32_t wanted = work.shrinking ? std::max(work.chunk, left / 2) : work.chunk;
    const uint32_t end = begin + std::min(wanted, left);
    if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    if (end == share_end) progress_[at].empty_shares.fetch_add(1, std::memory_order_relaxed);
    return {begin, end};
  }
  return {};
}

// Waits for work `at`; `next` is what this thread runs of the work after it.
void WorkerPool::wait_until_run(uint32_t at, const Range& next) {
  const PoolWork& after = works_[at + 1];
  bool asking = after.prefetch != nullptr && !next.empty();
  uint32_t part = 0, rounds = 0;
  while (progress_[at].done.load(std::memory_order_acquire) != works_[at].count) {
    if (asking) {
      asking = after.prefetch(after.context, next.begin, next.end, part++);
    } else {
      spin(rounds++);
    }
  }
}

void WorkerPool::close_and_wait() {
  const uint32_t expected = joined(state_.fetch_or(kClosed, std::memory_order_acq_rel));
  for (uint32_t round = 0; round < spin_rounds_; ++round) {
    if (finished_.load(std::memory_order_acquire) == expected) return;
    pause();
  }
  // A worker that finishes looks at caller_sleeps_ after it has counted itself. Both sides are
  // sequentially consistent: either it sees the flag, or the load below sees its count.
  caller_sleeps_.store(true);
  for (uint32_t done = finished_.load(); done != expected; done = finished_.load()) {
    futex_wait(&finished_, done);
  }
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

// The state once its launch is another than `seen`.
uint64_t WorkerPool::wait_for_launch(uint32_t seen) {
  for (uint32_t round = 0; round < spin_rounds_; ++round) {
    const uint64_t state = state_.load(std::memory_order_acquire);
    if (launch_number(state) != seen) return state;
    pause();
  }
  // As above with the roles exchanged: the caller looks at sleepers_ after it has changed state_.
  sleepers_.fetch_add(1);
  uint64_t state = state_.load();
  while (launch_number(state) == seen) {
    futex_wait(&state_, seen);  // the number lies in the first four bytes of the word
    state = state_.load();
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return state;
}

// Takes a place in the launch of `state`; false when it is full, closed, or another has begun.
bool WorkerPool::join(uint64_t state) {
  const uint32_t number = launch_number(state);
  while (launch_number(state) == number && (state & kClosed) == 0 &&
         joined(state) < places(state)) {
    if (state_.compare_exchange_weak(state, state + kOneJoined, std::memory_order_acq_rel))
      return true;
  }
  return false;
}

void WorkerPool::worker_main(uint32_t worker) {
  static_assert(std::endian::native == std::endian::little);
  uint32_t seen = 0;
  for (;;) {
    const uint64_t state = wait_for_launch(seen);
    seen = launch_number(state);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!join(state)) continue;
    run_works(worker);
    finished_.fetch_add(1);
    if (caller_sleeps_.load()) futex_wake(&finished_, 1);
  }
}

}  // namespace nereid
