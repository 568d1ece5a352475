// The bytes a single token stands for, which log-probabilities report: a token may be part of a
// character, which no text can show.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/text/tokenizer.h"

namespace nereid::openai {

// Immutable, for use by many threads at once.
class TokenBytes {
 public:
  explicit TokenBytes(std::shared_ptr<const text::Tokenizer> tokenizer);
  // Special tokens: their name. Ids out of range: nothing.
  std::string of(int32_t id) const;

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  bool byte_level_;  // GPT-2's alphabet, where a character of the vocabulary is a byte
};

// How OpenAI names a token in log-probabilities: its text, or "bytes:\xe2\x82" if it is none.
std::string token_name(const std::string& bytes);

}  // namespace nereid::openai
