// Tokenizer and StreamDecoder over the C ABI; the work is done in rust/nereid_text.
#include "src/text/tokenizer.h"

#include "src/text/ffi.h"

namespace nereid::text {
namespace {

NereidTokenizer* tokenizer_of(void* handle) {
  return static_cast<NereidTokenizer*>(handle);
}

std::vector<NereidSlice> slices(const std::vector<std::string>& texts) {
  std::vector<NereidSlice> result;
  result.reserve(texts.size());
  for (const std::string& text : texts) result.push_back(slice(text));
  return result;
}

int32_t flag(const std::optional<bool>& value) {
  return value ? int32_t{*value} : -1;
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json) {
  NereidTokenizer* handle = nullptr;
  NereidBuffer message;
  if (nereid_tokenizer_from_json(slice(tokenizer_json), &handle, &message) != 0) {
    return take_error(message);
  }
  return std::shared_ptr<Tokenizer>(new Tokenizer(handle));
}

Result<std::shared_ptr<Tokenizer>> Tokenizer::from_gguf(const GgufVocabulary& vocabulary) {
  const std::vector<NereidSlice> tokens = slices(vocabulary.tokens);
  const std::vector<NereidSlice> merges = slices(vocabulary.merges);
  const NereidGgufVocabulary view{
      .model = slice(vocabulary.model),
      .pre = slice(vocabulary.pre),
      .tokens = tokens.data(),
      .num_tokens = tokens.size(),
      .scores = vocabulary.scores.data(),
      .num_scores = vocabulary.scores.size(),
      .types = vocabulary.types.data(),
      .num_types = vocabulary.types.size(),
      .merges = merges.data(),
      .num_merges = merges.size(),
      .bos_id = vocabulary.bos_id,
      .eos_id = vocabulary.eos_id,
      .unk_id = vocabulary.unk_id,
      .pad_id = vocabulary.pad_id,
      .add_bos = flag(vocabulary.add_bos),
      .add_eos = flag(vocabulary.add_eos),
      .add_space_prefix = flag(vocabulary.add_space_prefix),
  };
  NereidTokenizer* handle = nullptr;
  NereidBuffer message;
  if (nereid_tokenizer_from_gguf(&view, &handle, &message) != 0) return take_error(message);
  return std::shared_ptr<Tokenizer>(new Tokenizer(handle));
}

Tokenizer::~Tokenizer() {
  nereid_tokenizer_free(tokenizer_of(handle_));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view utf8,
                                               const EncodeOptions& options) const {
  NereidIds ids;
  NereidBuffer message;
  if (nereid_tokenizer_encode(tokenizer_of(handle_), slice(utf8), options.add_special_tokens,
                              options.parse_special_tokens, &ids, &message) != 0) {
    return take_error(message);
  }
  std::vector<int32_t> result(ids.data, ids.data + ids.size);
  nereid_ids_free(ids);
  return result;
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids,
                                      bool skip_special_tokens) const {
  NereidBuffer text;
  NereidBuffer message;
  if (nereid_tokenizer_decode(tokenizer_of(handle_), ids.data(), ids.size(), skip_special_tokens,
                              &text, &message) != 0) {
    return take_error(message);
  }
  return take(text);
}

int32_t Tokenizer::vocab_size() const {
  return nereid_tokenizer_vocab_size(tokenizer_of(handle_));
}

int32_t Tokenizer::token_to_id(std::string_view token) const {
  return nereid_tokenizer_token_to_id(tokenizer_of(handle_), slice(token));
}

std::string Tokenizer::id_to_token(int32_t id) const {
  return take(nereid_tokenizer_id_to_token(tokenizer_of(handle_), id));
}

bool Tokenizer::is_special(int32_t id) const {
  return nereid_tokenizer_is_special(tokenizer_of(handle_), id);
}

struct StreamDecoder::State {
  NereidStream* stream;
  ~State() { nereid_stream_free(stream); }
};

StreamDecoder::StreamDecoder(const std::shared_ptr<const Tokenizer>& tokenizer,
                             bool skip_special_tokens)
    : state_(new State{nereid_stream_new(tokenizer_of(tokenizer->handle_), skip_special_tokens)}) {}

StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

Result<std::string> StreamDecoder::push(int32_t id) {
  NereidBuffer text;
  NereidBuffer message;
  if (nereid_stream_push(state_->stream, id, &text, &message) != 0) return take_error(message);
  return take(text);
}

std::string StreamDecoder::finish() {
  return take(nereid_stream_finish(state_->stream));
}

}  // namespace nereid::text
