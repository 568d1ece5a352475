// The integers of a step, read back from the words that would be uploaded.
#include "src/engine/step_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nereid {
namespace {

using testing::ElementsAre;

const StepLimits kLimits = {.page_size = 4,
                            .max_rows = 16,
                            .max_sequences = 4,
                            .max_pages = 5,
                            .prefill_tiles = {{.tokens = 3}},
                            .decode_splits = {{1, 4}, {INT32_MAX, 2}}};
constexpr DevicePtr kBase = 0x10000;

std::vector<int32_t> read(const StepPlan& plan, const Tensor& view) {
  const auto first = (view.ptr() - kBase) / sizeof(int32_t);
  const auto words = plan.words().subspan(first, static_cast<size_t>(view.shape().elements()));
  return {words.begin(), words.end()};
}

TEST(StepPlan, DecodeRowsComeFirstAndSplit) {
  const std::vector<int32_t> prompt = {10, 11, 12, 13, 14};
  const std::vector<int32_t> next = {7};
  const std::vector<int32_t> prompt_pages = {3, 1}, next_pages = {0, 2, 4};
  StepPlan plan(kLimits);
  plan.build(std::vector<SequenceSlice>{
      {.tokens = prompt, .first_position = 0, .pages = prompt_pages},
      {.tokens = next, .first_position = 9, .pages = next_pages, .decode = true}});
  const auto inputs = plan.inputs(kBase);

  EXPECT_THAT(plan.order(), ElementsAre(1, 0));
  EXPECT_THAT(read(plan, inputs.tokens), ElementsAre(7, 10, 11, 12, 13, 14));
  EXPECT_THAT(read(plan, inputs.positions), ElementsAre(9, 0, 1, 2, 3, 4));
  EXPECT_THAT(read(plan, inputs.slots), ElementsAre(4 * 4 + 1, 12, 13, 14, 15, 4));
  EXPECT_THAT(read(plan, inputs.logit_rows), ElementsAre(0, 5));
  EXPECT_THAT(read(plan, inputs.seq_start), ElementsAre(0, 1));
  EXPECT_THAT(read(plan, inputs.seq_queries), ElementsAre(1, 5));
  EXPECT_THAT(read(plan, inputs.seq_context), ElementsAre(10, 5));
  EXPECT_THAT(read(plan, inputs.page_table), ElementsAre(0, 2, 4, 0, 0, 3, 1, 0, 0, 0));

  ASSERT_EQ(inputs.groups.size(), 2u);
  EXPECT_EQ(inputs.groups[0].tile_tokens, 1);
  EXPECT_EQ(inputs.groups[0].num_splits, 4);
  EXPECT_THAT(read(plan, inputs.groups[0].tile_seq), ElementsAre(0));
  EXPECT_EQ(inputs.groups[1].first_row, 1);
  EXPECT_EQ(inputs.groups[1].rows, 5);
  EXPECT_THAT(read(plan, inputs.groups[1].tile_seq), ElementsAre(1, 1));
  EXPECT_THAT(read(plan, inputs.groups[1].tile_first), ElementsAre(0, 3));

  ASSERT_EQ(inputs.wanted_groups.size(), 2u);
  EXPECT_THAT(read(plan, inputs.wanted_groups[0].tile_seq), ElementsAre(0));
  EXPECT_EQ(inputs.wanted_groups[1].rows, 5);
  EXPECT_THAT(read(plan, inputs.wanted_groups[1].tile_seq), ElementsAre(1));
  EXPECT_THAT(read(plan, inputs.wanted_groups[1].tile_first), ElementsAre(3));
}

TEST(StepPlan, NoTilesOfPromptsWithoutLogitsAreWanted) {
  const std::vector<int32_t> prompt = {10, 11, 12, 13, 14}, next = {7};
  const std::vector<int32_t> prompt_pages = {3, 1}, next_pages = {0, 2, 4};
  StepPlan plan(kLimits);
  plan.build(std::vector<SequenceSlice>{
      {.tokens = next, .first_position = 9, .pages = next_pages, .decode = true},
      {.tokens = prompt, .pages = prompt_pages, .logits = LogitRows::kNone}});
  const auto inputs = plan.inputs(kBase);
  EXPECT_EQ(inputs.groups.size(), 2u);
  ASSERT_EQ(inputs.wanted_groups.size(), 1u);
  EXPECT_EQ(inputs.wanted_groups[0].tile_tokens, 1);
}

TEST(StepPlan, TilesOfOneHeadAreTakenWhereTheyAreFewer) {
  StepLimits limits = kLimits;
  limits.prefill_tiles.push_back({.tokens = 8, .programs = 2});
  StepPlan plan(limits);
  const std::vector<int32_t> tokens(16, 5);
  const std::vector<int32_t> pages = {0, 1, 2, 3}, other_pages = {4, 5, 6, 7};
  const auto tile_of = [&](const std::vector<size_t>& counts) {
    std::vector<SequenceSlice> slices;
    for (const size_t count : counts) {
      slices.push_back({.tokens = std::span(tokens).first(count),
                        .pages = slices.empty() ? pages : other_pages});
    }
    plan.build(slices);
    return plan.inputs(kBase).groups.at(0).tile_tokens;
  };
  EXPECT_EQ(tile_of({3}), 3);      // one tile of a group, two of its heads
  EXPECT_EQ(tile_of({5}), 8);      // as many
  EXPECT_EQ(tile_of({8}), 8);      // three, two
  EXPECT_EQ(tile_of({9}), 3);      // three, four
  EXPECT_EQ(tile_of({13, 3}), 8);  // six, six
  plan.force_prefill_tile(8);
  EXPECT_EQ(tile_of({3}), 8);
  plan.force_prefill_tile(0);
  EXPECT_EQ(tile_of({3}), 3);
}

TEST(StepPlan, TilesThatSeeTheMostKeysComeLast) {
  const std::vector<int32_t> chunk = {5, 6, 7, 8}, prompt = {1, 2, 3, 4, 5, 6, 7};
  const std::vector<int32_t> pages = {2, 0}, more_pages = {1, 3};
  StepPlan plan(kLimits);
  plan.build(
      std::vector<SequenceSlice>{{.tokens = chunk, .first_position = 4, .pages = pages},
                                 {.tokens = prompt, .first_position = 0, .pages = more_pages}});
  const auto inputs = plan.inputs(kBase);
  ASSERT_EQ(inputs.groups.size(), 1u);
  EXPECT_THAT(read(plan, inputs.groups[0].tile_seq), ElementsAre(1, 1, 0, 1, 0));
  EXPECT_THAT(read(plan, inputs.groups[0].tile_first), ElementsAre(0, 3, 0, 6, 3));
  EXPECT_THAT(read(plan, inputs.wanted_groups[0].tile_seq), ElementsAre(1, 0));
  EXPECT_THAT(read(plan, inputs.wanted_groups[0].tile_first), ElementsAre(6, 3));
}

TEST(StepPlan, AllLogitsOfAChunk) {
  const std::vector<int32_t> chunk = {5, 6, 7};
  const std::vector<int32_t> pages = {2, 0};
  StepPlan plan(kLimits);
  plan.build(std::vector<SequenceSlice>{
      {.tokens = chunk, .first_position = 4, .pages = pages, .logits = LogitRows::kAll}});
  EXPECT_EQ(plan.logit_rows(), 3);
  EXPECT_THAT(read(plan, plan.inputs(kBase).slots), ElementsAre(0, 1, 2));
}

TEST(StepPlan, RowsToDrawFromComeBeforeTheRest) {
  const std::vector<int32_t> tokens = {5, 6, 7}, pages = {2};
  StepPlan plan(kLimits);
  plan.build(std::vector<SequenceSlice>{
      {.tokens = tokens, .pages = pages, .logits = LogitRows::kLastThenRest},
      {.tokens = tokens, .pages = pages, .logits = LogitRows::kNone},
      {.tokens = tokens, .pages = pages, .logits = LogitRows::kLast},
      {.tokens = tokens, .pages = pages, .logits = LogitRows::kAll}});
  EXPECT_EQ(plan.draw_rows(), 2);
  const auto inputs = plan.inputs(kBase);
  EXPECT_THAT(read(plan, inputs.logit_rows), ElementsAre(2, 8, 0, 1, 9, 10, 11));
  EXPECT_THAT(read(plan, inputs.wanted_groups[0].tile_seq), ElementsAre(0, 2, 3));
}

TEST(StepPlan, LargestPlanFitsItsBound) {
  const std::vector<int32_t> tokens(13, 1), one(1, 1), pages = {0, 1, 2, 3, 4};
  StepPlan plan(kLimits);
  std::vector<SequenceSlice> slices(
      4, {.tokens = one, .first_position = 19, .pages = pages, .decode = true});
  slices[3] = {.tokens = tokens, .first_position = 7, .pages = pages};
  plan.build(slices);
  EXPECT_EQ(plan.rows(), 16);
  EXPECT_LE(plan.words().size_bytes(), StepPlan::max_bytes(kLimits));
  const auto inputs = plan.inputs(kBase);
  for (const auto* groups : {&inputs.groups, &inputs.wanted_groups}) {
    for (const nn::AttentionGroup& group : *groups) EXPECT_EQ(group.tile_seq.ptr() % 64, 0u);
  }
}

TEST(StepPlanDeathTest, TooFewPagesAreABug) {
  const std::vector<int32_t> tokens(5, 1), pages = {0};
  StepPlan plan(kLimits);
  EXPECT_DEATH(plan.build(std::vector<SequenceSlice>{{.tokens = tokens, .pages = pages}}), "pages");
}

}  // namespace
}  // namespace nereid
