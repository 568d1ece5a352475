// Every program runs once, whatever the split, the number of threads and the pauses between runs.
#include "src/device/cpu/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <span>
#include <thread>
#include <vector>

namespace nereid {
namespace {

struct Counter {
  std::vector<std::atomic<int>> runs;
  std::vector<std::atomic<int>> inside;  // calls going on, for each worker
  std::atomic<bool> worker_shared = false;

  Counter(uint32_t count, int threads) : runs(count), inside(static_cast<size_t>(threads)) {}

  static void run(void* context, uint32_t worker, uint32_t begin, uint32_t end) {
    auto& self = *static_cast<Counter*>(context);
    if (self.inside.at(worker).fetch_add(1) != 0) self.worker_shared = true;
    for (uint32_t at = begin; at < end; ++at) self.runs.at(at).fetch_add(1);
    self.inside.at(worker).fetch_sub(1);
  }
};

std::unique_ptr<WorkerPool> make_pool(int threads, int spin_microseconds = 60) {
  auto pool = WorkerPool::create({.num_threads = threads, .spin_microseconds = spin_microseconds});
  EXPECT_TRUE(pool.has_value());
  return std::move(*pool);
}

void expect_each_once(WorkerPool& pool, uint32_t count, uint32_t chunk) {
  Counter counter(count, pool.num_threads());
  pool.run({.run = Counter::run, .context = &counter, .count = count, .chunk = chunk});
  for (uint32_t at = 0; at < count; ++at) {
    ASSERT_EQ(counter.runs[at].load(), 1) << at << " of " << count << ", chunk " << chunk;
  }
  EXPECT_FALSE(counter.worker_shared.load());
}

// Works in a row, each with programs that look whether all of the work before have run.
struct Step {
  std::atomic<uint32_t> ran = 0;
  const Step* before = nullptr;
  uint32_t count_before = 0;
  std::atomic<bool> too_early = false;

  static void run(void* context, uint32_t, uint32_t begin, uint32_t end) {
    auto& self = *static_cast<Step*>(context);
    if (self.before != nullptr && self.before->ran.load() != self.count_before) {
      self.too_early = true;
    }
    self.ran += end - begin;
  }
  static bool prefetch(void* /*context*/, uint32_t begin, uint32_t end, uint32_t part) {
    EXPECT_LT(begin, end);
    return part < 2;
  }
};

// Where each worker began; nobody takes a second range before all have one.
struct Beginnings {
  std::vector<std::atomic<int64_t>> first;
  std::atomic<int> begun = 0;

  explicit Beginnings(int threads) : first(static_cast<size_t>(threads)) {
    for (auto& at : first) at = -1;
  }

  static void run(void* context, uint32_t worker, uint32_t begin, uint32_t /*end*/) {
    auto& self = *static_cast<Beginnings*>(context);
    if (self.first.at(worker) >= 0) return;
    self.first[worker] = begin;
    ++self.begun;
    while (self.begun < static_cast<int>(self.first.size())) std::this_thread::yield();
  }
};

TEST(WorkerPool, ThreadsBeginWithSharesOfTheirOwn) {
  for (const int threads : {2, 3, 5}) {
    auto pool = make_pool(threads);
    for (const bool shrinking : {false, true}) {
      Beginnings seen(threads);
      pool->run({.run = Beginnings::run,
                 .context = &seen,
                 .count = 1000,
                 .chunk = 3,
                 .shrinking = shrinking});
      for (int worker = 0; worker < threads; ++worker) {
        EXPECT_EQ(seen.first[static_cast<size_t>(worker)], 1000 * worker / threads) << threads;
      }
    }
  }
}

// `steps` as works, each after the one before.
std::vector<PoolWork> works_of(std::vector<Step>& steps, std::mt19937& random) {
  std::vector<PoolWork> works;
  for (size_t at = 0; at < steps.size(); ++at) {
    if (at > 0) {
      steps[at].before = &steps[at - 1];
      steps[at].count_before = works[at - 1].count;
    }
    works.push_back({.run = Step::run,
                     .prefetch = Step::prefetch,
                     .context = &steps[at],
                     .count = static_cast<uint32_t>(random() % 50),
                     .chunk = static_cast<uint32_t>(1 + random() % 3),
                     .shrinking = random() % 2 == 0});
  }
  return works;
}

void expect_in_a_row(std::span<const Step> steps, std::span<const PoolWork> works) {
  for (size_t at = 0; at < steps.size(); ++at) {
    ASSERT_EQ(steps[at].ran.load(), works[at].count) << at;
    ASSERT_FALSE(steps[at].too_early.load()) << at;
  }
}

TEST(WorkerPool, WorksInARowWaitForEachOther) {
  std::mt19937 random(11);
  for (const int threads : {1, 2, 4}) {
    auto pool = make_pool(threads, 20);
    for (int round = 0; round < 300; ++round) {
      std::vector<Step> steps(random() % 12);
      const std::vector<PoolWork> works = works_of(steps, random);
      pool->begin();
      for (const PoolWork& work : works) {
        const bool late = round % 2 == 1 && random() % 8 == 0;
        if (late) std::this_thread::sleep_for(std::chrono::microseconds(50));
        pool->add(work);
      }
      pool->finish();
      expect_in_a_row(steps, works);
    }
  }
}

TEST(WorkerPool, OthersBeginBeforeAllIsListed) {
  auto pool = make_pool(2, 20);
  std::atomic<bool> ran = false;
  const auto run = [](void* context, uint32_t, uint32_t, uint32_t) {
    *static_cast<std::atomic<bool>*>(context) = true;
  };
  pool->begin();
  pool->add({.run = run, .context = &ran, .count = 1});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!ran && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(ran);
  pool->finish();
}

// One thread is held in the first work until the other, which has nothing left of it, has asked for
// the memory of the second.
TEST(WorkerPool, WhoWaitsAsksForTheNextMemory) {
  static std::atomic<uint32_t> asked;
  asked = 0;
  const auto hold = [](void*, uint32_t, uint32_t begin, uint32_t) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begin == 0 && asked.load() < 3 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  };
  const auto nothing = [](void*, uint32_t, uint32_t, uint32_t) {};
  const auto ask = [](void*, uint32_t begin, uint32_t end, uint32_t part) {
    EXPECT_LT(begin, end);
    EXPECT_EQ(part, asked.load());
    return ++asked < 3;
  };
  auto pool = make_pool(2);
  pool->begin();
  pool->add({.run = hold, .count = 2, .chunk = 1});
  pool->add({.run = nothing, .prefetch = ask, .count = 2, .chunk = 1});
  pool->finish();
  EXPECT_EQ(asked.load(), 3u);
}

// Every range is of the size that was wanted, or begins at half of a share and shrinks.
TEST(WorkerPool, ShrinkingRanges) {
  auto pool = make_pool(1);
  static std::vector<uint32_t> sizes;
  const auto note = [](void*, uint32_t, uint32_t begin, uint32_t end) {
    sizes.push_back(end - begin);
  };
  sizes.clear();
  pool->run({.run = note, .count = 100, .chunk = 3, .shrinking = true});
  EXPECT_EQ(sizes, std::vector<uint32_t>{100});  // one thread: nobody to share with
  auto two = make_pool(2);
  static std::atomic<uint32_t> largest, smallest, total;
  largest = total = 0;
  smallest = 1000;
  const auto measure = [](void*, uint32_t, uint32_t begin, uint32_t end) {
    const uint32_t size = end - begin;
    for (uint32_t seen = largest; size > seen && !largest.compare_exchange_weak(seen, size);) {
    }
    for (uint32_t seen = smallest; size < seen && !smallest.compare_exchange_weak(seen, size);) {
    }
    total += size;
  };
  two->run({.run = measure, .count = 400, .chunk = 5, .shrinking = true});
  EXPECT_EQ(total.load(), 400u);
  EXPECT_EQ(largest.load(), 100u);
  EXPECT_LE(smallest.load(), 5u);
}

TEST(WorkerPool, EachProgramOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    auto pool = make_pool(threads);
    EXPECT_EQ(pool->num_threads(), threads);
    for (const uint32_t count : {0, 1, 2, 3, 7, 8, 9, 100, 1001}) {
      for (const uint32_t chunk : {1, 3, 64, 5000}) expect_each_once(*pool, count, chunk);
    }
  }
}

// Workers that sleep, that have just gone to sleep, and that still spin.
TEST(WorkerPool, RandomPausesBetweenRuns) {
  std::mt19937 random(7);
  for (const int spin : {1, 20, 100}) {
    auto pool = make_pool(4, spin);
    for (int round = 0; round < 1500; ++round) {
      const uint32_t count = random() % 9;
      expect_each_once(*pool, count, 1 + random() % 3);
      if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 150));
    }
  }
}

TEST(WorkerPool, CallerThatWaitsLongSleepsAndWakes) {
  auto pool = make_pool(2, 1);
  static std::atomic<int> by_worker;
  by_worker = 0;
  const auto slow_worker = [](void*, uint32_t worker, uint32_t, uint32_t) {
    // The caller is slow enough for the worker to join, and then has to wait for it.
    std::this_thread::sleep_for(std::chrono::milliseconds(worker == 1 ? 8 : 2));
    if (worker == 1) ++by_worker;
  };
  for (int round = 0; round < 10; ++round) pool->run({.run = slow_worker, .count = 2});
  EXPECT_GT(by_worker.load(), 0);
}

// A worker that joined late or never: the caller goes on with what is left.
TEST(WorkerPool, CallerTakesWhatAHeldWorkerLeaves) {
  auto pool = make_pool(2, 1);
  static std::atomic<int> by_caller;
  by_caller = 0;
  const auto held = [](void*, uint32_t worker, uint32_t, uint32_t) {
    if (worker == 0) ++by_caller;
    while (worker == 1 && by_caller < 99) std::this_thread::yield();
  };
  pool->run({.run = held, .count = 100});
  EXPECT_GE(by_caller.load(), 99);
}

TEST(WorkerPool, CreatedAndDestroyedAtOnce) {
  for (int round = 0; round < 50; ++round) make_pool(4);
}

TEST(WorkerPool, HugeCountsDoNotOverflow) {
  auto pool = make_pool(3);
  static std::atomic<uint64_t> covered;
  for (const uint32_t chunk : {uint32_t{1} << 27, uint32_t{2147483647}, uint32_t{1500000000}}) {
    covered = 0;
    const auto add = [](void*, uint32_t, uint32_t begin, uint32_t end) { covered += end - begin; };
    pool->run({.run = add, .count = 2147483647, .chunk = chunk});
    EXPECT_EQ(covered.load(), 2147483647u);
  }
}

}  // namespace
}  // namespace nereid
