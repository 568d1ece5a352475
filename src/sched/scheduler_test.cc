// The scheduler: examples, then thousands of random arrival, cancel and preemption patterns with
// every invariant checked at every step.
#include "src/sched/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace nereid {
namespace {

constexpr SchedulerOptions kSmall = {.num_pages = 16,
                                     .page_size = 4,
                                     .max_sequences = 4,
                                     .max_step_tokens = 16,
                                     .max_logit_rows = 8};

std::vector<int32_t> tokens(int32_t count, int32_t first = 0) {
  std::vector<int32_t> ids;
  for (int32_t index = 0; index < count; ++index) ids.push_back(first + index);
  return ids;
}

// One step; draws token 7 wherever one is drawn.
StepBatch step(Scheduler& scheduler) {
  StepBatch batch = scheduler.schedule();
  scheduler.commit();
  for (const StepSlice& slice : batch.slices) {
    if (slice.sample) scheduler.append(slice.sequence, 7);
  }
  scheduler.check_integrity();
  return batch;
}

TEST(Scheduler, PrefillInChunksThenDecode) {
  Scheduler scheduler(kSmall);
  const SequenceId id = scheduler.add({.prompt = tokens(20), .order = 0});
  StepBatch batch = step(scheduler);
  ASSERT_EQ(batch.slices.size(), 1u);
  EXPECT_EQ(batch.slices[0].count, 16);
  EXPECT_FALSE(batch.slices[0].sample);
  EXPECT_THAT(batch.admitted, testing::ElementsAre(id));
  batch = step(scheduler);
  EXPECT_EQ(batch.slices[0].first, 16);
  EXPECT_EQ(batch.slices[0].count, 4);
  EXPECT_TRUE(batch.slices[0].sample);
  EXPECT_FALSE(batch.slices[0].decode);
  batch = step(scheduler);
  EXPECT_TRUE(batch.slices[0].decode);
  EXPECT_EQ(batch.slices[0].first, 20);
  EXPECT_EQ(scheduler.state(id).size(), 22);
  scheduler.remove(id);
  EXPECT_TRUE(step(scheduler).empty());
  EXPECT_EQ(scheduler.pages().num_held(), 0);
}

TEST(Scheduler, DecodeRowsGoBeforeChunks) {
  Scheduler scheduler(kSmall);
  const SequenceId first = scheduler.add({.prompt = tokens(3), .order = 0});
  step(scheduler);
  const SequenceId second = scheduler.add({.prompt = tokens(30, 50), .order = 1});
  const StepBatch batch = step(scheduler);
  ASSERT_EQ(batch.slices.size(), 2u);
  EXPECT_EQ(batch.slices[0].sequence, first);
  EXPECT_TRUE(batch.slices[0].decode);
  EXPECT_EQ(batch.slices[1].sequence, second);
  EXPECT_EQ(batch.slices[1].count, 15);
  EXPECT_EQ(batch.num_tokens, 16);
}

TEST(Scheduler, ALastChunkOfOneGivenTokenIsNoDecodeRow) {
  Scheduler scheduler(kSmall);
  scheduler.add({.prompt = tokens(17), .order = 0});
  step(scheduler);
  const StepBatch batch = step(scheduler);
  EXPECT_EQ(batch.slices[0].count, 1);
  EXPECT_FALSE(batch.slices[0].decode);
  EXPECT_TRUE(batch.slices[0].sample);
}

TEST(Scheduler, PrefixIsFoundAgain) {
  Scheduler scheduler(kSmall);
  scheduler.remove([&] {
    const SequenceId id = scheduler.add({.prompt = tokens(12), .order = 0});
    step(scheduler);
    return id;
  }());
  const SequenceId same = scheduler.add({.prompt = tokens(12), .order = 1});
  StepBatch batch = step(scheduler);
  EXPECT_EQ(batch.slices[0].first, 8);  // the last page holds the token whose logits are needed
  EXPECT_EQ(scheduler.state(same).cached_tokens, 8);
  const SequenceId other_salt = scheduler.add({.prompt = tokens(12), .order = 2, .salt = 1});
  const SequenceId all_logits =
      scheduler.add({.prompt = tokens(6), .order = 3, .all_logits = true});
  batch = step(scheduler);
  EXPECT_EQ(scheduler.state(other_salt).cached_tokens, 0);
  EXPECT_EQ(scheduler.state(all_logits).cached_tokens, 0);
  EXPECT_EQ(scheduler.counters().prefix_hits, 8u);
}

TEST(Scheduler, SiblingsShareThePromptsPages) {
  Scheduler scheduler(kSmall);
  const SequenceId leader = scheduler.add({.prompt = tokens(20), .order = 0, .salt = 5});
  const SequenceId sibling =
      scheduler.add({.prompt = tokens(20), .order = 1, .salt = 5, .after = leader});
  step(scheduler);
  EXPECT_FALSE(scheduler.state(sibling).running);
  step(scheduler);
  EXPECT_FALSE(scheduler.state(sibling).running);
  step(scheduler);
  EXPECT_TRUE(scheduler.state(sibling).running);
  EXPECT_EQ(scheduler.state(sibling).cached_tokens, 16);
  EXPECT_EQ(scheduler.state(sibling).pages[3], scheduler.state(leader).pages[3]);
  EXPECT_NE(scheduler.state(sibling).pages[4], scheduler.state(leader).pages[4]);
}

TEST(Scheduler, ASiblingDoesNotWaitForOneThatIsGone) {
  Scheduler scheduler(kSmall);
  const SequenceId leader = scheduler.add({.prompt = tokens(20), .order = 0});
  const SequenceId sibling = scheduler.add({.prompt = tokens(20), .order = 1, .after = leader});
  scheduler.remove(leader);
  step(scheduler);
  EXPECT_TRUE(scheduler.state(sibling).running);
}

TEST(Scheduler, TheLastInLineGivesUpItsPages) {
  SchedulerOptions options = kSmall;
  options.num_pages = 8;
  Scheduler scheduler(options);
  const SequenceId first = scheduler.add({.prompt = tokens(14), .order = 0, .salt = 1});
  const SequenceId second = scheduler.add({.prompt = tokens(10), .order = 1, .salt = 2});
  while (scheduler.counters().preemptions == 0) {
    ASSERT_FALSE(step(scheduler).empty());
  }
  EXPECT_TRUE(scheduler.state(first).running);
  EXPECT_FALSE(scheduler.state(second).running);
  const int32_t size = scheduler.state(second).size();
  scheduler.remove(first);
  const StepBatch batch = step(scheduler);
  EXPECT_TRUE(scheduler.state(second).running);
  EXPECT_EQ(batch.slices[0].first + batch.slices[0].count, size);
  EXPECT_TRUE(batch.slices[0].sample);
}

// A late arrival with a better place in line runs first; the one it overtakes is not forgotten.
TEST(Scheduler, PlaceInLineDecides) {
  SchedulerOptions options = kSmall;
  options.max_sequences = 1;
  Scheduler scheduler(options);
  const SequenceId running = scheduler.add({.prompt = tokens(2), .order = 5});
  step(scheduler);
  const SequenceId late = scheduler.add({.prompt = tokens(2), .order = 9});
  const SequenceId urgent = scheduler.add({.prompt = tokens(2), .order = 7});
  scheduler.remove(running);
  step(scheduler);
  EXPECT_TRUE(scheduler.state(urgent).running);
  EXPECT_FALSE(scheduler.state(late).running);
}

class RandomPatterns : public testing::TestWithParam<uint32_t> {};

// What a test knows of a sequence it added.
struct Expected {
  int32_t prompt = 0, outputs = 0, wanted = 0, computed = 0;
  int64_t added_at = 0, order = 0;
};

SchedulerOptions random_options(std::mt19937& random) {
  const auto pick = [&](int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random() % static_cast<uint32_t>(high - low + 1));
  };
  SchedulerOptions options{
      .num_pages = pick(6, 60), .page_size = 1 << pick(0, 4), .max_sequences = pick(1, 12)};
  options.max_step_tokens = options.max_sequences + pick(0, 40);
  options.max_logit_rows = options.max_sequences + pick(0, 8);
  return options;
}

TEST_P(RandomPatterns, EveryInvariantAtEveryStep) {
  std::mt19937 random(GetParam());
  const SchedulerOptions options = random_options(random);
  Scheduler scheduler(options);
  const int32_t capacity = options.num_pages * options.page_size;
  std::map<SequenceId, Expected> live;
  int64_t next_order = 0;
  uint64_t finished = 0;
  const int arrivals = 60;
  int arrived = 0;
  for (int64_t now = 0; arrived < arrivals || !live.empty(); ++now) {
    ASSERT_LT(now, 200'000) << "it never ends";
    while (arrived < arrivals && (random() % 3 == 0 || live.empty())) {
      Expected expected;
      expected.prompt = 1 + static_cast<int32_t>(random() % static_cast<uint32_t>(capacity - 1));
      if (random() % 2 == 0) expected.prompt = std::min(expected.prompt, 2 * options.page_size + 1);
      expected.wanted =
          1 + static_cast<int32_t>(random() % static_cast<uint32_t>(capacity - expected.prompt));
      expected.added_at = now;
      // Sometimes ahead of everybody.
      expected.order = random() % 8 == 0 ? -next_order - 1 : next_order;
      ++next_order;
      SequenceParams params{.prompt = tokens(expected.prompt, random() % 3 == 0 ? 100 : 0),
                            .order = expected.order,
                            .all_logits = random() % 8 == 0,
                            .salt = random() % 2};
      if (!live.empty() && random() % 4 == 0) params.after = live.begin()->first;
      live[scheduler.add(std::move(params))] = expected;
      ++arrived;
      scheduler.check_integrity();
    }
    const StepBatch batch = scheduler.schedule();
    scheduler.check_integrity();
    ASSERT_LE(batch.num_tokens, options.max_step_tokens);
    int32_t num_tokens = 0, logit_rows = 0;
    for (const StepSlice& slice : batch.slices) {
      const SequenceState& state = scheduler.state(slice.sequence);
      ASSERT_GT(slice.count, 0);
      ASSERT_EQ(slice.first, state.computed);
      ASSERT_EQ(slice.sample, slice.first + slice.count == state.size());
      ASSERT_GE(static_cast<int32_t>(state.pages.size()) * options.page_size,
                slice.first + slice.count);
      num_tokens += slice.count;
      logit_rows +=
          state.all_logits && slice.first < state.prompt_size ? slice.count : int32_t{slice.sample};
    }
    ASSERT_EQ(num_tokens, batch.num_tokens);
    ASSERT_LE(logit_rows, options.max_logit_rows);
    // Whoever is first in line advances at every step.
    if (!live.empty()) {
      const auto first =
          std::ranges::min_element(live, {}, [](const auto& entry) { return entry.second.order; });
      ASSERT_FALSE(batch.empty());
      if (scheduler.state(first->first).running) {
        ASSERT_TRUE(std::ranges::any_of(
            batch.slices, [&](const StepSlice& slice) { return slice.sequence == first->first; }));
      }
    }
    // A cancellation while the step is under way.
    if (!live.empty() && random() % 20 == 0) {
      const auto victim = std::next(live.begin(), static_cast<ptrdiff_t>(random() % live.size()));
      scheduler.remove(victim->first);
      live.erase(victim);
      scheduler.check_integrity();
    }
    scheduler.commit();
    for (const StepSlice& slice : batch.slices) {
      const auto entry = live.find(slice.sequence);
      if (entry == live.end() || !slice.sample) continue;
      if (++entry->second.outputs == entry->second.wanted) {
        scheduler.remove(entry->first);
        live.erase(entry);
        ++finished;
      } else {
        scheduler.append(entry->first, static_cast<int32_t>(random() % 3));
      }
    }
    scheduler.check_integrity();
  }
  EXPECT_GT(finished, 0u);
  EXPECT_EQ(scheduler.pages().num_held(), 0);
  EXPECT_TRUE(scheduler.schedule().empty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPatterns, testing::Range(0u, 2000u),
                         testing::PrintToStringParamName());

// However many better placed ones keep arriving for a while, the order of the line is kept among
// the others, and all end.
TEST(Scheduler, NothingStarvesUnderAStreamOfArrivals) {
  Scheduler scheduler(kSmall);
  const SequenceId patient = scheduler.add({.prompt = tokens(30), .order = 40, .salt = 1});
  int32_t outputs = 0;
  std::map<SequenceId, int32_t> others;
  for (int64_t now = 0; outputs < 5; ++now) {
    ASSERT_LT(now, 2000);
    others[scheduler.add({.prompt = tokens(25, 3), .order = now, .salt = 2})] = 0;
    if (now == 40) ++now;  // the place is taken
    const StepBatch batch = scheduler.schedule();
    scheduler.commit();
    for (const StepSlice& slice : batch.slices) {
      if (!slice.sample) continue;
      if (slice.sequence == patient) {
        ++outputs;
        scheduler.append(patient, 7);
      } else if (++others[slice.sequence] == 3) {
        scheduler.remove(slice.sequence);
        others.erase(slice.sequence);
      } else {
        scheduler.append(slice.sequence, 7);
      }
    }
    scheduler.check_integrity();
  }
}

}  // namespace
}  // namespace nereid
