// Text <-> token ids. Wraps the Hugging Face `tokenizers` library through the C ABI of
// rust/nereid_text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid::text {

// Everything a GGUF file says of its tokenizer (keys tokenizer.ggml.*), as it stands in the file:
// from_gguf checks it.
struct GgufVocabulary {
  std::string model;  // "gpt2" (byte-level BPE), "llama" (SentencePiece)
  std::string pre;    // pre-tokeniser: "llama-bpe", "qwen2", "smollm", ...
  std::vector<std::string> tokens;
  std::vector<float> scores;   // may be empty
  std::vector<int32_t> types;  // may be empty; 3 = control, 4 = user defined, 6 = byte
  std::vector<std::string> merges;
  int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  // Absent: as is usual for the kind of vocabulary.
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

struct EncodeOptions {
  bool add_special_tokens = true;    // BOS/EOS as the model's post-processor says
  bool parse_special_tokens = true;  // recognise "<|im_start|>" written in the text
};

// Immutable, for use by many threads at once.
class Tokenizer {
 public:
  // Errors say what is wrong inside; the caller knows which file it is of.
  static Result<std::shared_ptr<Tokenizer>> from_json(std::string_view tokenizer_json);
  static Result<std::shared_ptr<Tokenizer>> from_gguf(const GgufVocabulary& vocabulary);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Invalid UTF-8 is an error naming the byte; so are more than 64 MiB.
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
  friend class GrammarVocabulary;
  explicit Tokenizer(void* handle) : handle_(handle) {}
  void* handle_;
};

// Turns ids into text one at a time; never emits a partial UTF-8 sequence. The texts of all pushes
// and of finish(), put together, are what Tokenizer::decode gives for the ids.
class StreamDecoder {
 public:
  StreamDecoder(const std::shared_ptr<const Tokenizer>& tokenizer, bool skip_special_tokens);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();
  Result<std::string> push(int32_t id);  // text that became complete, possibly empty
  std::string finish();                  // what is left, incomplete bytes as U+FFFD

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nereid::text
