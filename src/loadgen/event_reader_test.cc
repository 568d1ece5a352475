// What is found in events, in every form that servers write them, and however they are cut.
#include "src/loadgen/event_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace nereid::loadgen {
namespace {

TEST(InspectEvent, Text) {
  EXPECT_TRUE(inspect_event(R"({"choices":[{"text":" a","index":0}]})").has_text);
  EXPECT_TRUE(inspect_event(R"({"choices": [{"index": 0, "text": " a"}]})").has_text);
  EXPECT_TRUE(inspect_event(R"({"choices":[{"delta":{"content":"\n"}}]})").has_text);
  EXPECT_TRUE(inspect_event(R"({"choices":[{"delta":{"reasoning_content":"x"}}]})").has_text);
  EXPECT_TRUE(inspect_event(R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})").has_text);
  EXPECT_FALSE(
      inspect_event(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})").has_text);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"delta":{"content":null}}]})").has_text);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})").has_text);
  EXPECT_FALSE(inspect_event("").has_text);
}

TEST(InspectEvent, DoneAndErrors) {
  EXPECT_TRUE(inspect_event("[DONE]").is_done);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"text":"[DONE]"}]})").is_done);
  EXPECT_TRUE(inspect_event(R"({"error": {"message": "x"}})").is_error);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"text":"\"error\": {"}]})").is_error);
  EXPECT_FALSE(inspect_event(R"({"choices":[],"error":null})").is_error);
}

TEST(InspectEvent, Usage) {
  const auto usage =
      inspect_event(R"({"choices":[], "usage": {"prompt_tokens": 5, "completion_tokens": 12}})")
          .usage;
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->prompt_tokens, 5);
  EXPECT_EQ(usage->completion_tokens, 12);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"text":"a"}],"usage":null})").usage);
  EXPECT_FALSE(inspect_event(R"({"choices":[{"text":"\"usage\":{"}]})").usage);
  EXPECT_FALSE(inspect_event(R"({"usage":{broken)").usage);
  const auto odd =
      inspect_event(R"({"usage":{"prompt_tokens":-5,"completion_tokens":1e300}})").usage;
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->prompt_tokens, -1);
  EXPECT_EQ(odd->completion_tokens, -1);
}

TEST(EventReader, AnyCut) {
  const std::string stream =
      ": comment\r\n\r\nevent: x\ndata: one\r\n\r\ndata:two\n\ndata:\n\nid: 4\ndata: [DONE]\n\n";
  const std::vector<std::string> expected = {"one", "two", "", "[DONE]"};
  for (size_t step = 1; step <= stream.size(); ++step) {
    EventReader reader;
    std::vector<std::string> events;
    for (size_t at = 0; at < stream.size(); at += step) {
      EXPECT_TRUE(reader.push(std::string_view(stream).substr(at, step),
                              [&](std::string_view payload) { events.emplace_back(payload); }));
    }
    EXPECT_EQ(events, expected) << step;
  }
}

TEST(EventReader, EndlessLine) {
  EventReader reader;
  const std::string piece(1 << 20, 'x');
  bool fits = true;
  for (int at = 0; at < 20 && fits; ++at) fits = reader.push(piece, [](std::string_view) {});
  EXPECT_FALSE(fits);
}

}  // namespace
}  // namespace nereid::loadgen
