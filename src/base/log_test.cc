// Events as text and as JSON.
#include "src/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace nereid {
namespace {

std::string logged(LogFormat format) {
  set_log_level(LogLevel::kInfo);
  set_log_format(format);
  testing::internal::CaptureStderr();
  log_event(
      LogLevel::kInfo, "request",
      {{"path", "/a b"}, {"status", 200}, {"seconds", 0.5}, {"complete", true}, {"id", "x-1"}});
  log_event(LogLevel::kDebug, "unseen", {});
  log_warn("careful: \"{}\"", 1);
  std::string text = testing::internal::GetCapturedStderr();
  set_log_format(LogFormat::kText);
  set_log_level(LogLevel::kWarn);
  return text;
}

TEST(Log, EventsAreTextThatCanBeTakenApart) {
  EXPECT_EQ(logged(LogFormat::kText),
            "nereid: info: request path=\"/a b\" status=200 seconds=0.500000 complete=true id=x-1\n"
            "nereid: warning: careful: \"1\"\n");
}

TEST(Log, EventsAreJsonObjects) {
  std::istringstream lines(logged(LogFormat::kJson));
  std::string line;
  std::getline(lines, line);
  auto event = nlohmann::json::parse(line);
  EXPECT_THAT(event["time"].get<std::string>(),
              testing::MatchesRegex("[0-9]+-[0-9][0-9]-[0-9][0-9]T[0-9:]+\\.[0-9]+Z"));
  event.erase("time");
  EXPECT_EQ(event, (nlohmann::json{{"level", "info"},
                                   {"event", "request"},
                                   {"path", "/a b"},
                                   {"status", 200},
                                   {"seconds", 0.5},
                                   {"complete", true},
                                   {"id", "x-1"}}));
  std::getline(lines, line);
  EXPECT_EQ(nlohmann::json::parse(line)["message"], "careful: \"1\"");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Log, NamesOfLevels) {
  EXPECT_EQ(log_level_named("warn"), LogLevel::kWarn);
  EXPECT_EQ(log_level_named("off"), LogLevel::kOff);
  EXPECT_EQ(log_level_named("loud"), std::nullopt);
}

}  // namespace
}  // namespace nereid
