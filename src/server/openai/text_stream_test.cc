// Stop strings across the borders of tokens, characters in pieces, and what counts.
#include "src/server/openai/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/server/openai/choice.h"
#include "src/text/testing/byte_tokenizer.h"

namespace nereid::openai {
namespace {

using ::testing::ElementsAre;

struct Shown {
  std::vector<std::string> pieces;  // by token
  bool stopped = false;
  int32_t tokens = 0;
};

// Each byte is a token.
Shown stream(const std::string& bytes, const std::vector<std::string>& stops) {
  TextStream stream(text::byte_tokenizer(), {.stops = stops});
  Shown shown;
  for (const char byte : bytes) {
    std::string piece;
    shown.stopped = stream.push(static_cast<unsigned char>(byte), piece);
    shown.pieces.push_back(piece);
    if (shown.stopped) break;
  }
  if (!shown.stopped) {
    std::string piece;
    stream.finish(piece);
    shown.pieces.push_back(piece);
  }
  shown.tokens = stream.num_tokens();
  return shown;
}

std::string joined(const Shown& shown) {
  std::string out;
  for (const std::string& piece : shown.pieces) out += piece;
  return out;
}

TEST(TextStream, HoldsBackWhatMayBecomeAStop) {
  const Shown shown = stream("abxENabEND!", {"END"});
  EXPECT_THAT(shown.pieces, ElementsAre("a", "b", "x", "", "", "ENa", "b", "", "", ""));
  EXPECT_TRUE(shown.stopped);
  EXPECT_EQ(shown.tokens, 10);  // the one that completed it counts, "!" does not
}

TEST(TextStream, OverlappingBeginnings) {
  EXPECT_EQ(joined(stream("aaab", {"aab"})), "a");
  EXPECT_EQ(joined(stream("ababac!", {"abac"})), "ab");
  EXPECT_EQ(joined(stream("ababab", {"abac"})), "ababab");
  EXPECT_EQ(joined(stream("abcd", {"bcx", "cd"})), "ab");
  EXPECT_EQ(joined(stream("abcd", {"abcde", "bc"})), "a");
}

TEST(TextStream, TheFirstOfSeveralWins) {
  EXPECT_EQ(joined(stream("one two three", {"three", "two"})), "one ");
}

TEST(TextStream, StopAtTheVeryStart) {
  const Shown shown = stream("END", {"END"});
  EXPECT_EQ(joined(shown), "");
  EXPECT_EQ(shown.tokens, 3);
}

TEST(TextStream, UnfinishedStopIsShownAtTheEnd) {
  const Shown shown = stream("abEN", {"END"});
  EXPECT_THAT(shown.pieces, ElementsAre("a", "b", "", "", "EN"));
  EXPECT_FALSE(shown.stopped);
}

TEST(TextStream, CharactersOfSeveralBytes) {
  EXPECT_THAT(stream("é€", {}).pieces, ElementsAre("", "é", "", "", "€", ""));
  EXPECT_EQ(joined(stream("aéb€c", {"€"})), "aéb");
  EXPECT_EQ(joined(stream("aéè", {"è"})), "aé");  // shares its first byte with what came before
  EXPECT_EQ(joined(stream("x😀😁y", {"😁"})), "x😀");
  EXPECT_EQ(joined(stream("a\xe2\x82", {"€"})), "a\uFFFD");
}

TEST(TextStream, NulsAreData) {
  EXPECT_EQ(joined(stream(std::string("a\0b", 3), {std::string("\0", 1)})), "a");
}

TEST(TextStream, LongStopStaysCheap) {
  const std::string stop = std::string(1023, 'a') + "b";
  EXPECT_EQ(joined(stream(std::string(5000, 'a'), {stop, stop, stop, stop})),
            std::string(5000, 'a'));
}

OutputToken token(char byte) {
  return {.id = static_cast<unsigned char>(byte), .logprob = -1};
}

TEST(Choice, LogprobsFollowTheText) {
  const std::vector<std::string> stops = {"END"};
  Choice choice({.tokenizer = text::byte_tokenizer(),
                 .text = {.stops = stops},
                 .logprobs = true,
                 .tools = {}});
  std::vector<size_t> counts;
  for (const char byte : std::string("aENéEND")) {
    choice.push(token(byte));
    counts.push_back(choice.delta().tokens.size());
  }
  // "EN" waits until it is no stop string; the first byte of "é" waits for the second.
  EXPECT_THAT(counts, ElementsAre(1, 1, 1, 1, 5, 5, 5, 5));
  EXPECT_EQ(choice.delta().tokens[4].text_characters, 3u);
  EXPECT_EQ(choice.delta().text.content, "aENé");
  EXPECT_EQ(choice.delta().finish_reason, "stop");
  EXPECT_FALSE(choice.push(token('x')));
  choice.finish(FinishReason::kLength);
  EXPECT_EQ(choice.delta().finish_reason, "stop");
  EXPECT_EQ(choice.num_tokens(), 8);
}

TEST(Choice, EndsForLength) {
  Choice choice({.tokenizer = text::byte_tokenizer(), .text = {}, .logprobs = true, .tools = {}});
  choice.push(token('a'));
  choice.push(token('\xc3'));
  choice.finish(FinishReason::kLength);
  EXPECT_EQ(choice.delta().text.content, "a\uFFFD");
  EXPECT_EQ(choice.delta().tokens.size(), 2u);
  EXPECT_EQ(choice.delta().finish_reason, "length");
}

}  // namespace
}  // namespace nereid::openai
