// Vocabularies that lie: every one is an error that names what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "src/text/testdata.h"
#include "src/text/tokenizer.h"

namespace nereid::text {
namespace {

using ::testing::HasSubstr;

struct Hostile {
  const char* name;
  std::function<void(GgufVocabulary&)> damage;
  const char* expected;  // part of the message
};

void refuse(const char* golden, const std::vector<Hostile>& cases) {
  const auto json = read_json_testdata(golden);
  ASSERT_TRUE(Tokenizer::from_gguf(vocabulary_of(json["vocabulary"])));
  for (const Hostile& hostile : cases) {
    SCOPED_TRACE(hostile.name);
    GgufVocabulary vocabulary = vocabulary_of(json["vocabulary"]);
    hostile.damage(vocabulary);
    const auto tokenizer = Tokenizer::from_gguf(vocabulary);
    ASSERT_FALSE(tokenizer);
    EXPECT_THAT(tokenizer.error().message, HasSubstr(hostile.expected));
    EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
  }
}

using V = GgufVocabulary;

TEST(HostileVocabulary, ByteLevel) {
  refuse(
      "bpe_gpt-2.json",
      {{"unknown model", [](V& v) { v.model = "bert"; }, "\"bert\", supported are gpt2, llama"},
       {"unknown pre", [](V& v) { v.pre = "martian"; },
        "\"martian\", supported are llama-bpe, qwen2, smollm, gpt-2, default, tekken"},
       {"no tokens", [](V& v) { v.tokens.clear(); }, "tokens has 0 entries"},
       {"too many tokens", [](V& v) { v.tokens.resize((1 << 21) + 1); }, "2097153 entries"},
       {"one type short", [](V& v) { v.types.pop_back(); }, "token_type has 424 entries"},
       {"type 7", [](V& v) { v.types[9] = 7; }, "token_type[9] is 7"},
       {"negative type", [](V& v) { v.types[9] = -1; }, "token_type[9] is -1"},
       {"scores of another length", [](V& v) { v.scores = {1.0f}; }, "scores has 1 entries"},
       {"repeated token", [](V& v) { v.tokens[7] = v.tokens[3]; }, "tokens[7]"},
       {"empty token twice", [](V& v) { v.tokens[7] = v.tokens[3] = ""; }, "tokens[7]"},
       {"invalid UTF-8", [](V& v) { v.tokens[5] = "a\xc3"; }, "tokens[5]: invalid UTF-8"},
       {"surrogate", [](V& v) { v.tokens[5] = "\xed\xa0\x80"; }, "tokens[5]: invalid UTF-8"},
       {"huge token", [](V& v) { v.tokens[5] = std::string(70'000, 'x'); }, "70000 bytes"},
       {"no merges", [](V& v) { v.merges.clear(); }, "merges has 0 entries"},
       {"merge of unknown", [](V& v) { v.merges[2] = "zzz yyy"; }, "merges[2]"},
       {"merge to unknown", [](V& v) { v.merges[2] = "A A"; }, "\"AA\" is not in the vocabulary"},
       {"merge without space", [](V& v) { v.merges[2] = "ab"; }, "merges[2] is \"ab\""},
       {"merge with empty half", [](V& v) { v.merges[2] = "a "; }, "merges[2] is \"a \""},
       {"merge of three", [](V& v) { v.merges[2] = "a b c"; }, "merges[2]"},
       {"merge in bad UTF-8", [](V& v) { v.merges[2] = "a \xff"; }, "merges[2]: invalid UTF-8"},
       {"negative id", [](V& v) { v.eos_id = -7; }, "eos_token_id is -7"},
       {"id past the end", [](V& v) { v.bos_id = 425; }, "bos_token_id is 425"},
       {"largest id", [](V& v) { v.pad_id = 2147483647; }, "padding_token_id is 2147483647"},
       {"BOS wanted, none named", [](V& v) { v.bos_id = -1; }, "add_bos_token is set"},
       {"bad UTF-8 in pre", [](V& v) { v.pre = "\xff"; }, "tokenizer.ggml.pre"}});
}

TEST(HostileVocabulary, SentencePiece) {
  refuse("spm.json", {{"no scores", [](V& v) { v.scores.clear(); }, "scores is missing"},
                      {"NaN", [](V& v) { v.scores[300] = NAN; }, "scores[300] is NaN"},
                      {"infinite", [](V& v) { v.scores[300] = INFINITY; }, "scores[300] is inf"},
                      {"repeated", [](V& v) { v.tokens[301] = v.tokens[300]; }, "tokens[301]"}});
}

// Odd but harmless: accepted, and nothing goes wrong later.
TEST(HostileVocabulary, OddOnesWork) {
  const auto json = read_json_testdata("bpe_gpt-2.json");
  GgufVocabulary all_special = vocabulary_of(json["vocabulary"]);
  for (int32_t& type : all_special.types) type = 3;
  GgufVocabulary repeated_merges = vocabulary_of(json["vocabulary"]);
  for (std::string& merge : repeated_merges.merges) merge = repeated_merges.merges[0];
  GgufVocabulary empty_token = vocabulary_of(json["vocabulary"]);
  empty_token.tokens[420] = "";
  GgufVocabulary no_types = vocabulary_of(json["vocabulary"]);
  no_types.types.clear();
  for (const GgufVocabulary& vocabulary : {all_special, repeated_merges, empty_token, no_types}) {
    const auto tokenizer = Tokenizer::from_gguf(vocabulary);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    const auto ids = (*tokenizer)->encode("Hello <|end|> world\n é", {});
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_TRUE((*tokenizer)->decode(*ids, false));
  }
}

TEST(HostileVocabulary, ScoresThatTieOrRise) {
  auto vocabulary = vocabulary_of(read_json_testdata("spm.json")["vocabulary"]);
  for (float& score : vocabulary.scores) score = 0.0f;
  const auto tokenizer = Tokenizer::from_gguf(vocabulary).value();
  const std::string text = "aaaa bbbb   the x\n" + std::string(5000, 'a');
  const auto ids = tokenizer->encode(text, {.add_special_tokens = false}).value();
  EXPECT_EQ(tokenizer->decode(ids, true).value(), text);
}

std::string json_with(const std::string& model, const std::string& added = "[]") {
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)" + added +
         R"(,"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":)" +
         model + "}";
}

TEST(HostileTokenizerJson, Refused) {
  const std::string bpe = R"({"type":"BPE","vocab":{"a":0,"b":1},"merges":[]})";
  ASSERT_TRUE(Tokenizer::from_json(json_with(bpe)));
  const std::vector<std::string> texts = {
      "",
      "{",
      "[]",
      "null",
      "\xff",
      R"({"version":"1.0"})",
      R"({"version":"9","model":null})",
      std::string(100'000, '['),
      json_with(R"({"type":"BPE","vocab":{"a":4294967295},"merges":[]})"),
      json_with(R"({"type":"BPE","vocab":{"a":2097152},"merges":[]})"),
      json_with(R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"),
      json_with(R"({"type":"BPE","vocab":{"a":1e300},"merges":[]})"),
      json_with(R"({"type":"BPE","vocab":{},"merges":[]})"),
      json_with(R"({"type":"BPE","vocab":{"a":0},"merges":["a b"]})"),
      json_with(R"({"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]})"),
      json_with(R"({"type":"BPE","vocab":{"a":0},"merges":["a"]})"),
      json_with(R"({"type":"BPE","continuing_subword_prefix":"####","vocab":{"a":0,"b":1,"ab":2},)"
                R"("merges":["a b"]})"),
      json_with(R"({"type":"Nonsense","vocab":{}})"),
      // The file's id of an added token is not the id it would get.
      json_with(bpe, R"([{"id":7,"content":"<x>","single_word":false,"lstrip":false,)"
                     R"("rstrip":false,"normalized":false,"special":true}])"),
  };
  for (const std::string& text : texts) {
    const auto tokenizer = Tokenizer::from_json(text);
    EXPECT_FALSE(tokenizer) << text.substr(0, 200);
    if (!tokenizer) EXPECT_THAT(tokenizer.error().message, Not(HasSubstr("tokenizer.json")));
  }
}

}  // namespace
}  // namespace nereid::text
