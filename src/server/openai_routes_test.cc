// The OpenAI routes over HTTP, with the fake engine: whole and streamed answers, usage, stop
// strings, errors with their status, clients that go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/server/context.h"
#include "src/server/testing/test_server.h"
#include "src/text/testing/byte_tokenizer.h"

namespace nereid::server {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An engine that says this, token by token.
TestServerOptions saying(const std::string& text, FakeServingOptions engine = {}) {
  engine.reply = [text](const ServeRequest&) {
    std::vector<int32_t> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  };
  return {.engine = std::move(engine)};
}

struct Answer {
  int status = 0;
  json body;
  std::string raw;
};

std::string with_model(TestServer& server, const std::string& rest) {
  return fmt::format(R"({{"model":"{}",{}}})", server.server().context().model_name, rest);
}

Answer post(TestServer& server, const std::string& path, const std::string& rest) {
  TestClient client = server.connect();
  const auto response = client.post(path, with_model(server, rest));
  if (!response) return {};
  return {response->status, json::parse(response->body, nullptr, false), response->body};
}

// The data of a stream's events.
std::vector<std::string> events(const std::string& raw) {
  std::vector<std::string> out;
  size_t at = 0;
  while ((at = raw.find("data: ", at)) != std::string::npos) {
    const size_t end = raw.find('\n', at);
    out.push_back(raw.substr(at + 6, end - at - 6));
    at = end;
  }
  return out;
}

const std::string kChat = R"("messages":[{"role":"user","content":"abc"}])";

TEST(Completions, Echoes) {
  TestServer server;
  const Answer answer = post(server, "/v1/completions", R"("prompt":"abc","max_tokens":10)");
  ASSERT_EQ(answer.status, 200) << answer.raw;
  EXPECT_EQ(answer.body["object"], "text_completion");
  EXPECT_EQ(answer.body["choices"][0]["text"], "abc");
  EXPECT_EQ(answer.body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer.body["usage"]["completion_tokens"], 3);
  EXPECT_EQ(answer.body["usage"]["total_tokens"],
            answer.body["usage"]["prompt_tokens"].get<int>() + 3);
}

TEST(Completions, PromptsAndChoices) {
  TestServer server;
  const Answer answer = post(server, "/v1/completions",
                             R"("prompt":["ab",[99,100,101]],"n":2,"max_tokens":2,"seed":7)");
  // A list is of one kind of prompts or of both: each entry says for itself.
  ASSERT_EQ(answer.status, 200) << answer.raw;
  ASSERT_EQ(answer.body["choices"].size(), 4u);
  EXPECT_EQ(answer.body["choices"][0]["text"], "ab");
  EXPECT_EQ(answer.body["choices"][3]["text"], "cd");
  EXPECT_EQ(answer.body["choices"][3]["index"], 3);
  EXPECT_EQ(answer.body["choices"][3]["finish_reason"], "length");
  EXPECT_EQ(answer.body["usage"]["completion_tokens"], 8);
  EXPECT_EQ(server.engine().submitted()[1].sampling.seed, 7u);
}

TEST(Completions, EchoWithLogprobs) {
  TestServer server;
  const Answer answer = post(server, "/v1/completions",
                             R"("prompt":[97,195,169],"echo":true,"logprobs":1,"max_tokens":1)");
  ASSERT_EQ(answer.status, 200) << answer.raw;
  const json& choice = answer.body["choices"][0];
  EXPECT_EQ(choice["text"], "aéa");
  const json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], (json{"a", "bytes:\\xc3", "bytes:\\xa9", "a"}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][3], -7.0 / 8);
  EXPECT_EQ(logprobs["text_offset"][3], 2);
  EXPECT_EQ(logprobs["top_logprobs"][3].size(), 1u);
}

TEST(Completions, OnlyThePrompt) {
  TestServer server;
  const Answer answer =
      post(server, "/v1/completions", R"("prompt":"ab","echo":true,"logprobs":0,"max_tokens":0)");
  ASSERT_EQ(answer.status, 200) << answer.raw;
  EXPECT_EQ(answer.body["choices"][0]["text"], "ab");
  EXPECT_EQ(answer.body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer.body["usage"]["completion_tokens"], 0);
}

TEST(Completions, StopStringIsNeverShownNorCounted) {
  TestServer server(saying("one STOP two three four five six seven eight nine"));
  for (const bool stream : {false, true}) {
    const std::string rest = R"("prompt":"x","max_tokens":200,"stop":["STOP"],"stream":)";
    const Answer answer =
        post(server, "/v1/completions",
             rest + (stream ? R"(true,"stream_options":{"include_usage":true})" : "false"));
    ASSERT_EQ(answer.status, 200) << answer.raw;
    std::string text, finish;
    json usage;
    if (stream) {
      const auto data = events(answer.raw);
      EXPECT_EQ(data.back(), "[DONE]");
      for (size_t index = 0; index + 1 < data.size(); ++index) {
        const json chunk = json::parse(data[index]);
        if (chunk["choices"].empty()) {
          usage = chunk["usage"];
          continue;
        }
        EXPECT_TRUE(chunk["usage"].is_null());
        text += chunk["choices"][0]["text"];
        if (chunk["choices"][0]["finish_reason"].is_string()) {
          finish = chunk["choices"][0]["finish_reason"];
        }
      }
    } else {
      text = answer.body["choices"][0]["text"];
      finish = answer.body["choices"][0]["finish_reason"];
      usage = answer.body["usage"];
    }
    EXPECT_EQ(text, "one ");
    EXPECT_EQ(finish, "stop");
    EXPECT_EQ(usage["completion_tokens"], 8);
  }
}

TEST(Chat, Whole) {
  TestServer server(saying("hé\"", {.cached_tokens = 2}));
  const Answer answer =
      post(server, "/v1/chat/completions", kChat + R"(,"logprobs":true,"top_logprobs":2,"n":2)");
  ASSERT_EQ(answer.status, 200) << answer.raw;
  const json& choice = answer.body["choices"][1];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "hé\"");
  ASSERT_EQ(choice["logprobs"]["content"].size(), 4u);
  EXPECT_EQ(choice["logprobs"]["content"][1]["bytes"], json::array({0xc3}));
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(answer.body["usage"]["completion_tokens"], 8);
  EXPECT_EQ(answer.body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

TEST(Chat, Stream) {
  TestServer server(saying("hi"));
  const Answer answer = post(server, "/v1/chat/completions", kChat + R"(,"stream":true)");
  const auto data = events(answer.raw);
  ASSERT_GE(data.size(), 3u) << answer.raw;
  EXPECT_EQ(json::parse(data[0])["choices"][0]["delta"]["role"], "assistant");
  std::string text;  // of any number of chunks: tokens that come together go together
  for (size_t index = 1; index + 1 < data.size(); ++index) {
    const json chunk = json::parse(data[index]);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_FALSE(chunk.contains("usage"));
    text += chunk["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(text, "hi");
  EXPECT_EQ(json::parse(data[data.size() - 2])["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(data.back(), "[DONE]");
}

const std::string kTools =
    R"(,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])";
const std::string kCall = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";

TEST(Chat, ToolCalls) {
  TestServer server(saying(kCall, {.max_context = 1024}));
  const Answer answer = post(server, "/v1/chat/completions", kChat + kTools);
  ASSERT_EQ(answer.status, 200) << answer.raw;
  const json& choice = answer.body["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(choice["message"]["content"].is_null());
  const json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "f");
  EXPECT_EQ(call["function"]["arguments"], "{\"a\": 1}");
  EXPECT_THAT(call["id"].get<std::string>(), HasSubstr("call_"));
  EXPECT_EQ(server.engine().submitted()[0].grammar, nullptr);
  const Answer none =
      post(server, "/v1/chat/completions", kChat + kTools + R"(,"tool_choice":"none")");
  EXPECT_EQ(none.body["choices"][0]["message"]["content"], kCall);
}

TEST(Chat, StreamedToolCalls) {
  TestServer server(saying("Yes.\n" + kCall, {.max_context = 1024}));
  const Answer answer = post(server, "/v1/chat/completions", kChat + kTools + R"(,"stream":true)");
  std::string arguments, name, content, finish;
  for (const std::string& data : events(answer.raw)) {
    if (data == "[DONE]") break;
    const json choice = json::parse(data)["choices"][0];
    content += choice["delta"].value("content", "");
    if (choice["finish_reason"].is_string()) finish = choice["finish_reason"];
    if (!choice["delta"].contains("tool_calls")) continue;
    const json call = choice["delta"]["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    name += call["function"].value("name", "");
    arguments += call["function"].value("arguments", "");
  }
  EXPECT_EQ(content, "Yes.");
  EXPECT_EQ(name, "f");
  EXPECT_EQ(arguments, "{\"a\": 1}");
  EXPECT_EQ(finish, "tool_calls");
}

TEST(Chat, DemandedToolCallsAreConstrained) {
  TestServer server(saying(kCall, {.max_context = 1024}));
  post(server, "/v1/chat/completions", kChat + kTools + R"(,"tool_choice":"required")");
  EXPECT_NE(server.engine().submitted().at(0).grammar, nullptr);
}

TEST(Responses, WholeAndStreamed) {
  TestServer server(saying("hi"));
  const Answer whole = post(server, "/v1/responses", R"("input":"abc","instructions":"be kind")");
  ASSERT_EQ(whole.status, 200) << whole.raw;
  EXPECT_EQ(whole.body["object"], "response");
  EXPECT_EQ(whole.body["status"], "completed");
  EXPECT_EQ(whole.body["output"][0]["content"][0]["text"], "hi");
  EXPECT_EQ(whole.body["usage"]["output_tokens"], 2);
  const Answer streamed = post(server, "/v1/responses", R"("input":"abc","stream":true)");
  std::string text, last;
  for (const std::string& data : events(streamed.raw)) {
    const json event = json::parse(data);
    last = event["type"];
    EXPECT_THAT(streamed.raw, HasSubstr("event: " + last + "\n"));
    if (last == "response.output_text.delta") text += event["delta"];
  }
  EXPECT_EQ(text, "hi");
  EXPECT_EQ(last, "response.completed");
}

TEST(OpenAiErrors, StatusAndParameter) {
  TestServer server;
  struct Row {
    std::string path, rest, param;
    int status;
  };
  const Row table[] = {
      {"/v1/completions", R"("prompt":"a","n":0)", "n", 400},
      {"/v1/completions", R"("prompt":"")", "prompt", 400},
      {"/v1/completions", R"("prompt":")" + std::string(1000, 'a') + "\"", "prompt", 400},
      {"/v1/completions", R"("prompt":"a","max_tokens":256)", "max_tokens", 400},
      {"/v1/completions", R"("prompt":"a","guided_regex":"(")", "guided_regex", 400},
      {"/v1/completions", R"("prompt":"a","guided_grammar":"start: (")", "guided_grammar", 400},
      {"/v1/chat/completions", R"("messages":[])", "messages", 400},
      {"/v1/chat/completions", kChat + R"(,"chat_template_kwargs":{"messages":1})",
       "chat_template_kwargs.messages", 400},
      {"/v1/chat/completions",
       kChat + R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)"
               R"({"type":"object","properties":{"a":{"$ref":"#/nowhere"}},"required":["a"]}}})",
       "response_format.json_schema.schema", 400},
      {"/v1/responses", R"("input":"a","previous_response_id":"r")", "previous_response_id", 400},
      {"/v1/responses", R"("input":"a","max_output_tokens":255)", "max_output_tokens", 400}};
  for (const Row& row : table) {
    const Answer answer = post(server, row.path, row.rest);
    EXPECT_EQ(answer.status, row.status) << row.rest << answer.raw;
    EXPECT_EQ(answer.body["error"]["param"], row.param) << answer.raw;
    EXPECT_EQ(answer.body["error"]["type"], "invalid_request_error");
  }
  TestClient client = server.connect();
  EXPECT_EQ(client.post("/v1/completions", R"({"model":"other","prompt":"x"})")->status, 404);
  EXPECT_TRUE(server.engine().submitted().empty());
}

TEST(OpenAiErrors, ModelWithoutText) {
  TestServer no_tokenizer({.engine = {.broken_tokenizer = true}});
  EXPECT_EQ(post(no_tokenizer, "/v1/completions", R"("prompt":"a")").status, 500);
  EXPECT_EQ(post(no_tokenizer, "/v1/completions", R"("prompt":[1])").status, 500);
  TestServer no_template({.engine = {.with_chat_template = false}});
  EXPECT_EQ(post(no_template, "/v1/chat/completions", kChat).status, 400);
  TestServer broken({.engine = {.broken_chat_template = true}});
  EXPECT_EQ(post(broken, "/v1/chat/completions", kChat).status, 500);
}

TEST(OpenAiErrors, QueueFull) {
  TestServer server({.engine = {.serving = {.max_sequences = 1, .max_waiting = 1},
                                .step = milliseconds(20),
                                .max_context = 4096}});
  std::vector<TestClient> clients;
  const std::string body =
      with_model(server, R"("prompt":"abc","max_tokens":200,"ignore_eos":true)");
  for (int count = 0; count < 6; ++count) {
    clients.push_back(server.connect());
    clients.back().send(post_request("/v1/completions", body));
  }
  // One runs, one waits; at least four of six are refused, the last one among the first to know.
  int refused = 0;
  for (auto client = clients.rbegin(); client != clients.rend() && refused == 0; ++client) {
    const std::string head = client->read_until("\r\n\r\n");
    if (!head.contains("HTTP/1.1 429")) continue;
    ++refused;
    EXPECT_THAT(head, HasSubstr("Retry-After: 1"));
  }
  EXPECT_EQ(refused, 1);
}

TEST(OpenAiErrors, EngineFails) {
  TestServer server({.engine = {.error_message = "grammar too complex"}});
  const Answer whole = post(server, "/v1/completions", R"("prompt":"abc")");
  EXPECT_EQ(whole.status, 500);
  EXPECT_THAT(whole.raw, HasSubstr("grammar too complex"));
  const Answer stream = post(server, "/v1/completions", R"("prompt":"abc","stream":true)");
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(events(stream.raw).back(), HasSubstr("grammar too complex"));
}

TEST(Clients, GoAndTheirRequestsAreCancelled) {
  TestServer server({.engine = {.step = milliseconds(2), .max_context = 4096}});
  for (const std::string stream : {"true", "false"}) {
    TestClient client = server.connect();
    client.send(post_request(
        "/v1/completions",
        with_model(
            server,
            R"("prompt":["abc","def"],"max_tokens":4000,"ignore_eos":true,"stream":)" + stream)));
    const size_t before = stream == "true" ? 0 : 2;
    ASSERT_TRUE(server.engine().wait_submitted(before + 2, milliseconds(5000)));
    client.reset();
    EXPECT_TRUE(server.engine().wait_done(before + 2, milliseconds(5000)));
  }
  EXPECT_TRUE(server.engine().wait_cancelled(4, milliseconds(5000)));
  EXPECT_EQ(server.engine().stats().running, 0);
}

TEST(Clients, LeaveTheEngineWithinOneStep) {
  TestServer server({.engine = {.step = milliseconds(100), .max_context = 4096}});
  for (size_t round = 1; round <= 3; ++round) {
    TestClient client = server.connect();
    client.send(post_request(
        "/v1/completions",
        with_model(server, R"("prompt":"abc","max_tokens":4000,"ignore_eos":true,"stream":true)")));
    client.read_until("data: ");
    const uint64_t before = server.engine().stats().steps;
    client.close();
    ASSERT_TRUE(server.engine().wait_cancelled(round, milliseconds(5000)));
    EXPECT_LE(server.engine().stats().steps, before + 2);  // the one under way, and its own end
  }
}

// The reader's answers pile up as far as a bound; meanwhile others have theirs.
TEST(Clients, ThatReadSlowlyAreCutAndDelayNobody) {
  TestServer server(
      {.server = {.write_timeout = milliseconds(500)},
       .engine = {.step = std::chrono::microseconds(200), .max_context = 10'000'000}});
  TestClient slow = server.connect({.receive_buffer = 4096});
  slow.send(post_request("/v1/completions",
                         with_model(server, R"("prompt":"abc","max_tokens":9000000,"logprobs":20,)"
                                            R"("ignore_eos":true,"stream":true)")));
  slow.read_until("data: ");
  int answered = 0;
  while (!server.engine().wait_cancelled(1, milliseconds(0)) && answered < 100'000) {
    const Answer other = post(server, "/v1/completions", R"("prompt":"abc","max_tokens":3)");
    ASSERT_EQ(other.status, 200);
    ++answered;
  }
  EXPECT_GT(answered, 10);
  EXPECT_TRUE(server.engine().wait_cancelled(1, milliseconds(1)));
  EXPECT_TRUE(server.wait_connections(0));  // the slow one has not closed its end
  const size_t all = server.engine().submitted().size();
  EXPECT_TRUE(server.engine().wait_done(all, milliseconds(5000)));
  EXPECT_EQ(server.engine().stats().running, 0);
}

}  // namespace
}  // namespace nereid::server
