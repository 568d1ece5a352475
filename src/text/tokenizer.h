// Text <-> token ids. Wraps the Hugging Face `tokenizers` library through the C ABI of rust/nereid_text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid::text {

// Everything a GGUF file says of its tokenizer (keys tokenizer.ggml.*).
struct GgufVocabulary {
  std::string model;          // "gpt2" (byte-level BPE), "llama" (SentencePiece)
  std::string pre;            // pre-tokeniser: "llama-bpe", "qwen2", "smollm", ...
  std::vector<std::string> tokens;
  std::vector<float> scores;      // may be empty
  std::vector<int32_t> types;     // may be empty; 3 = control, 4 = user defined, 6 = byte
  std::vector<std::string> merges;
  int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  bool add_bos = false, add_eos = false, add_space_prefix = true;
};

struct EncodeOptions {
  bool add_special_tokens = true;   // BOS/EOS as the model's post-processor says
  bool parse_special_tokens = true; // recognise "<|im_start|>" written in the text
};

class Tokenizer {
 public:
  static Result<std::shared_ptr<Tokenizer>> from_json(std::string_view tokenizer_json);
  static Result<std::shared_ptr<Tokenizer>> from_gguf(const GgufVocabulary& vocabulary);
  ~Tokenizer();

  Result<std::vector<int32_t>> encode(std::string_view utf8, const EncodeOptions& options) const;
  // Invalid ids are an error naming the position.
  Result<std::string> decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  int32_t vocab_size() const;
  // -1 when the token does not exist.
  int32_t token_to_id(std::string_view token) const;
  // Raw token text as in the vocabulary; empty for an id out of range.
  std::string id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(void* handle) : handle_(handle) {}
  void* handle_;
};

// Turns ids into text one at a time; never emits a partial UTF-8 sequence.
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens);
  ~StreamDecoder();
  Result<std::string> push(int32_t id);  // text that became complete, possibly empty
  std::string finish();                  // what is left, incomplete bytes as U+FFFD

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nereid::text
