// Bodies that are accepted, and what is read from them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/openai/parse.h"
#include "src/server/openai/testing_model.h"

namespace nereid::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Ids = std::vector<int32_t>;

template <typename T>
T value_of(ApiResult<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message;
    return T{};
  }
  return std::move(*result);
}

CompletionRequest completion(std::string_view body) {
  return value_of(parse_completion(body, test_model()));
}
ChatRequest chat(std::string_view body) {
  return value_of(parse_chat(body, test_model()));
}
ResponsesRequest response(std::string_view body) {
  return value_of(parse_response(body, test_model()));
}

TEST(ParseCompletion, Defaults) {
  const CompletionRequest request = completion(R"({"model":"m","prompt":"hi"})");
  const GenerationRequest& generation = request.generation;
  EXPECT_FLOAT_EQ(generation.sampling.temperature, 0.5f);  // the model's
  EXPECT_FLOAT_EQ(generation.sampling.top_p, 1.0f);
  EXPECT_EQ(generation.sampling.top_k, 0);
  EXPECT_EQ(generation.max_tokens, 16);
  EXPECT_EQ(generation.n, 1);
  EXPECT_EQ(generation.top_logprobs, -1);
  EXPECT_FALSE(generation.stream || generation.include_usage || request.echo);
  EXPECT_FALSE(generation.seed.has_value());
  ASSERT_EQ(request.prompts.size(), 1u);
  EXPECT_EQ(std::get<std::string>(request.prompts[0]), "hi");
}

TEST(ParseCompletion, EveryParameter) {
  const CompletionRequest request = completion(R"({
    "model": "m", "prompt": [[1, 2], [3]], "echo": true, "logprobs": 3, "max_tokens": 0, "n": 2,
    "best_of": 2, "temperature": 0, "top_p": 0.5, "top_k": 7, "min_p": 0.25, "seed": -1,
    "stop": ["a", "bé\u0000"], "stop_token_ids": [5], "presence_penalty": -2,
    "frequency_penalty": 2, "repetition_penalty": 1.5, "logit_bias": {"5": -100, "6": 0.5},
    "stream": true, "stream_options": {"include_usage": true}, "min_tokens": 3,
    "ignore_eos": true, "priority": -4, "user": "u"})");
  const GenerationRequest& generation = request.generation;
  EXPECT_EQ(std::get<Ids>(request.prompts[0]), (Ids{1, 2}));
  EXPECT_EQ(std::get<Ids>(request.prompts[1]), (Ids{3}));
  EXPECT_TRUE(request.echo);
  EXPECT_EQ(generation.top_logprobs, 3);
  EXPECT_EQ(generation.max_tokens, 0);
  EXPECT_EQ(generation.n, 2);
  EXPECT_EQ(generation.sampling.temperature, 0);
  EXPECT_EQ(generation.sampling.top_k, 7);
  EXPECT_EQ(generation.sampling.min_p, 0.25f);
  EXPECT_EQ(generation.seed, UINT64_MAX);
  EXPECT_THAT(generation.stop, ElementsAre("a", std::string("b\xc3\xa9\0", 4)));
  EXPECT_THAT(generation.stop_ids, ElementsAre(5));
  EXPECT_EQ(generation.sampling.presence_penalty, -2);
  EXPECT_EQ(generation.sampling.repetition_penalty, 1.5f);
  EXPECT_THAT(generation.sampling.logit_bias, ElementsAre(Pair(5, -100.0f), Pair(6, 0.5f)));
  EXPECT_TRUE(generation.stream && generation.include_usage && generation.ignore_eos);
  EXPECT_EQ(generation.min_tokens, 3);
  EXPECT_EQ(generation.priority, -4);
}

TEST(ParseCompletion, NullsAndWholeNumbersAsFractions) {
  const CompletionRequest request = completion(
      R"({"model":"m","prompt":"x","n":2.0,"stop":null,"temperature":null,"suffix":null,
          "logprobs":null,"logit_bias":null,"stream_options":null,"top_k":-1})");
  EXPECT_EQ(request.generation.n, 2);
  EXPECT_EQ(request.generation.sampling.top_k, 0);
}

TEST(ParseCompletion, Constraints) {
  using text::GrammarKind;
  const auto kind_of = [](const std::string& rest) {
    const auto request = completion(R"({"model":"m","prompt":"x",)" + rest + "}");
    return request.generation.constraint.value_or(Constraint{.source = "none"});
  };
  EXPECT_EQ(kind_of(R"("guided_regex":"a+")").kind, GrammarKind::kRegex);
  EXPECT_EQ(kind_of(R"("guided_grammar":"start: \"a\"")").source, "start: \"a\"");
  EXPECT_EQ(kind_of(R"("guided_choice":["a","é"])").source, "[\"a\",\"é\"]");
  EXPECT_EQ(kind_of(R"("guided_json":"{\"type\":\"object\"}")").source, R"({"type":"object"})");
  EXPECT_EQ(kind_of(R"("response_format":{"type":"json_object"})").kind, GrammarKind::kJsonObject);
  EXPECT_EQ(kind_of(R"("response_format":{"type":"text"})").source, "none");
  EXPECT_EQ(kind_of(R"("structured_outputs":{"json_object":true})").kind, GrammarKind::kJsonObject);
  // Properties keep their order.
  const Constraint schema = kind_of(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,
         "description":"d","schema":{"z":1,"a":2}}})");
  EXPECT_EQ(schema.source, R"({"z":1,"a":2})");
  EXPECT_EQ(schema.param, "response_format.json_schema.schema");
}

TEST(ParseChat, Messages) {
  const ChatRequest request = chat(R"({"model":"m","messages":[
    {"role":"developer","content":"d"},
    {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"n"},
    {"role":"assistant","content":null,"refusal":null,"audio":null,"function_call":null,
     "annotations":[],"tool_calls":[{"id":"c","type":"function",
     "function":{"name":"f","arguments":"{\"z\":1,\"a\":2}"}}]},
    {"role":"tool","tool_call_id":"c","content":"r"}],
    "max_completion_tokens":9,"logprobs":true,"top_logprobs":2,"metadata":{"a":"b"},
    "chat_template_kwargs":{"enable_thinking":false},"store":false})");
  EXPECT_EQ(dump(request.messages),
            R"([{"role":"system","content":"d"},{"role":"user","name":"n","content":"a\nb"},)"
            R"({"role":"assistant","tool_calls":[{"id":"c","type":"function",)"
            R"("function":{"name":"f","arguments":{"z":1,"a":2}}}],"content":""},)"
            R"({"role":"tool","tool_call_id":"c","content":"r"}])");
  EXPECT_EQ(request.generation.max_tokens, 9);
  EXPECT_EQ(request.generation.top_logprobs, 2);
  EXPECT_EQ(dump(request.template_variables), R"({"enable_thinking":false})");
}

TEST(ParseChat, NoLimitOfTokens) {
  const ChatRequest request = chat(R"({"model":"m","messages":[{"role":"user","content":""}]})");
  EXPECT_FALSE(request.generation.max_tokens.has_value());
  EXPECT_EQ(request.tools.choice, ToolChoice::kNone);
}

TEST(ParseChat, Tools) {
  const std::string head =
      R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function",
          "function":{"name":"f","description":"d","strict":true,
          "parameters":{"type":"object","properties":{"b":{},"a":{}}}}}])";
  EXPECT_EQ(chat(head + "}").tools.choice, ToolChoice::kAuto);
  EXPECT_EQ(chat(head + R"(,"tool_choice":"none"})").tools.choice, ToolChoice::kNone);
  EXPECT_EQ(chat(head + R"(,"tool_choice":"required"})").tools.choice, ToolChoice::kRequired);
  const ChatRequest named = chat(
      head +
      R"(,"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false})");
  EXPECT_EQ(named.tools.choice, ToolChoice::kNamed);
  EXPECT_EQ(named.tools.named, "f");
  EXPECT_FALSE(named.tools.parallel);
  EXPECT_EQ(dump(named.tools.tools[0].definition),
            R"({"type":"function","function":{"name":"f","description":"d",)"
            R"("parameters":{"type":"object","properties":{"b":{},"a":{}}}}})");
}

TEST(ParseResponse, Items) {
  const ResponsesRequest request = response(R"({"model":"m","instructions":"be kind",
    "max_output_tokens":5,"store":false,"tools":[{"type":"function","name":"f","parameters":null,
    "strict":true}],"metadata":{"k":"v"},"input":[
    {"role":"user","content":[{"type":"input_text","text":"q"}]},
    {"type":"message","id":"msg_1","status":"completed","role":"assistant",
     "content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]},
    {"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"},
    {"type":"function_call_output","call_id":"c","output":"r"}]})");
  EXPECT_EQ(dump(request.chat.messages),
            R"([{"role":"system","content":"be kind"},{"role":"user","content":"q"},)"
            R"({"role":"assistant","content":"a","tool_calls":[{"id":"c","type":"function",)"
            R"("function":{"name":"f","arguments":{}}}]},)"
            R"({"role":"tool","tool_call_id":"c","content":"r"}])");
  EXPECT_EQ(request.chat.generation.max_tokens, 5);
  EXPECT_EQ(request.chat.tools.choice, ToolChoice::kAuto);
  EXPECT_EQ(request.echoed["instructions"], "be kind");
  EXPECT_EQ(request.echoed["metadata"]["k"], "v");
  EXPECT_EQ(request.echoed["store"], false);
}

TEST(ParseResponse, Schema) {
  const ResponsesRequest request = response(R"({"model":"m","input":"x","text":{"format":
    {"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}}})");
  ASSERT_TRUE(request.chat.generation.constraint.has_value());
  EXPECT_EQ(request.chat.generation.constraint->source, R"({"type":"object"})");
  EXPECT_EQ(request.chat.generation.constraint->param, "text.format.schema");
}

TEST(ApiErrors, OfTheEngine) {
  EXPECT_EQ(from_submit_error({.kind = SubmitError::Kind::kQueueFull}).status, 429);
  EXPECT_EQ(from_submit_error({.kind = SubmitError::Kind::kShuttingDown}).status, 503);
  const ApiError invalid = from_submit_error({.parameter = "prompt", .message = "too long"});
  EXPECT_EQ(invalid.status, 400);
  EXPECT_EQ(invalid.param, "prompt");
  EXPECT_EQ(error_body(invalid),
            R"({"error":{"message":"prompt: too long","type":"invalid_request_error",)"
            R"("param":"prompt","code":"invalid_value"}})");
}

}  // namespace
}  // namespace nereid::openai
