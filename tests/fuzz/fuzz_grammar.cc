// Any bytes as the source of a grammar; what compiles writes a little output. The first byte, a
// digit, is the kind.
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/check.h"
#include "src/text/grammar.h"

// Threads that had to be given up keep what they held.
extern "C" const char* __lsan_default_options() {
  return "detect_leaks=0";
}

namespace {

using namespace nereid::text;

constexpr int32_t kVocabSize = 300;

// A token per byte, and a few words.
std::shared_ptr<const GrammarVocabulary> make_vocabulary() {
  GgufVocabulary gguf{.model = "llama", .bos_id = 1, .eos_id = 2, .unk_id = 0};
  gguf.tokens = {"<unk>", "<s>", "</s>"};
  gguf.types = {2, 3, 3};
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    gguf.tokens.push_back(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">");
    gguf.types.push_back(6);
  }
  for (const char* word : {"{\"", "\":", "▁", "true", "null", "ab", "\n", "é", "12"}) {
    gguf.tokens.emplace_back(word);
    gguf.types.push_back(1);
  }
  gguf.scores.assign(gguf.tokens.size(), 0.0F);
  const auto tokenizer = Tokenizer::from_gguf(gguf);
  NEREID_CHECK(tokenizer.has_value(), "a vocabulary of bytes");
  const int32_t eos_id = 2;
  const auto vocabulary = GrammarVocabulary::create(*tokenizer, {&eos_id, 1}, kVocabSize);
  NEREID_CHECK(vocabulary.has_value(), "a vocabulary of bytes");
  return *vocabulary;
}

// The next token allowed from `start` on, round the vocabulary; -1: none.
int32_t next_allowed(const std::vector<uint32_t>& mask, int32_t start) {
  for (int32_t offset = 0; offset < kVocabSize; ++offset) {
    const int32_t id = (start + offset) % kVocabSize;
    if (((mask[static_cast<size_t>(id) / 32] >> (id % 32)) & 1) != 0) return id;
  }
  return -1;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto vocabulary = make_vocabulary();
  if (size == 0) return 0;
  const auto kind = static_cast<GrammarKind>((data[0] - '0') % 5U);
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto grammar = Grammar::compile(vocabulary, kind, source);
  if (!grammar) {
    NEREID_CHECK(!grammar.error().message.empty(), "an error without a message");
    return 0;
  }
  const auto matcher = (*grammar)->start();
  NEREID_CHECK(matcher.has_value(), "a grammar that compiled starts");
  std::vector<uint32_t> mask((kVocabSize + 31) / 32);
  for (int32_t step = 0; step < 20 && !(*matcher)->is_complete(); ++step) {
    if (!(*matcher)->allowed(mask)) return 0;
    const int32_t id = next_allowed(mask, data[static_cast<size_t>(step) % size] + step);
    NEREID_CHECK(id >= 0, "a mask without a token");
    if (const auto accepted = (*matcher)->accept(id); !accepted) {
      NEREID_CHECK(!accepted.error().message.empty(), "an error without a message");
      return 0;
    }
  }
  return 0;
}
