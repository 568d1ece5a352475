// The table of processors has all that this machine can be.
#include "src/device/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/device/cpu/topology.h"

namespace nereid {
namespace {

TEST(Targets, ThoseOfThisMachineInTheOrderOfTheTable) {
  const std::vector<std::string> here = cpu_targets();
  std::vector<std::string> known;
  for (const std::string_view target : all_cpu_targets()) {
    if (std::ranges::find(here, target) != here.end()) known.emplace_back(target);
  }
  EXPECT_EQ(known, here);
}

TEST(Targets, OtherNamesSayNothing) {
  for (const char* target : {"cpu:znver5", "cpu:icelake-server", "cpu:graniterapids", "cpu:"}) {
    EXPECT_THAT(all_cpu_targets(), ::testing::Not(::testing::Contains(target)));
    EXPECT_FALSE(target_is_fast_at_bf16(target)) << target;
    EXPECT_FALSE(target_wants_unsigned_codes(target)) << target;
    EXPECT_FALSE(target_multiplies_tiles(target)) << target;
  }
  EXPECT_TRUE(target_is_fast_at_bf16("cpu:znver4"));
  EXPECT_TRUE(target_wants_unsigned_codes("cpu:cascadelake"));
  EXPECT_FALSE(target_is_fast_at_bf16("cpu:cascadelake"));
  EXPECT_TRUE(target_multiplies_tiles("cpu:sapphirerapids"));
  EXPECT_FALSE(target_multiplies_tiles("cpu:znver4"));
  EXPECT_TRUE(target_is_fast_at_bf16("cuda:90"));
}

}  // namespace
}  // namespace nereid
