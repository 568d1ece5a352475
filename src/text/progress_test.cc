// Standard error of a test is no terminal: plain lines only.
#include "src/text/progress.h"

#include <gtest/gtest.h>

namespace nereid::text {
namespace {

TEST(Progress, PlainLinesWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress({.total = 3 << 20, .message = "loading", .unit = ProgressUnit::kBytes});
    for (uint64_t done = 0; done <= 3 << 20; done += 1 << 18) progress.set(done);
    progress.finish("loaded");
    progress.finish("twice");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "loading (3.00 MiB) ...\nloaded\n");
}

TEST(Progress, IsNotDoneWhenDestroyedUnfinished) {
  testing::internal::CaptureStderr();
  {
    Progress unfinished({.message = "compiling"});
    Progress progress({.message = "compiling\x1b[31m\n"});
    progress.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "compiling ...\ncompiling[31m ...\ncompiling[31m: done in 0 seconds\n");
}

}  // namespace
}  // namespace nereid::text
