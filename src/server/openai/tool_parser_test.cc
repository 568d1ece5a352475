// Calls of tools in the formats of several models, whole and byte by byte.
#include "src/server/openai/tool_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/openai/body.h"
#include "src/server/openai/model_text.h"
#include "src/server/openai/tools.h"
#include "src/text/testing/byte_tokenizer.h"

namespace nereid::openai {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// "content|name(arguments)|name(arguments)": what came of the text, given in pieces of `size`.
std::string parse(std::string_view format, std::string_view text, size_t size, bool parallel = true,
                  bool calls_only = false) {
  int next = 0;
  ToolParser parser({.format = find_tool_format(format),
                     .names = {"f", "g"},
                     .parallel = parallel,
                     .calls_only = calls_only,
                     .new_id = [&] { return fmt::format("id{}", next++); }});
  ParsedText all;
  for (size_t at = 0; at < text.size(); at += size) parser.push(text.substr(at, size), all);
  parser.finish(all);
  std::string out = all.content;
  int index = -1;
  for (const ToolDelta& delta : all.calls) {
    if (!delta.name.empty()) {
      out += (index >= 0 ? ")|" : "|") + delta.name + "(";
      EXPECT_EQ(delta.index, ++index);
      EXPECT_EQ(delta.id, fmt::format("id{}", index));
    }
    EXPECT_EQ(delta.index, index);
    out += delta.arguments;
  }
  if (index >= 0) out += ")";
  EXPECT_EQ(parser.num_calls(), index + 1);
  return out;
}

struct Example {
  std::string format, text, expected;
};

TEST(ToolParser, FormatsInPiecesOfAnySize) {
  const Example table[] = {
      {"hermes", "plain text < tool", "plain text < tool"},
      {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
       "|f({\"a\": 1})"},
      {"hermes", "Sure.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n",
       "Sure.|f({})"},
      {"hermes",
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n"
       "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"s\": "
       "\"}</tool_call>\\\"\"}}\n</tool_call>",
       "|f({})|g({\"s\": \"}</tool_call>\\\"\"})"},
      {"hermes",
       "<tool_call>{\"arguments\": {\"x\": [1, {\"y\": 2}]}, \"name\": \"f\"}</tool_call>",
       "|f({\"x\": [1, {\"y\": 2}]})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
       "|f({\"a\": 1})"},
      {"hermes", "<tool_call>{\"name\": \"f\"}</tool_call>", "|f({})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"id\": 12, \"arguments\": null}</tool_call>",
       "|f({})"},
      {"hermes", "<tool_call>not json</tool_call> after", "<tool_call>not json</tool_call> after"},
      {"hermes", "<tool_call>{\"x\": 1}</tool_call>", "<tool_call>{\"x\": 1}</tool_call>"},
      {"hermes", "<tool_call>{\"name\": ", "<tool_call>{\"name\": "},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", "|f({\"a\": 1)"},
      {"hermes", "text <tool_ca", "text <tool_ca"},
      {"llama3_json", "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "|f({\"a\": 1})"},
      {"llama3_json",
       "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", "
       "\"parameters\": {\"b\": 2}}",
       "|f({})|g({\"b\": 2})"},
      {"llama3_json", "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}", "|f({})"},
      {"llama3_json", "{\"name\": \"Ada\", \"parameters\": 3}",
       "{\"name\": \"Ada\", \"parameters\": 3}"},
      {"llama3_json", "{\"answer\": 42}", "{\"answer\": 42}"},
      {"llama3_json", "It is {\"name\": \"f\"}", "It is {\"name\": \"f\"}"},
      {"mistral",
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", "
       "\"arguments\": {}}]",
       "|f({\"a\": 1})|g({})"},
      {"mistral", "[TOOL_CALLS]{\"name\": \"f\", \"arguments\": {}}", "|f({})"},
      {"mistral", "[TOOL_CALLS]f[ARGS]{\"a\": \"}[ARGS]\"}", "|f({\"a\": \"}[ARGS]\"})"},
      {"mistral", "Sure.[TOOL_CALLS]f[ARGS]{\"a\": {\"b\": 1}}[TOOL_CALLS]g[ARGS]{}",
       "Sure.|f({\"a\": {\"b\": 1}})|g({})"},
      {"mistral", "[TOOL_CALLS]get_weather[CALL_ID]abc123XYZ[ARGS]{\"a\": 1}",
       "|get_weather({\"a\": 1})"},
      {"mistral", "[TOOL_CALLS] f {\"a\": 1}", "|f({\"a\": 1})"},
      {"mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1", "|f({\"a\": 1)"},
      {"mistral", "[TOOL_CALLS]f[ARGS]", "[TOOL_CALLS]f[ARGS]"},
      {"mistral", "[TOOL_CALLS]no call {}", "[TOOL_CALLS]no call {}"},
      {"mistral", "[TOOL_CALLS]f[OTHER]{}", "[TOOL_CALLS]f[OTHER]{}"},
      {"mistral", "[TOOL_CALLS]f[CALL_ID][ARGS]{}", "[TOOL_CALLS]f[CALL_ID][ARGS]{}"},
      {"mistral", "a [list] of things", "a [list] of things"},
  };
  for (const Example& example : table) {
    for (const size_t size : {1, 2, 3, 7, 1000}) {
      EXPECT_EQ(parse(example.format, example.text, size), example.expected)
          << example.text << " by " << size;
    }
  }
}

TEST(ToolParser, OneCallWhereNotParallel) {
  const std::string text =
      "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>"
      "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>";
  EXPECT_EQ(parse("hermes", text, 5, false), "|f({})");
}

TEST(ToolParser, CallsOnlyNeedNoMarkers) {
  for (const size_t size : {1, 4, 1000}) {
    EXPECT_EQ(parse("hermes", "{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\"}", size, true,
                    true),
              "|f({})|g({})");
    EXPECT_EQ(parse("mistral", "[{\"name\": \"f\", \"arguments\": {}}]", size, true, true),
              "|f({})");
  }
}

// Any text ends, and none of it is lost where there are no calls.
TEST(ToolParser, BrokenTextEnds) {
  const std::string pieces[] = {"<tool_call>", "[TOOL_CALLS]", "[ARGS]", "f", "{", "}", "\"name\"",
                                ":",           "\"",           "[",      "]", ",", " "};
  uint32_t state = 1;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int count = 0; count < 12; ++count) {
      state = state * 1664525 + 1013904223;
      text += pieces[(state >> 16) % std::size(pieces)];
    }
    for (const char* format : {"hermes", "llama3_json", "mistral"}) parse(format, text, 1);
  }
}

TEST(ToolParser, DeepArgumentsAreNoCall) {
  const std::string text = "<tool_call>{\"name\":\"f\",\"x\":" + std::string(100000, '[');
  EXPECT_EQ(parse("hermes", text, 1000), text);
}

ToolRequest two_tools() {
  ToolRequest request{.choice = ToolChoice::kRequired};
  request.tools.push_back({.name = "f", .parameters = Json::parse(R"({"type":"object"})")});
  request.tools.push_back({.name = "g", .parameters = Json()});
  return request;
}

std::string grammar(const ToolRequest& request, std::string_view format, bool special = false) {
  return tool_call_grammar(
      request, *find_tool_format(format), [&](std::string_view) { return special; }, std::nullopt);
}

TEST(ToolGrammar, Texts) {
  const std::string hermes = grammar(two_tools(), "hermes");
  EXPECT_THAT(hermes, HasSubstr("call: \"<tool_call>\" \"\\n\" function \"\\n\" \"</tool_call>\""));
  EXPECT_THAT(hermes, HasSubstr("calls: call (\"\\n\" call)*"));
  EXPECT_THAT(hermes, HasSubstr("function: function_0 | function_1"));
  EXPECT_THAT(grammar(two_tools(), "llama3_json"), HasSubstr("\\\"parameters\\\": "));
  EXPECT_THAT(grammar(two_tools(), "mistral"), HasSubstr("\"[TOOL_CALLS]\" \"[\""));
  EXPECT_THAT(grammar(two_tools(), "mistral", true), Not(HasSubstr("TOOL_CALLS")));
  ToolRequest named = two_tools();
  named.choice = ToolChoice::kNamed;
  named.named = "g";
  EXPECT_THAT(grammar(named, "hermes"), HasSubstr("calls: call\n"));
  EXPECT_THAT(grammar(named, "hermes"), Not(HasSubstr("function_0")));
}

// What each grammar admits, by the library that will apply it.
bool admits(const std::string& source, std::string_view text) {
  const std::vector<int32_t> eos = {text::kByteTokenizerEos};
  static const auto kVocabulary =
      text::GrammarVocabulary::create(text::byte_tokenizer(), eos, text::kByteTokenizerVocabulary)
          .value();
  const auto compiled = text::Grammar::compile(kVocabulary, text::GrammarKind::kLark, source);
  if (!compiled) {
    ADD_FAILURE() << compiled.error().message << "\n" << source;
    return false;
  }
  const auto matcher = (*compiled)->start().value();
  for (const char byte : text) {
    if (!matcher->accept(static_cast<unsigned char>(byte))) return false;
  }
  std::vector<uint32_t> mask((text::kByteTokenizerVocabulary + 31) / 32);
  if (!matcher->allowed(mask)) return false;
  return mask[text::kByteTokenizerEos / 32] >> text::kByteTokenizerEos % 32 & 1;
}

TEST(ToolGrammar, AdmitsCallsAndNothingElse) {
  const std::string one = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
  const std::string other = "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
  ToolRequest request = two_tools();
  const std::string hermes = grammar(request, "hermes");
  EXPECT_TRUE(admits(hermes, one));
  EXPECT_TRUE(admits(hermes, one + "\n" + other));
  EXPECT_FALSE(admits(hermes, "hello"));
  EXPECT_FALSE(admits(hermes, "<tool_call>\n{\"name\": \"h\", \"arguments\": {}}\n</tool_call>"));
  EXPECT_FALSE(admits(hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": 3}\n</tool_call>"));
  request.parallel = false;
  EXPECT_FALSE(admits(grammar(request, "hermes"), one + "\n" + other));
  request.parallel = true;
  EXPECT_TRUE(admits(grammar(request, "mistral"),
                     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", "
                     "\"arguments\": {}}]"));
  EXPECT_TRUE(admits(grammar(request, "llama3_json"), "{\"name\": \"f\", \"parameters\": {}}"));
  const std::string either = tool_call_grammar(
      request, *find_tool_format("hermes"), [](std::string_view) { return false; },
      Constraint{.kind = text::GrammarKind::kJsonObject});
  EXPECT_TRUE(admits(either, one));
  EXPECT_TRUE(admits(either, "{\"x\": 1}"));
}

TEST(ToolFormat, FromTheTemplate) {
  const auto probe = [](std::string_view source) {
    return probe_template(*text::ChatTemplate::parse(source, {}).value());
  };
  const TemplateTools hermes = probe(
      "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.role }}"
      "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
      "{% endfor %}");
  EXPECT_EQ(hermes.format->name, "hermes");
  EXPECT_TRUE(hermes.shows_tools);
  EXPECT_EQ(probe("{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS]{% endif %}{% endfor %}")
                .format->name,
            "mistral");
  EXPECT_EQ(
      probe("{% for m in messages %}{% for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name }}"
            "[ARGS]{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}")
          .format->name,
      "mistral");
  const TemplateTools llama = probe(
      "{{ tools | tojson }}{% for m in messages %}{% for c in m.tool_calls %}{\"name\": \"x\", "
      "\"parameters\": {{ c.function.arguments | tojson }}}{% endfor %}{% endfor %}");
  EXPECT_EQ(llama.format->name, "llama3_json");
  const TemplateTools none = probe("{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_EQ(none.format->name, "hermes");
  EXPECT_FALSE(none.shows_tools);
}

}  // namespace
}  // namespace nereid::openai
