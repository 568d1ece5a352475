// Processes started without a shell: exit codes, output, progress lines.
#include "src/base/subprocess.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace nereid {
namespace {

TEST(Subprocess, KeepsOutputAndExitCode) {
  auto result = run_process({.argv = {"sh", "-c", "echo out; echo err >&2; exit 3"}});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_NE(result->output.find("out\n"), std::string::npos);
  EXPECT_NE(result->output.find("err\n"), std::string::npos);
}

TEST(Subprocess, HandsOutProgressLines) {
  std::vector<std::string> lines;
  auto result =
      run_process({.argv = {"sh", "-c", "printf 'one\\ntwo\\nrest' >&3"},
                   .on_progress_line = [&](std::string_view line) { lines.emplace_back(line); }});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
}

TEST(Subprocess, PassesArgumentsUntouched) {
  auto result = run_process({.argv = {"printf", "%s", "a b; $HOME `id` 'x'"}});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->output, "a b; $HOME `id` 'x'");
}

TEST(Subprocess, InputIsReadFromStdinOrByName) {
  const std::string input(200'000, 'x');  // more than a pipe holds
  for (const char* script : {"wc -c", "test -s /dev/stdin && wc -c < /dev/stdin"}) {
    auto result = run_process({.argv = {"sh", "-c", script}, .input = input});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->output, "200000\n") << script;
  }
  EXPECT_EQ(run_process({.argv = {"wc", "-c"}})->output, "0\n");
}

TEST(Subprocess, WorkingDirAndInheritedEnvironment) {
  ASSERT_EQ(setenv("NEREID_TEST_VALUE", "seen", 1), 0);
  auto result =
      run_process({.argv = {"sh", "-c", "pwd; echo $NEREID_TEST_VALUE"}, .working_dir = "/usr"});
  ASSERT_EQ(unsetenv("NEREID_TEST_VALUE"), 0);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->output, "/usr\nseen\n");
}

TEST(Subprocess, LongOutputIsCutToItsEnd) {
  auto result = run_process({.argv = {"sh", "-c", "seq 1 20000; echo last"}});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_LE(result->output.size(), size_t{16} << 10);
  EXPECT_TRUE(result->output.ends_with("20000\nlast\n"));
}

TEST(Subprocess, SignalsAndMissingPrograms) {
  auto killed = run_process({.argv = {"sh", "-c", "kill -9 $$"}});
  ASSERT_TRUE(killed.has_value());
  EXPECT_EQ(killed->exit_code, 128 + 9);
  auto missing = run_process({.argv = {"/no/such/program"}});
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message, "/no/such/program: cannot run: No such file or directory");
}

}  // namespace
}  // namespace nereid
