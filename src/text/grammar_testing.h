// Outputs under a grammar, for this folder's tests: fixed ones, and random ones in place of a
// model.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "src/text/grammar.h"
#include "src/text/testdata.h"

namespace nereid::text {

inline bool has_bit(const std::vector<uint32_t>& mask, int32_t id) {
  return ((mask[static_cast<size_t>(id) / 32] >> (id % 32)) & 1) != 0;
}

// A small real vocabulary, made ready for grammars. The logits have more ids than the tokenizer.
struct GrammarFixture {
  explicit GrammarFixture(const std::string& golden) {
    const GgufVocabulary gguf = vocabulary_of(read_json_testdata(golden)["vocabulary"]);
    eos_ids = {gguf.eos_id};
    tokenizer = Tokenizer::from_gguf(gguf).value();
    vocab_size = tokenizer->vocab_size() + 39;
    vocabulary = GrammarVocabulary::create(tokenizer, eos_ids, vocab_size).value();
  }

  Result<std::shared_ptr<const Grammar>> compile(GrammarKind kind, std::string_view source) const {
    return Grammar::compile(vocabulary, kind, source);
  }

  std::vector<uint32_t> mask_of(Matcher& matcher) const {
    std::vector<uint32_t> mask((static_cast<size_t>(vocab_size) + 31) / 32, 0xdeadbeefu);
    const Status status = matcher.allowed(mask);
    EXPECT_TRUE(status) << status.error().message;
    return mask;
  }

  bool may_end(Matcher& matcher) const { return has_bit(mask_of(matcher), eos_ids[0]); }

  // One token per byte.
  int32_t byte_token(char byte) const {
    if (byte_tokens.empty()) {
      byte_tokens.assign(256, -1);
      for (int32_t id = tokenizer->vocab_size() - 1; id >= 0; --id) {
        if (tokenizer->is_special(id)) continue;
        const std::string text = token_text(id);
        if (text.size() == 1) byte_tokens[static_cast<uint8_t>(text[0])] = id;
      }
    }
    return byte_tokens[static_cast<uint8_t>(byte)];
  }

  // Without what a decoder does at the start of a text. Empty for parts of characters.
  std::string token_text(int32_t id) const {
    const std::string lead = tokenizer->decode(std::vector<int32_t>{lead_id()}, false).value();
    return tokenizer->decode(std::vector<int32_t>{lead_id(), id}, false)
        .value()
        .substr(lead.size());
  }
  int32_t lead_id() const { return tokenizer->token_to_id("a"); }

  // Whether the grammar takes the whole of `text` (ASCII) and may end there.
  bool matches(const Grammar& grammar, std::string_view text) const {
    const auto matcher = grammar.start().value();
    for (const char byte : text) {
      const bool allowed = has_bit(mask_of(*matcher), byte_token(byte));
      EXPECT_EQ(matcher->accept(byte_token(byte)).has_value(), allowed);
      if (!allowed) return false;
    }
    return may_end(*matcher);
  }

  // Ends as soon as it may once `max_tokens` are out; empty when it did not get there.
  std::string random_output(const Grammar& grammar, uint32_t seed, int max_tokens) const {
    std::mt19937 random(seed);
    const auto matcher = grammar.start().value();
    std::vector<int32_t> ids;
    for (int step = 0; step < 20 * max_tokens && !matcher->is_complete(); ++step) {
      const std::vector<uint32_t> mask = mask_of(*matcher);
      if (has_bit(mask, eos_ids[0]) && step >= max_tokens) return text_of(ids);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < vocab_size; ++id) {
        if (has_bit(mask, id) && id != eos_ids[0]) allowed.push_back(id);
      }
      if (allowed.empty()) break;
      ids.push_back(allowed[random() % allowed.size()]);
      EXPECT_TRUE(matcher->accept(ids.back()));
    }
    return matcher->is_complete() ? text_of(ids) : "";
  }

  std::string text_of(std::vector<int32_t> ids) const {
    ids.insert(ids.begin(), lead_id());
    return tokenizer->decode(ids, false).value().substr(1);
  }

  std::shared_ptr<Tokenizer> tokenizer;
  std::vector<int32_t> eos_ids;
  int32_t vocab_size;
  std::shared_ptr<const GrammarVocabulary> vocabulary;
  mutable std::vector<int32_t> byte_tokens;
};

}  // namespace nereid::text
