// What reaches the reader of a stream, id by id: whole characters, as early as possible.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "src/text/testdata.h"
#include "src/text/tokenizer.h"

namespace nereid::text {
namespace {

using Ids = std::vector<int32_t>;
using ::testing::ElementsAre;

// Byte tokens at id 3 + byte, then pieces.
std::shared_ptr<Tokenizer> pieces() {
  GgufVocabulary vocabulary{.model = "llama", .pre = "default"};
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    vocabulary.types.push_back(6);
  }
  for (const char* piece : {"▁", "▁Hello", "▁world", "!", "é"}) {
    vocabulary.tokens.push_back(piece);
    vocabulary.types.push_back(1);
  }
  vocabulary.scores.assign(vocabulary.tokens.size(), -1.0f);
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  vocabulary.unk_id = 0;
  return Tokenizer::from_gguf(vocabulary).value();
}

constexpr int32_t kHello = 260, kWorld = 261, kBang = 262;
constexpr int32_t byte_id(int byte) {
  return 3 + byte;
}

std::vector<std::string> push_all(StreamDecoder& decoder, const Ids& ids) {
  std::vector<std::string> texts;
  for (const int32_t id : ids) texts.push_back(decoder.push(id).value());
  texts.push_back(decoder.finish());
  return texts;
}

TEST(StreamDecoder, DropsOnlyTheFirstLeadingSpace) {
  StreamDecoder decoder(pieces(), true);
  EXPECT_THAT(push_all(decoder, {1, kHello, kWorld, kBang, 2}),
              ElementsAre("", "Hello", " world", "!", "", ""));
}

TEST(StreamDecoder, KeepsTheSpaceAfterAShownSpecialToken) {
  StreamDecoder decoder(pieces(), false);
  EXPECT_THAT(push_all(decoder, {1, kHello}), ElementsAre("<s>", " Hello", ""));
}

TEST(StreamDecoder, HoldsBackAnUnfinishedCharacter) {
  StreamDecoder decoder(pieces(), true);
  EXPECT_THAT(push_all(decoder, {byte_id(0xE2), byte_id(0x82), byte_id(0xAC), kBang}),
              ElementsAre("", "", "€", "!", ""));
}

TEST(StreamDecoder, FinishShowsWhatIsMissing) {
  StreamDecoder decoder(pieces(), true);
  EXPECT_THAT(push_all(decoder, {kHello, byte_id(0xF0), byte_id(0x9F)}),
              ElementsAre("Hello", "", "", "\uFFFD\uFFFD"));
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, BrokenBytesDoNotHoldUpWhatFollows) {
  StreamDecoder decoder(pieces(), true);
  EXPECT_THAT(push_all(decoder, {byte_id(0xE2), kBang, byte_id(0xFF), byte_id('a')}),
              ElementsAre("", "\uFFFD!", "\uFFFD", "a", ""));
}

TEST(StreamDecoder, ByteLevelCharacterAcrossTokens) {
  const auto golden = read_json_testdata("bpe_gpt-2.json");
  const auto tokenizer = Tokenizer::from_gguf(vocabulary_of(golden["vocabulary"])).value();
  const int32_t first = tokenizer->token_to_id("ð"), second = tokenizer->token_to_id("Ł");
  ASSERT_GE(first, 0);   // byte F0
  ASSERT_GE(second, 0);  // byte 9F
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.push(first).value(), "");
  EXPECT_EQ(decoder.push(second).value(), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

// A decoder that only the library knows: WordPiece puts spaces between tokens.
TEST(StreamDecoder, DecodersOfTheLibrary) {
  const auto tokenizer = Tokenizer::from_json(R"({
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100,
              "vocab": {"[UNK]": 0, "play": 1, "##ing": 2, "chess": 3}}})");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const Ids ids = (*tokenizer)->encode("playing chess playing", {}).value();
  EXPECT_EQ(ids, (Ids{1, 2, 3, 1, 2}));
  EXPECT_EQ((*tokenizer)->decode(ids, true).value(), "playing chess playing");
  StreamDecoder decoder(*tokenizer, true);
  EXPECT_THAT(push_all(decoder, ids), ElementsAre("play", "ing", " chess", " play", "ing", ""));
}

// A million tokens, all of them unfinished characters: neither time nor memory may pile up.
TEST(StreamDecoder, CostDoesNotGrowWithLength) {
  StreamDecoder decoder(pieces(), true);
  const auto start = std::chrono::steady_clock::now();
  size_t bytes = 0;
  for (int count = 0; count < 1'000'000; ++count) {
    bytes += decoder.push(byte_id(count % 2 ? 0x80 : 0xF0)).value().size();
  }
  EXPECT_GT(bytes, 1'000'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace nereid::text
