// See byte_tokenizer.h.
#include "src/text/testing/byte_tokenizer.h"

#include <nlohmann/json.hpp>

#include "src/base/check.h"

namespace nereid::text {
namespace {

constexpr const char* kTemplate =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
std::string byte_token(int byte, int& next_shifted) {
  const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
  const int code = printable ? byte : 256 + next_shifted++;
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

}  // namespace

std::string byte_tokenizer_json() {
  nlohmann::json vocab;
  int next_shifted = 0;
  for (int byte = 0; byte < kNumByteTokens; ++byte) vocab[byte_token(byte, next_shifted)] = byte;
  nlohmann::json added = nlohmann::json::array();
  int id = kNumByteTokens;
  for (const char* name : {"<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"}) {
    vocab[name] = id;
    added.push_back({{"id", id++},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  NEREID_CHECK(id == kByteTokenizerVocabulary, "{} tokens", id);
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", true}};
  return nlohmann::json{{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", byte_level},
                        {"post_processor", nullptr},
                        {"decoder", byte_level},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"vocab", vocab},
                          {"merges", nlohmann::json::array()}}}}
      .dump();
}

std::shared_ptr<Tokenizer> byte_tokenizer() {
  auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  NEREID_CHECK(tokenizer.has_value(), "{}", tokenizer.error().message);
  return *tokenizer;
}

std::shared_ptr<ChatTemplate> byte_chat_template() {
  auto chat_template = ChatTemplate::parse(kTemplate, {.bos_token = "<s>", .eos_token = "</s>"});
  NEREID_CHECK(chat_template.has_value(), "{}", chat_template.error().message);
  return *chat_template;
}

}  // namespace nereid::text
