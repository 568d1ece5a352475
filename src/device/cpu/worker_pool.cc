// Hand-over of launches to the workers: one atomic word that changes, futexes for those that sleep.
#include "src/device/cpu/worker_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
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

uint32_t launch_number(uint64_t state) {
  return static_cast<uint32_t>(state);
}
uint32_t active_threads(uint64_t state) {
  return static_cast<uint32_t>(state >> 32);
}

}  // namespace

Result<std::unique_ptr<WorkerPool>> WorkerPool::create(const PoolOptions& options) {
  NEREID_CHECK(options.num_threads >= 1, "{} threads", options.num_threads);
  std::unique_ptr<WorkerPool> pool(new WorkerPool);
  pool->spin_rounds_ = pauses_in(options.spin_microseconds);
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
  const uint64_t everyone = uint64_t{threads_.size() + 1} << 32;
  state_.store(everyone | (launch_number(state_.load()) + 1));
  futex_wake(&state_, static_cast<int>(threads_.size()));
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run(const PoolWork& work) {
  uint32_t active = static_cast<uint32_t>(threads_.size()) + 1;
  const uint32_t shares = work.chunk == 0 ? work.count : (work.count + work.chunk - 1) / work.chunk;
  active = std::min(active, shares);
  if (active == 0) return;
  if (active == 1) {
    work.run(work.context, 0, 0, work.count);
    return;
  }
  work_ = work;
  next_.store(0, std::memory_order_relaxed);
  running_.store(active - 1, std::memory_order_relaxed);
  const uint32_t number = launch_number(state_.load(std::memory_order_relaxed)) + 1;
  state_.store(uint64_t{active} << 32 | number);
  if (sleepers_.load() > 0) futex_wake(&state_, static_cast<int>(threads_.size()));
  take_part(0, active);
  wait_for_workers();
}

void WorkerPool::take_part(uint32_t worker, uint32_t active) {
  const PoolWork& work = work_;
  if (work.chunk == 0) {
    const auto begin = static_cast<uint32_t>(uint64_t{work.count} * worker / active);
    const auto end = static_cast<uint32_t>(uint64_t{work.count} * (worker + 1) / active);
    work.run(work.context, worker, begin, end);
    return;
  }
  // count <= 2^31 - 1 and chunk <= count: the counter cannot wrap before every thread has seen the
  // end.
  for (;;) {
    const uint32_t begin = next_.fetch_add(work.chunk, std::memory_order_relaxed);
    if (begin >= work.count) return;
    work.run(work.context, worker, begin, begin + std::min(work.chunk, work.count - begin));
  }
}

void WorkerPool::wait_for_workers() {
  for (uint32_t round = 0; round < spin_rounds_; ++round) {
    if (running_.load(std::memory_order_acquire) == 0) return;
    pause();
  }
  // The last worker to finish reads caller_sleeps_ after its decrement; both sides are sequentially
  // consistent, so either it sees the flag or the load below sees zero.
  caller_sleeps_.store(true);
  for (uint32_t left = running_.load(); left != 0; left = running_.load()) {
    futex_wait(&running_, left);
  }
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

// The state that follows `seen`.
uint64_t WorkerPool::wait_for_change(uint64_t seen) {
  for (uint32_t round = 0; round < spin_rounds_; ++round) {
    const uint64_t state = state_.load(std::memory_order_acquire);
    if (state != seen) return state;
    pause();
  }
  // As above with the roles exchanged: the caller reads sleepers_ after it has changed state_.
  sleepers_.fetch_add(1);
  uint64_t state = state_.load();
  while (state == seen) {
    futex_wait(&state_, launch_number(seen));  // the low half lies at the word's address
    state = state_.load();
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return state;
}

void WorkerPool::worker_main(uint32_t worker) {
  uint64_t seen = 0;
  for (;;) {
    seen = wait_for_change(seen);
    const uint32_t active = active_threads(seen);
    if (worker >= active) continue;
    if (stopping_) return;
    take_part(worker, active);
    if (running_.fetch_sub(1) == 1 && caller_sleeps_.load()) futex_wake(&running_, 1);
  }
}

}  // namespace nereid
