// What `nereid compile` refuses before it reads the model.
#include "src/engine/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "src/device/target.h"

namespace nereid {
namespace {

using ::testing::HasSubstr;

std::string message_for(const std::string& target) {
  const auto made = compile_pack({.load = {.model_path = "/no/such/model"}, .target = target});
  return made ? "" : made.error().message;
}

TEST(CompilePack, RefusesProcessorsThatNoDeviceTakesForItsOwn) {
  for (const char* target : {"cpu:znver5", "cpu:haswell", "cpu:abacus", "cpu:"}) {
    EXPECT_THAT(message_for(target), HasSubstr("no device runs packs for")) << target;
    EXPECT_THAT(message_for(target), HasSubstr("one of cpu:znver4, ")) << target;
  }
  for (const std::string_view target : all_cpu_targets()) {
    EXPECT_THAT(message_for(std::string(target)), HasSubstr("/no/such/model")) << target;
  }
  for (const char* target : {"", "cpu:native", "cuda:90"}) {
    EXPECT_THAT(message_for(target), HasSubstr("/no/such/model")) << target;
  }
}

}  // namespace
}  // namespace nereid
