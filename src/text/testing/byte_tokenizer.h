// A tokenizer whose tokens are bytes, and a chat template for it: what tests of the layers above
// use, since every token can be told from the text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/text/chat_template.h"
#include "src/text/tokenizer.h"

namespace nereid::text {

// Ids 0 to 255 are the byte values; then <s>, </s>, <|user|>, <|assistant|>, <|system|>, <|tool|>.
constexpr int32_t kNumByteTokens = 256;
constexpr int32_t kByteTokenizerBos = 256, kByteTokenizerEos = 257;
constexpr int32_t kByteTokenizerVocabulary = 262;

std::string byte_tokenizer_json();  // as tokenizer.json has it
std::shared_ptr<Tokenizer> byte_tokenizer();
// "<|role|>content</s>" for each message, then "<|assistant|>" where a reply is asked for.
std::shared_ptr<ChatTemplate> byte_chat_template();

}  // namespace nereid::text
