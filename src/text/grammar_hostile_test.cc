// Grammars that mean harm or make no sense: each is an error soon, or a grammar that works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <tuple>

#include "src/text/grammar_testing.h"

namespace nereid::text {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string repeat(std::string_view text, int count) {
  std::string result;
  for (int at = 0; at < count; ++at) result += text;
  return result;
}

// "a0,a1,...": `before`, the number, `after` for each, with `between`.
std::string numbered(int count, std::string_view before, std::string_view after,
                     std::string_view between) {
  std::string result;
  for (int at = 0; at < count; ++at) {
    if (at > 0) result += between;
    result.append(before).append(std::to_string(at)).append(after);
  }
  return result;
}

const GrammarFixture& fixture() {
  static const GrammarFixture instance("bpe_smollm.json");
  return instance;
}

// Seconds of all threads on the processor: what a busy machine does not add to.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// Compiles and writes some output. Returns the first message; "" when nothing failed.
std::string attempt(GrammarKind kind, const std::string& source) {
  const double started = processor_seconds();
  std::string message;
  const auto grammar =
      Grammar::compile(fixture().vocabulary, kind, source, {.max_source_bytes = size_t{1} << 20});
  if (!grammar) {
    message = grammar.error().message;
  } else {
    const auto matcher = (*grammar)->start().value();
    std::vector<uint32_t> mask((static_cast<size_t>(fixture().vocab_size) + 31) / 32);
    double slowest = 0;
    for (int step = 0; step < 50 && !matcher->is_complete() && message.empty(); ++step) {
      const double step_started = processor_seconds();
      if (const Status status = matcher->allowed(mask); !status) message = status.error().message;
      int32_t id = 0;
      while (id + 1 < fixture().vocab_size && !has_bit(mask, (id + 31 * step) % 420)) ++id;
      std::ignore = matcher->accept((id + 31 * step) % 420);
      slowest = std::max(slowest, processor_seconds() - step_started);
    }
    if (std::getenv("NEREID_VERBOSE") != nullptr) fmt::print("{:7.1f} ms/step ", slowest * 1e3);
  }
  const double took = processor_seconds() - started;
  EXPECT_LT(took, 5.0);
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  EXPECT_THAT(message, Not(HasSubstr("panic")));
  if (std::getenv("NEREID_VERBOSE") != nullptr) {
    fmt::print("{:7.1f} ms  {:.60}  -> {:.160}\n", took * 1e3, source, message);
  }
  return message;
}

std::string schema(const std::string& source) {
  return attempt(GrammarKind::kJsonSchema, source);
}
std::string regex(const std::string& source) {
  return attempt(GrammarKind::kRegex, source);
}
std::string lark(const std::string& source) {
  return attempt(GrammarKind::kLark, source);
}
std::string choice(const std::string& source) {
  return attempt(GrammarKind::kChoice, source);
}

TEST(HostileGrammar, Nesting) {
  constexpr int kDepth = 60'000;
  EXPECT_THAT(schema(repeat("[", kDepth)), HasSubstr("JSON schema: nested more than 64 deep"));
  EXPECT_THAT(schema(repeat(R"({"items":)", kDepth)), HasSubstr("nested more than 64"));
  EXPECT_THAT(choice(repeat("[", kDepth)), HasSubstr("nested more than 64 deep"));
  EXPECT_THAT(regex(repeat("(", kDepth) + "a" + repeat(")", kDepth)), HasSubstr("nested more"));
  EXPECT_THAT(regex(repeat("(?:", kDepth)), HasSubstr("nested more"));
  EXPECT_THAT(schema(R"({"type":"string","pattern":")" + repeat("(", kDepth) + "\"}"),
              HasSubstr("pattern: groups are nested more"));
  EXPECT_THAT(lark("start: " + repeat("(", kDepth) + "\"a\"" + repeat(")", kDepth)),
              HasSubstr("brackets are open at once"));
  EXPECT_NE(lark("start: " + repeat("(", 150) + "\"a\"" + repeat(")", 150)), "");
  (void)regex(repeat("(a|", 64) + "a" + repeat(")", 64));
  (void)regex("a" + repeat("*", kDepth));
  (void)regex("a" + repeat("?", kDepth));
  (void)regex(repeat("[a&&", kDepth));
  (void)regex(repeat("[[", kDepth));
  (void)lark("start: " + repeat("~", kDepth) + "\"a\"");
  (void)lark("start: \"a\"" + repeat("?", kDepth));
  (void)lark("start: A\nA: \"a\"" + repeat("+", kDepth));
  (void)lark("start: A\nA: " + repeat("~ ", kDepth) + "/a/");
}

TEST(HostileGrammar, Chains) {
  (void)lark("start: r0\n" + numbered(6000, "r", ": ", "") + "\"a\"\n");
  std::string rules = "start: r0\n";
  std::string terminals = "start: T0\n";
  for (int at = 0; at < 5000; ++at) {
    rules += "r" + std::to_string(at) + ": r" + std::to_string(at + 1) + " \"x\"\n";
    terminals += "T" + std::to_string(at) + ": \"(\" T" + std::to_string(at + 1) + " \")\"\n";
  }
  (void)lark(rules + "r5000: \"a\"\n");
  EXPECT_THAT(lark(terminals + "T5000: \"a\"\n"), HasSubstr("nested more than 50 deep"));
  std::string nested = "start: T0\n";
  for (int at = 0; at < 5000; ++at) {
    nested += "T" + std::to_string(at) + ": (T" + std::to_string(at + 1) + " \"x\")* \"y\"\n";
  }
  EXPECT_THAT(lark(nested + "T5000: \"a\"\n"), HasSubstr("nested more than 50 deep"));
  EXPECT_EQ(lark(nested.substr(0, nested.find("T40:")) + "T40: \"a\"\n"), "");
  std::string defs;
  for (int at = 0; at < 3000; ++at) {
    defs += "\"d" + std::to_string(at) + "\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/d" +
            std::to_string(at + 1) + "\"}},";
  }
  (void)schema(R"({"$ref":"#/$defs/d0","$defs":{)" + defs + R"("d3000":{"type":"null"}}})");
  std::string all;
  for (int at = 0; at < 3000; ++at) {
    all += "\"d" + std::to_string(at) + "\":{\"allOf\":[{\"$ref\":\"#/$defs/d" +
           std::to_string(at + 1) + "\"}]},";
  }
  (void)schema(R"({"$ref":"#/$defs/d0","$defs":{)" + all + R"("d3000":{"type":"null"}}})");
}

TEST(HostileGrammar, Blowups) {
  (void)regex("(a+)+b");
  (void)regex("(a|aa)*c");
  (void)regex("(.*)*x");
  (void)regex("(a?){300}a{300}");
  (void)regex(repeat("(a|b)*a", 200));
  (void)regex("(.*a.*){30}");
  (void)regex(".*" + repeat("[ab]", 30) + ".*c.{40}");
  (void)regex(".*a.{20}");
  (void)regex("((a{1,100}){1,100}){1,10}");
  (void)regex(R"([\p{L}\p{N}]{1000})");
  (void)regex(R"((\w|\d|\s){0,5000}z)");
  (void)regex("((((((a{1,9}){1,9}){1,9}){1,9}){1,9}){1,9}");
  EXPECT_THAT(regex("a{1000000000}"), HasSubstr("repetitions multiply to more than 100000"));
  EXPECT_THAT(regex("((a{500}){500}){500}"), HasSubstr("repetitions multiply"));
  EXPECT_THAT(regex("a{99999999999999999999999}"), HasSubstr("repetitions multiply"));
  (void)regex("a{100000}");
  (void)regex("(ab|cd){100000}");
  EXPECT_THAT(schema(R"({"type":"array","minItems":1000000000})"),
              HasSubstr("minItems: more than 100000"));
  EXPECT_THAT(schema(R"({"type":"string","maxLength":1e300})"), HasSubstr("maxLength: more than"));
  (void)schema(R"({"type":"array","minItems":100000,"items":{"type":"array","minItems":100000}})");
  (void)schema(R"({"type":"string","minLength":100000,"maxLength":100000})");
  (void)schema(R"({"type":"object","minProperties":100000})");
  (void)schema(R"({"type":"number","multipleOf":1e-300})");
  (void)schema(R"({"type":"number","multipleOf":0.0000123,"minimum":-1e300,"maximum":1e300})");
  (void)schema(R"({"type":"integer","multipleOf":999999999999999})");
  EXPECT_THAT(schema(R"({"type":"integer","multipleOf":99991})"), HasSubstr("multipleOf: 99991"));
  (void)schema(R"({"type":"integer","multipleOf":997})");
  (void)schema(R"({"type":"number","multipleOf":0.997})");
  (void)schema(R"({"type":"integer","multipleOf":997,"minimum":-123456789,"maximum":1234567890})");
  (void)schema(R"({"type":"integer","multipleOf":0})");
  (void)schema(R"({"type":"integer","minimum":5,"maximum":1})");
}

TEST(HostileGrammar, Products) {
  std::string all_of;
  for (int at = 0; at < 40; ++at) {
    const std::string name = std::to_string(at);
    all_of += (at > 0 ? "," : "") + std::string(R"({"anyOf":[{"required":["a)") + name +
              R"("]},{"required":["b)" + name + R"("]},{"properties":{"c)" + name +
              R"(":{"type":"integer"}}}]})";
  }
  (void)schema(R"({"type":"object","allOf":[)" + all_of + "]}");
  std::string patterns;
  for (int at = 0; at < 300; ++at) {
    patterns += (at > 0 ? "," : "") + std::string(R"({"type":"string","pattern":"[a-z]*)") +
                std::to_string(at) + R"([a-z]*"})";
  }
  EXPECT_THAT(schema(R"({"allOf":[)" + patterns + "]}"), HasSubstr("allOf: 300 entries"));
  (void)schema(R"({"anyOf":[)" + patterns + "]}");
  const std::string from_32 = R"(,{"type":"string","pattern":"[a-z]*32)";
  EXPECT_THAT(schema(R"({"allOf":[)" + patterns.substr(0, patterns.find(from_32)) + "]}"),
              HasSubstr("allOf: patterns: 32 entries, at most 4"));
  const std::string from_4 = R"(,{"type":"string","pattern":"[a-z]*4)";
  EXPECT_EQ(schema(R"({"allOf":[)" + patterns.substr(0, patterns.find(from_4)) + "]}"), "");
  // Each definition uses the next twice: the tree has 2^60 leaves.
  std::string defs;
  for (int at = 0; at < 60; ++at) {
    const std::string next = "{\"$ref\":\"#/$defs/d" + std::to_string(at + 1) + "\"}";
    defs += "\"d" + std::to_string(at) + "\":{\"allOf\":[" + next + "," + next + "]},";
  }
  (void)schema(R"({"$ref":"#/$defs/d0","$defs":{)" + defs + R"("d60":{"type":"object"}}})");
  std::string terminals = "start: T0\n";
  std::string rules = "start: r0\n";
  for (int at = 0; at < 60; ++at) {
    const std::string next = std::to_string(at + 1);
    terminals += "T" + std::to_string(at) + ": T" + next + " T" + next + "\n";
    rules += "r" + std::to_string(at) + ": r" + next + " r" + next + "\n";
  }
  EXPECT_THAT(lark(terminals + "T60: \"a\"\n"),
              AnyOf(HasSubstr("terminals are nested more than 50"), HasSubstr("100000 parts")));
  EXPECT_THAT(lark(terminals.substr(0, terminals.find("T20:")) + "T20: \"a\"\n"),
              HasSubstr("stands for more than 100000 parts"));
  (void)lark(rules + "r60: \"a\"\n");
  (void)lark(rules + "r60: \"a\"?\n");
  (void)lark("start: (\"a\" | start start | start start start)*\n");
  (void)lark("start: A{1,100000}\nA: \"a\" | \"b\"\n");
  (void)lark("start: (\"a\"{1,1000}){1,1000}\n");
  (void)lark("start: (\"a\"{99999999999})\n");
}

TEST(HostileGrammar, LargeEnumerations) {
  EXPECT_EQ(choice("[" + numbered(8'000, "\"choice ", "\"", ",") + "]"), "");
  EXPECT_EQ(schema(R"({"enum":[)" + numbered(8'000, "\"choice ", "\"", ",") + "]}"), "");
  EXPECT_EQ(schema(R"({"enum":[)" + numbered(8'000, "", "", ",") + "]}"), "");
  EXPECT_EQ(schema(R"({"type":"object","properties":{)" +
                   numbered(240, "\"p", R"(":{"type":"string"})", ",") + "}}"),
            "");
  EXPECT_THAT(schema(R"({"type":"object","properties":{)" +
                     numbered(10'000, "\"p", R"(":{"type":"string"})", ",") + "}}"),
              HasSubstr("properties: 10000 entries"));
  (void)schema(R"({"anyOf":[)" + numbered(10'000, R"({"type":"string","maxLength":)", "}", ",") +
               "]}");
  (void)lark("start: " + numbered(20'000, "\"w", "\"", " | ") + "\n");
  (void)lark("start: " + numbered(20'000, "/w", "[a-z]*/", " | ") + "\n");
  (void)regex(numbered(50'000, "w", "", "|"));
}

TEST(HostileGrammar, References) {
  EXPECT_NE(schema(R"({"$ref":"#"})"), "");
  EXPECT_NE(schema(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}})"), "");
  EXPECT_NE(schema(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},
                      "b":{"$ref":"#/$defs/a"}}})"),
            "");
  EXPECT_NE(schema(R"({"allOf":[{"$ref":"#"}]})"), "");
  (void)schema(R"({"anyOf":[{"$ref":"#"}]})");
  (void)schema(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})");
  (void)schema(R"({"type":"array","items":{"$ref":"#"},"minItems":1})");
  EXPECT_THAT(schema(R"({"$ref":"#/$defs/none"})"), HasSubstr("none"));
  EXPECT_NE(schema(R"({"$ref":"http://169.254.169.254/latest"})"), "");
  EXPECT_NE(schema(R"({"$ref":"file:///etc/passwd"})"), "");
  EXPECT_NE(schema(R"({"$ref":7})"), "");
}

TEST(HostileGrammar, Nonsense) {
  for (const char* source : {"",
                             "{",
                             "nul",
                             "7",
                             "\"a\"",
                             "[]",
                             "{\"type\":}",
                             "{} {}",
                             "\xff",
                             R"({"type":"strin"})",
                             R"({"type":7})",
                             R"({"type":[]})",
                             R"({"properties":[]})",
                             R"({"required":"a"})",
                             R"({"enum":[]})",
                             R"({"enum":7})",
                             R"({"anyOf":[]})",
                             R"({"anyOf":{}})",
                             R"({"type":"string","pattern":"("})",
                             R"x({"type":"string","pattern":"(?=a)"})x",
                             R"({"type":"string","pattern":7})",
                             R"({"type":"string","format":"no-such-format"})",
                             R"({"type":"array","items":7})",
                             R"({"not":{"type":"string"}})",
                             R"({"if":{},"then":{}})",
                             R"({"uniqueItems":true,"type":"array"})",
                             R"({"type":"object","required":["a"],"properties":{"a":false}})",
                             R"({"type":"integer","minimum":"a"})",
                             R"({"x-guidance":{"lenient":true}})",
                             "false"}) {
    SCOPED_TRACE(source);
    EXPECT_THAT(schema(source), HasSubstr("JSON schema: "));
  }
  for (const char* source : {"(", "[", "a{2", "*", "(?=a)", "a\\", "\\1", "(?P<n", "a{5,2}",
                             "[z-a]", "\\p{Nope}", "[^\\x00-\\x{10FFFF}]", "\xc3\x28"}) {
    SCOPED_TRACE(source);
    EXPECT_THAT(regex(source), HasSubstr("regular expression: "));
  }
  for (const char* source :
       {"", "start", "start: missing\n", "a: \"b\"\n", "start: start\n", "start: a\na: b\nb: a\n",
        "start: <|im_end|>\n", "start: <[421]>\n", "start: <[99999999]>\n", "start: %json {\n",
        "start: A\nA: A \"x\"\n", "start: /(/\n", "%import common.NOPE\n",
        "start: %json {\"$ref\":\"#\"}\n"}) {
    SCOPED_TRACE(source);
    EXPECT_THAT(lark(source), HasSubstr("Lark grammar: "));
  }
  for (const char* source :
       {"", "[]", "{}", "[1]", "[\"a\", 7]", "[\"\"]", "\"a\"", "[\"a\"", "[\"\\ud800\"]"}) {
    SCOPED_TRACE(source);
    EXPECT_THAT(choice(source), HasSubstr("list of choices: "));
  }
}

TEST(HostileGrammar, TooLarge) {
  for (const auto kind :
       {GrammarKind::kJsonSchema, GrammarKind::kRegex, GrammarKind::kLark, GrammarKind::kChoice}) {
    const auto grammar = fixture().compile(kind, std::string(70'000, ' '));
    ASSERT_FALSE(grammar);
    EXPECT_THAT(grammar.error().message, HasSubstr("70000 bytes, at most 65536"));
  }
}

// After all of that an honest grammar still works.
TEST(HostileGrammar, Zafterwards) {
  const auto grammar = fixture().compile(GrammarKind::kRegex, "ok");
  ASSERT_TRUE(grammar) << grammar.error().message;
  EXPECT_TRUE(fixture().matches(**grammar, "ok"));
}

}  // namespace
}  // namespace nereid::text
