// Token ids against those of tiktoken, sentencepiece and Hugging Face tokenizers
// (tools/golden/text_goldens.py), and the edges of the interface.
#include "src/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "src/text/testdata.h"

namespace nereid::text {
namespace {

using json = nlohmann::ordered_json;  // objects keep their order: templates show it
using Ids = std::vector<int32_t>;
using ::testing::HasSubstr;

constexpr EncodeOptions kBare{.add_special_tokens = false};
constexpr EncodeOptions kPlain{.add_special_tokens = false, .parse_special_tokens = false};

class ByteLevelGoldens : public ::testing::TestWithParam<const char*> {};

TEST_P(ByteLevelGoldens, IdsAndTexts) {
  const json golden = read_json_testdata(std::string("bpe_") + GetParam() + ".json");
  const GgufVocabulary vocabulary = vocabulary_of(golden["vocabulary"]);
  const auto tokenizer = Tokenizer::from_gguf(vocabulary);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  ASSERT_GE(golden["cases"].size(), 90u);
  for (const json& golden_case : golden["cases"]) {
    const std::string text = golden_case["text"];
    SCOPED_TRACE(text);
    const Ids ids = golden_case["ids"];
    EXPECT_EQ((*tokenizer)->encode(text, kBare).value(), ids);
    EXPECT_EQ((*tokenizer)->encode(text, kPlain).value(), golden_case["plain_ids"].get<Ids>());
    Ids framed = ids;
    framed.insert(framed.begin(), vocabulary.bos_id);
    EXPECT_EQ((*tokenizer)->encode(text, {}).value(), framed);
    const std::string decoded = golden_case["decoded"];
    EXPECT_EQ((*tokenizer)->decode(ids, false).value(), decoded);
    EXPECT_EQ(stream(*tokenizer, ids, false), decoded);
    EXPECT_EQ(stream(*tokenizer, ids, true), (*tokenizer)->decode(ids, true).value());
  }
}

INSTANTIATE_TEST_SUITE_P(AllPreTokenizers, ByteLevelGoldens,
                         ::testing::Values("llama-bpe", "qwen2", "smollm", "gpt-2", "default",
                                           "tekken"));

TEST(SentencePieceGoldens, IdsAndTexts) {
  const json golden = read_json_testdata("spm.json");
  const auto tokenizer = Tokenizer::from_gguf(vocabulary_of(golden["vocabulary"]));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  ASSERT_GE(golden["cases"].size(), 100u);
  for (const json& golden_case : golden["cases"]) {
    const std::string text = golden_case["text"];
    SCOPED_TRACE(text);
    const Ids ids = golden_case["ids"];
    EXPECT_EQ((*tokenizer)->encode(text, kBare).value(), ids);
    EXPECT_EQ((*tokenizer)->decode(ids, true).value(), golden_case["decoded"].get<std::string>());
    EXPECT_EQ(stream(*tokenizer, ids, true), golden_case["decoded"].get<std::string>());
  }
  // Random ids: broken bytes, control tokens, pieces in any order.
  for (const json& golden_case : golden["decodes"]) {
    const Ids ids = golden_case["ids"];
    EXPECT_EQ((*tokenizer)->decode(ids, true).value(), golden_case["decoded"].get<std::string>());
    EXPECT_EQ(stream(*tokenizer, ids, true), golden_case["decoded"].get<std::string>());
  }
}

TEST(TokenizerJson, SameIdsAsTheGgufForm) {
  const json golden = read_json_testdata("bpe_gpt-2.json");
  const auto tokenizer = Tokenizer::from_json(golden["tokenizer_json"].dump());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  int compared = 0;
  for (const json& golden_case : golden["cases"]) {
    const std::string text = golden_case["text"];
    if (text.find('<') != std::string::npos) continue;  // this form has no special tokens
    const Ids ids = golden_case["ids"];
    EXPECT_EQ((*tokenizer)->encode(text, kBare).value(), ids) << text;
    EXPECT_EQ((*tokenizer)->decode(ids, false).value(), text);
    EXPECT_EQ(stream(*tokenizer, ids, false), text);
    ++compared;
  }
  EXPECT_GE(compared, 40);
}

std::shared_ptr<Tokenizer> small(std::optional<bool> add_eos = std::nullopt) {
  GgufVocabulary vocabulary = vocabulary_of(read_json_testdata("bpe_llama-bpe.json")["vocabulary"]);
  vocabulary.add_eos = add_eos;
  return Tokenizer::from_gguf(vocabulary).value();
}

TEST(Tokenizer, VocabularyLookups) {
  const auto tokenizer = small();
  EXPECT_EQ(tokenizer->vocab_size(), 425);
  const int32_t id = tokenizer->token_to_id("<|im_start|>");
  ASSERT_EQ(id, 422);
  EXPECT_EQ(tokenizer->id_to_token(id), "<|im_start|>");
  EXPECT_TRUE(tokenizer->is_special(id));
  EXPECT_FALSE(tokenizer->is_special(tokenizer->token_to_id("<tool_call>")));
  EXPECT_FALSE(tokenizer->is_special(0));
  EXPECT_EQ(tokenizer->token_to_id("no such token"), -1);
  for (const int32_t outside : {-1, -2147483647 - 1, 425, 2147483647}) {
    EXPECT_EQ(tokenizer->id_to_token(outside), "");
    EXPECT_FALSE(tokenizer->is_special(outside));
  }
}

TEST(Tokenizer, FrameOfSpecialTokens) {
  const auto tokenizer = small(true);
  EXPECT_EQ(tokenizer->encode("", {}).value(), (Ids{420, 421}));
  EXPECT_EQ(tokenizer->encode("", kBare).value(), Ids{});
  EXPECT_EQ(tokenizer->decode(Ids{420, 421}, true).value(), "");
  EXPECT_EQ(tokenizer->decode(Ids{420, 421}, false).value(), "<|begin|><|end|>");
}

TEST(Tokenizer, ErrorsNameThePlace) {
  const auto tokenizer = small();
  const auto text = tokenizer->encode("ok \xff", {});
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().message, HasSubstr("invalid UTF-8 at byte 3"));
  for (const int32_t bad : {-1, 425, 2147483647}) {
    const auto decoded = tokenizer->decode(Ids{1, 2, bad}, false);
    ASSERT_FALSE(decoded);
    EXPECT_THAT(decoded.error().message, HasSubstr("position 2"));
    EXPECT_THAT(decoded.error().message, HasSubstr(std::to_string(bad)));
    EXPECT_FALSE(StreamDecoder(tokenizer, false).push(bad));
  }
}

TEST(Tokenizer, LongRunsAreExactOrRefused) {
  const auto tokenizer = small();
  for (const char c : {'a', '1', '!', ' ', '\n'}) {
    const std::string text(150'000, c);
    const auto ids = tokenizer->encode(text, kBare);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(tokenizer->decode(*ids, false).value(), text);
  }
  // A long run in front of a word leaves its last space to the word.
  const Ids ids = tokenizer->encode(std::string(150'000, ' ') + "a", kBare).value();
  EXPECT_EQ(tokenizer->id_to_token(ids.back()), "Ġa");
  const auto refused = tokenizer->encode(std::string(3'000'000, ' ') + "a", kBare);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("white space"));
}

TEST(Tokenizer, ManyThreadsShareOne) {
  const auto tokenizer = small();
  const Ids expected = tokenizer->encode("Hello, world! <|im_end|> 123", kPlain).value();
  std::vector<std::thread> threads;
  std::atomic<int> equal = 0;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        equal += tokenizer->encode("Hello, world! <|im_end|> 123", kPlain).value() == expected;
        equal += stream(tokenizer, expected, false) == "Hello, world! <|im_end|> 123";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, 400);
}

}  // namespace
}  // namespace nereid::text
