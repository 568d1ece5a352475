// Prompts and conversations to ids, tools that a template does not show, grammars of a request.
#include "src/server/openai/model_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/openai/testing_model.h"
#include "src/text/testing/byte_tokenizer.h"

namespace nereid::openai {
namespace {

using ::testing::HasSubstr;

ModelText byte_model(std::shared_ptr<const text::ChatTemplate> chat_template) {
  return ModelText({.model = test_model(),
                    .tokenizer = text::byte_tokenizer(),
                    .chat_template = std::move(chat_template)});
}

std::string decoded(const std::vector<int32_t>& ids) {
  return text::byte_tokenizer()->decode(ids, false).value();
}

ChatRequest asking() {
  ChatRequest request;
  request.messages = Json::parse(R"([{"role":"user","content":"hi"}])");
  return request;
}

ChatRequest asking_with_tool(ToolChoice choice) {
  ChatRequest request = asking();
  request.tools.choice = choice;
  request.tools.tools.push_back({.name = "f",
                                 .parameters = Json::parse(R"({"type":"object"})"),
                                 .definition = Json::parse(R"({"function":{"name":"f"}})")});
  return request;
}

TEST(ModelText, LengthsAgainstTheContext) {
  const ModelText text = byte_model(text::byte_chat_template());
  EXPECT_EQ(text.encode_prompt(std::string(999, 'a'), std::nullopt)->size(), 999u);
  const auto long_prompt = text.encode_prompt(std::string(1000, 'a'), std::nullopt);
  EXPECT_EQ(long_prompt.error().param, "prompt");
  EXPECT_EQ(long_prompt.error().code, "context_length_exceeded");
  const auto long_reply = text.encode_prompt(std::string(990, 'a'), 11);
  EXPECT_EQ(long_reply.error().param, "max_tokens");
  EXPECT_THAT(long_reply.error().message, HasSubstr("1001 were requested"));
  EXPECT_EQ(text.encode_prompt(std::string(), 1).error().param, "prompt");
}

TEST(ModelText, DescribesToolsThatTheTemplateDoesNotShow) {
  const ModelText text = byte_model(text::byte_chat_template());
  const std::string prompt =
      decoded(text.encode_chat(asking_with_tool(ToolChoice::kAuto), "messages").value());
  EXPECT_THAT(prompt, HasSubstr("<|system|>"));
  EXPECT_THAT(prompt, HasSubstr(R"({"function":{"name":"f"}})"));
  EXPECT_THAT(prompt, HasSubstr("<tool_call>"));
  const ChatRequest none = asking_with_tool(ToolChoice::kNone);
  EXPECT_EQ(decoded(text.encode_chat(none, "messages").value()), "<|user|>hi</s><|assistant|>");
}

TEST(ModelText, CallsInTheConversationBecomeText) {
  const Json messages = Json::parse(R"([{"role":"system","content":"S"},
      {"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function",
       "function":{"name":"f","arguments":{"b":1,"a":2}}}]}])");
  const Json shown = with_described_tools(messages, {}, *find_tool_format("hermes"));
  EXPECT_THAT(shown[0]["content"].get<std::string>(), HasSubstr("S\n\n"));
  EXPECT_EQ(shown[1]["content"],
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\":1,\"a\":2}}\n</tool_call>");
  EXPECT_FALSE(shown[1].contains("tool_calls"));
}

TEST(ModelText, TemplateErrorsAreTheClients) {
  const auto raising =
      text::ChatTemplate::parse("{{ raise_exception('roles must alternate') }}", {}).value();
  const auto result = byte_model(raising).encode_chat(asking(), "messages");
  EXPECT_EQ(result.error().status, 400);
  EXPECT_THAT(result.error().message, HasSubstr("roles must alternate"));
  const auto looping = text::ChatTemplate::parse(
                           "{% for a in range(times) %}{% for b in range(times) %}{% for c in "
                           "range(times) %}x{% endfor %}{% endfor %}{% endfor %}",
                           {})
                           .value();
  ChatRequest request = asking();
  request.template_variables["times"] = 9999;
  EXPECT_EQ(byte_model(looping).encode_chat(request, "messages").error().status, 400);
  EXPECT_EQ(byte_model(nullptr).encode_chat(asking(), "messages").error().status, 400);
}

TEST(ModelText, Grammars) {
  ModelText text = byte_model(text::byte_chat_template());
  EXPECT_EQ(text.compile({}, nullptr).value(), nullptr);
  const ChatRequest demanded = asking_with_tool(ToolChoice::kRequired);
  EXPECT_NE(text.compile(demanded.generation, &demanded.tools).value(), nullptr);
  ChatRequest free = asking_with_tool(ToolChoice::kAuto);
  EXPECT_EQ(text.compile(free.generation, &free.tools).value(), nullptr);
  free.generation.constraint = Constraint{.kind = text::GrammarKind::kJsonObject};
  EXPECT_NE(text.compile(free.generation, &free.tools).value(), nullptr);
  GenerationRequest wrong;
  wrong.constraint =
      Constraint{.kind = text::GrammarKind::kRegex, .source = "(a", .param = "guided_regex"};
  const auto refused = text.compile(wrong, nullptr);
  EXPECT_EQ(refused.error().status, 400);
  EXPECT_EQ(refused.error().param, "guided_regex");
  ChatRequest wide = asking_with_tool(ToolChoice::kRequired);
  wide.tools.tools[0].parameters["description"] = std::string(5000, 'x');
  EXPECT_EQ(text.compile(wide.generation, &wide.tools).error().param, "tools");
}

TEST(ModelText, WithoutATokenizer) {
  ModelText text({.model = test_model(), .tokenizer = error("no file"), .chat_template = nullptr});
  EXPECT_EQ(text.encode_prompt("x", 1).error().status, 500);
  EXPECT_EQ(text.encode_chat(asking(), "messages").error().status, 500);
}

TEST(ModelText, NamesOfToolFormats) {
  EXPECT_TRUE(ModelText::check_tool_format("auto").has_value());
  EXPECT_TRUE(ModelText::check_tool_format("mistral").has_value());
  EXPECT_THAT(ModelText::check_tool_format("x").error().message,
              HasSubstr("expected one of auto, hermes, llama3_json, mistral"));
}

}  // namespace
}  // namespace nereid::openai
