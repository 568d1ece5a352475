// Answers and chunks as JSON.
#include "src/server/openai/output.h"

#include <gtest/gtest.h>

#include <cmath>

#include "src/server/openai/json_text.h"
#include "src/server/openai/response_output.h"
#include "src/text/testing/byte_tokenizer.h"

namespace nereid::openai {
namespace {

const AnswerHead kHead{.id = "id-1", .created_unix_s = 7, .model = "m\"x"};

TEST(JsonText, EscapesAnything) {
  std::string all;
  for (int byte = 0; byte < 128; ++byte) all += static_cast<char>(byte);
  all += "é€😀";
  std::string out;
  append_json_string(out, all);
  EXPECT_EQ(Json::parse(out).get<std::string>(), all);
  // Half characters, surrogates and overlong forms become U+FFFD.
  for (const char* bad : {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    out.clear();
    append_json_string(out, bad);
    EXPECT_TRUE(Json::accept(out)) << out;
    EXPECT_TRUE(out.contains("\uFFFD"));
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(JsonText, Numbers) {
  std::string out;
  append_json_number(out, -0.125);
  out += ' ';
  append_json_number(out, NAN);
  out += ' ';
  append_json_number(out, -INFINITY);
  EXPECT_EQ(out, "-0.125 null -3.4028235e+38");
}

TEST(Output, Chat) {
  const WholeChoice choices[] = {
      {.text = "hi\n", .finish_reason = "stop"},
      {.calls = {{.id = "c", .name = "f", .arguments = "{}"}}, .finish_reason = "tool_calls"}};
  const std::string body =
      chat_body(kHead, choices, {.prompt_tokens = 3, .cached_tokens = 2, .completion_tokens = 4});
  EXPECT_EQ(
      body,
      R"({"id":"id-1","object":"chat.completion","created":7,"model":"m\"x","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":"hi\n","refusal":null},)"
      R"("logprobs":null,"finish_reason":"stop"},)"
      R"({"index":1,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":)"
      R"([{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
      R"("logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,)"
      R"("completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}})");
  EXPECT_TRUE(Json::accept(body));
}

TEST(Output, Chunks) {
  ChunkWriter chat(ChunkWriter::Kind::kChat, kHead, true);
  const std::string head =
      R"({"id":"id-1","object":"chat.completion.chunk","created":7,"model":"m\"x","choices":[)";
  EXPECT_EQ(chat.role(1), head + R"({"index":1,"delta":{"role":"assistant","content":""},)"
                                 R"("logprobs":null,"finish_reason":null}],"usage":null})");
  EXPECT_EQ(chat.delta(0, {.content = "a\"", .calls = {}}, "", ""),
            head + R"({"index":0,"delta":{"content":"a\""},"logprobs":null,)"
                   R"("finish_reason":null}],"usage":null})");
  EXPECT_EQ(
      chat.delta(0, {}, "", "stop"),
      head + R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null})");
  EXPECT_EQ(chat.delta(0, {.content = "", .calls = {{.index = 1, .arguments = "{"}}}, "", ""),
            head +
                R"({"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{"}}]},)"
                R"("logprobs":null,"finish_reason":null}],"usage":null})");
  EXPECT_TRUE(Json::accept(chat.usage({.prompt_tokens = 1})));
  ChunkWriter completion(ChunkWriter::Kind::kCompletion, kHead, false);
  EXPECT_EQ(completion.delta(0, {.content = "x", .calls = {}}, R"({"tokens":[]})", "length"),
            R"({"id":"id-1","object":"text_completion","created":7,"model":"m\"x","choices":[)"
            R"({"index":0,"text":"x","logprobs":{"tokens":[]},"finish_reason":"length"}]})");
}

TEST(Output, LogprobsOfBothShapes) {
  const TokenBytes bytes(text::byte_tokenizer());
  const OutputToken token{.id = 0xc3, .logprob = -0.5f, .top = {{0xc3, -0.5f}, {'a', -1.0f}}};
  std::string chat;
  append_chat_logprob(chat, bytes, token);
  EXPECT_EQ(chat, R"({"token":"bytes:\\xc3","logprob":-0.5,"bytes":[195],"top_logprobs":[)"
                  R"({"token":"bytes:\\xc3","logprob":-0.5,"bytes":[195]},)"
                  R"({"token":"a","logprob":-1,"bytes":[97]}]})");
  CompletionLogprobs lists(bytes);
  EXPECT_EQ(lists.json(), "");
  lists.add({.id = 'x', .logprob = NAN}, 0);
  lists.add(token, 1);
  EXPECT_EQ(lists.json(),
            R"({"tokens":["x","bytes:\\xc3"],"token_logprobs":[null,-0.5],)"
            R"("top_logprobs":[null,{"bytes:\\xc3":-0.5,"a":-1}],"text_offset":[0,1]})");
}

TEST(Output, ResponseEvents) {
  std::vector<std::string> names;
  std::vector<Json> events;
  ResponseOutput output(kHead, {{"store", false}},
                        [&](std::string_view name, const std::string& data) {
                          names.emplace_back(name);
                          events.push_back(Json::parse(data));
                          EXPECT_EQ(events.back()["type"], name);
                          EXPECT_EQ(events.back()["sequence_number"], events.size() - 1);
                        });
  output.start();
  output.add({.text = {.content = "a\"", .calls = {}}});
  output.add({.text = {.content = "b", .calls = {{.id = "c", .name = "f", .arguments = "{"}}}});
  output.add(
      {.text = {.content = "", .calls = {{.arguments = "}"}}}, .finish_reason = "tool_calls"});
  output.finish("tool_calls", {.prompt_tokens = 2, .completion_tokens = 3});
  EXPECT_EQ(
      names,
      (std::vector<std::string>{
          "response.created", "response.in_progress", "response.output_item.added",
          "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
          "response.output_text.done", "response.content_part.done", "response.output_item.done",
          "response.output_item.added", "response.function_call_arguments.delta",
          "response.function_call_arguments.delta", "response.function_call_arguments.done",
          "response.output_item.done", "response.completed"}));
  const Json& done = events.back()["response"];
  EXPECT_EQ(done["status"], "completed");
  EXPECT_EQ(done["output"][0]["content"][0]["text"], "a\"b");
  EXPECT_EQ(done["output"][1]["arguments"], "{}");
  EXPECT_EQ(done["usage"]["total_tokens"], 5);
  EXPECT_EQ(done["store"], false);
  EXPECT_EQ(Json::parse(output.body()), done);
}

TEST(Output, ResponseCutShort) {
  ResponseOutput output(kHead, Json::object(), nullptr);
  output.add({.text = {.content = "a", .calls = {}}});
  output.finish("length", {});
  const Json body = Json::parse(output.body());
  EXPECT_EQ(body["status"], "incomplete");
  EXPECT_EQ(body["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(body["output"][0]["status"], "incomplete");
}

}  // namespace
}  // namespace nereid::openai
