// What grammars let through: every kind, both kinds of vocabulary, masks against what is accepted,
// random outputs.
#include "src/text/grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <thread>

#include "src/text/grammar_testing.h"

namespace nereid::text {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kPerson = R"({
  "type": "object", "additionalProperties": false, "required": ["name", "age", "tags"],
  "properties": {"name": {"type": "string", "maxLength": 12},
                 "age": {"type": "integer", "minimum": 0, "maximum": 150},
                 "tags": {"type": "array", "maxItems": 3, "items": {"enum": ["a", "bc", "\"q\""]}}}})";

class Grammars : public ::testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const Grammar> compile(GrammarKind kind, std::string_view source) const {
    const auto grammar = fixture_.compile(kind, source);
    EXPECT_TRUE(grammar) << grammar.error().message;
    return grammar.value();
  }
  bool matches(GrammarKind kind, std::string_view source, std::string_view text) const {
    return fixture_.matches(*compile(kind, source), text);
  }
  GrammarFixture fixture_{GetParam()};
};

TEST_P(Grammars, Regex) {
  const auto date = compile(GrammarKind::kRegex, R"(\d{4}-[01]\d)");
  EXPECT_TRUE(fixture_.matches(*date, "2024-11"));
  EXPECT_FALSE(fixture_.matches(*date, "2024-1"));
  EXPECT_FALSE(fixture_.matches(*date, "2024-31"));
  EXPECT_FALSE(fixture_.matches(*date, "x2024-11"));
  EXPECT_TRUE(matches(GrammarKind::kRegex, "^(yes|no)$", "no"));
  EXPECT_TRUE(matches(GrammarKind::kRegex, R"(a/b"\$)", "a/b\"$"));
  EXPECT_TRUE(matches(GrammarKind::kRegex, "[a-z]+( [a-z]+)*", "one two"));
  EXPECT_FALSE(matches(GrammarKind::kRegex, "[a-z]+( [a-z]+)*", "one  two"));
}

TEST_P(Grammars, RegexThatMatchesNothingToo) {
  const auto digits = compile(GrammarKind::kRegex, "[0-9]*");
  EXPECT_TRUE(fixture_.matches(*digits, ""));
  EXPECT_TRUE(fixture_.matches(*digits, "12"));
}

TEST_P(Grammars, Choice) {
  const auto choice = compile(GrammarKind::kChoice, R"(["red", "re\"d\n", "redder", "é"])");
  EXPECT_TRUE(fixture_.matches(*choice, "red"));
  EXPECT_TRUE(fixture_.matches(*choice, "redder"));
  EXPECT_TRUE(fixture_.matches(*choice, "re\"d\n"));
  EXPECT_FALSE(fixture_.matches(*choice, "redd"));
  EXPECT_FALSE(fixture_.matches(*choice, ""));
}

TEST_P(Grammars, JsonObject) {
  const auto object = compile(GrammarKind::kJsonObject, "ignored {{{");
  EXPECT_TRUE(fixture_.matches(*object, R"({"a": [1, -2.5e3, null, {"b": true}], "c": "\n\\"})"));
  EXPECT_TRUE(fixture_.matches(*object, "{}"));
  EXPECT_FALSE(fixture_.matches(*object, "[1]"));
  EXPECT_FALSE(fixture_.matches(*object, R"({"a": 01})"));
  EXPECT_FALSE(fixture_.matches(*object, "{} {}"));
}

TEST_P(Grammars, JsonSchema) {
  const auto person = compile(GrammarKind::kJsonSchema, kPerson);
  EXPECT_TRUE(fixture_.matches(*person, R"({"name": "Ada", "age": 36, "tags": ["a", "\"q\""]})"));
  EXPECT_FALSE(fixture_.matches(*person, R"({"name": "Ada", "age": 151, "tags": []})"));
  EXPECT_FALSE(fixture_.matches(*person, R"({"name": "Ada", "age": 36, "tags": ["b"]})"));
  EXPECT_FALSE(fixture_.matches(*person, R"({"name": "Ada", "age": 36})"));
}

TEST_P(Grammars, RecursiveSchema) {
  const auto tree =
      compile(GrammarKind::kJsonSchema, R"({"$ref": "#/$defs/node", "$defs": {"node": {
      "type": "object", "additionalProperties": false,
      "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}})");
  EXPECT_TRUE(fixture_.matches(*tree, R"({"next": {"next": {"next": null}}})"));
  EXPECT_FALSE(fixture_.matches(*tree, R"({"next": {"next": 1}})"));
}

TEST_P(Grammars, OneOfIsTakenAsAnyOf) {
  const auto either =
      compile(GrammarKind::kJsonSchema, R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})");
  EXPECT_TRUE(fixture_.matches(*either, "12"));
  EXPECT_TRUE(fixture_.matches(*either, "\"x\""));
}

TEST_P(Grammars, Lark) {
  const auto sum = compile(GrammarKind::kLark,
                           "start: term (\"+\" term)*\n"
                           "term: NUMBER | \"(\" start \")\"\n"
                           "NUMBER: /[0-9]+/\n");
  EXPECT_TRUE(fixture_.matches(*sum, "1+(22+3)+4"));
  EXPECT_FALSE(fixture_.matches(*sum, "1+(2"));
  EXPECT_FALSE(fixture_.matches(*sum, "1)"));
}

// Bit by bit: a token is in the mask if, and only if, it can be accepted.
TEST_P(Grammars, MaskIsWhatIsAccepted) {
  const auto person = compile(GrammarKind::kJsonSchema, kPerson);
  for (const std::string_view prefix :
       {"", "{", "{\"na", "{\"name\": \"", "{\"name\": \"Ada", "{\"name\": \"A\", \"age\": 1"}) {
    SCOPED_TRACE(prefix);
    const auto at_prefix = [&] {
      auto matcher = person->start().value();
      for (const char byte : prefix) EXPECT_TRUE(matcher->accept(fixture_.byte_token(byte)));
      return matcher;
    };
    auto matcher = at_prefix();
    const std::vector<uint32_t> mask = fixture_.mask_of(*matcher);
    int allowed = 0;
    for (int32_t id = 0; id < fixture_.vocab_size; ++id) {
      const bool accepted = matcher->accept(id).has_value();
      EXPECT_EQ(accepted, has_bit(mask, id)) << id << " " << fixture_.tokenizer->id_to_token(id);
      allowed += accepted ? 1 : 0;
      if (accepted) matcher = at_prefix();
    }
    EXPECT_GT(allowed, 0);
  }
}

TEST_P(Grammars, SpecialTokensAndIdsPastTheTokenizerAreNeverAllowed) {
  const auto anything = compile(GrammarKind::kRegex, "(?s:.*)");
  const auto matcher = anything->start().value();
  const std::vector<uint32_t> mask = fixture_.mask_of(*matcher);
  int allowed = 0;
  for (int32_t id = 0; id < fixture_.vocab_size; ++id) {
    const bool is_eos = id == fixture_.eos_ids[0];
    const bool is_special = fixture_.tokenizer->is_special(id);
    if (is_special && !is_eos) EXPECT_FALSE(has_bit(mask, id)) << id;
    if (id >= fixture_.tokenizer->vocab_size()) EXPECT_FALSE(has_bit(mask, id)) << id;
    allowed += has_bit(mask, id) ? 1 : 0;
  }
  EXPECT_GT(allowed, 200);
  for (size_t bit = static_cast<size_t>(fixture_.vocab_size); bit < mask.size() * 32; ++bit) {
    EXPECT_FALSE(has_bit(mask, static_cast<int32_t>(bit)));  // of the last word
  }
}

TEST_P(Grammars, RandomOutputsFit) {
  const auto person = compile(GrammarKind::kJsonSchema, kPerson);
  const auto words = compile(GrammarKind::kRegex, "[a-z]+( [a-z]+){1,3}");
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const std::string text = fixture_.random_output(*person, seed, 40);
    const auto json = nlohmann::json::parse(text, nullptr, false);
    ASSERT_TRUE(json.is_object()) << text;
    EXPECT_LE(json["age"].get<int>(), 150);
    EXPECT_LE(json["tags"].size(), 3u);
    EXPECT_TRUE(std::regex_match(fixture_.random_output(*words, seed, 10),
                                 std::regex("[a-z]+( [a-z]+){1,3}")));
  }
}

TEST_P(Grammars, EndOfSequence) {
  const auto word = compile(GrammarKind::kRegex, "ab?");
  const auto matcher = word->start().value();
  const int32_t eos = fixture_.eos_ids[0];
  EXPECT_FALSE(matcher->accept(eos));
  EXPECT_TRUE(matcher->accept(fixture_.byte_token('a')));
  EXPECT_FALSE(matcher->is_complete());
  EXPECT_TRUE(fixture_.may_end(*matcher));
  EXPECT_TRUE(matcher->accept(fixture_.byte_token('b')));
  EXPECT_TRUE(matcher->is_complete());
  std::vector<uint32_t> only_eos(fixture_.mask_of(*matcher).size(), 0);
  only_eos[static_cast<size_t>(eos) / 32] |= 1u << (eos % 32);
  EXPECT_EQ(fixture_.mask_of(*matcher), only_eos);
  EXPECT_FALSE(matcher->accept(fixture_.byte_token('b')));
  EXPECT_TRUE(matcher->accept(eos));
  EXPECT_TRUE(matcher->is_complete());
  EXPECT_EQ(fixture_.mask_of(*matcher), only_eos);
}

TEST_P(Grammars, OutputsDoNotDisturbEachOther) {
  const auto person = compile(GrammarKind::kJsonSchema, kPerson);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (size_t at = 0; at < texts.size(); ++at) {
    threads.emplace_back([&, at] { texts[at] = fixture_.random_output(*person, 7, 30); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(texts, std::vector<std::string>(4, fixture_.random_output(*person, 7, 30)));
  EXPECT_NE(texts[0], "");
}

TEST_P(Grammars, MatcherOutlivesItsGrammar) {
  auto grammar = compile(GrammarKind::kRegex, "ab");
  const auto matcher = grammar->start().value();
  grammar.reset();
  EXPECT_TRUE(matcher->accept(fixture_.byte_token('a')));
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Grammars, ::testing::Values("bpe_smollm.json", "spm.json"));

// Tokens that are parts of a character.
TEST(GrammarBytes, CharactersOfSeveralTokens) {
  const GrammarFixture fixture("spm.json");
  const auto grammar = fixture.compile(GrammarKind::kRegex, "é").value();
  const auto matcher = grammar->start().value();
  EXPECT_FALSE(matcher->accept(fixture.tokenizer->token_to_id("<0xA9>")));
  EXPECT_TRUE(matcher->accept(fixture.tokenizer->token_to_id("<0xC3>")));
  EXPECT_FALSE(fixture.may_end(*matcher));
  EXPECT_TRUE(matcher->accept(fixture.tokenizer->token_to_id("<0xA9>")));
  EXPECT_TRUE(matcher->is_complete());
}

TEST(GrammarVocabularies, WrongArguments) {
  const GrammarFixture fixture("spm.json");
  const auto message = [&](std::vector<int32_t> eos_ids, int32_t vocab_size) {
    const auto made = GrammarVocabulary::create(fixture.tokenizer, eos_ids, vocab_size);
    return made ? "" : made.error().message;
  };
  EXPECT_THAT(message({}, 700), HasSubstr("no end-of-sequence id"));
  EXPECT_THAT(message({700}, 700), HasSubstr("end-of-sequence id 700: expected 0 to 699"));
  EXPECT_THAT(message({-1}, 700), HasSubstr("end-of-sequence id -1"));
  EXPECT_THAT(message({2}, 0), HasSubstr("vocab_size is 0"));
  EXPECT_THAT(message({2}, 1 << 30), HasSubstr("vocab_size is 1073741824"));
  EXPECT_EQ(message({2}, 100), "");  // fewer logits than tokens
  const auto grammar = fixture.compile(GrammarKind::kRegex, "a").value();
  std::vector<uint32_t> short_mask(3);
  const auto matcher = grammar->start().value();
  EXPECT_THAT(matcher->allowed(short_mask).error().message, HasSubstr("the mask has 3 words"));
  EXPECT_THAT(matcher->accept(-5).error().message, HasSubstr("token id -5"));
  EXPECT_THAT(matcher->accept(fixture.vocab_size).error().message, HasSubstr("0 to"));
}

}  // namespace
}  // namespace nereid::text
