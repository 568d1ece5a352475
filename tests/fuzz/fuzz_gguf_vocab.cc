// Vocabularies as a GGUF file could claim them, cut from any bytes; what loads must encode, and the
// text of a stream must be the text of decode.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>

#include "src/base/check.h"
#include "src/text/tokenizer.h"

namespace {

using nereid::text::GgufVocabulary;

GgufVocabulary vocabulary_from(FuzzedDataProvider& data) {
  GgufVocabulary vocabulary;
  vocabulary.model = data.PickValueInArray({"gpt2", "llama", "llama", "x"});
  vocabulary.pre = data.PickValueInArray({"gpt-2", "default", "qwen2", "llama-bpe", "?"});
  const int count = data.ConsumeIntegralInRange(0, 40);
  for (int id = 0; id < count; ++id) {
    // Mostly one letter each, so that merges find their halves.
    vocabulary.tokens.push_back(data.ConsumeProbability<float>() < 0.7f
                                    ? std::string(1, static_cast<char>('a' + id % 26))
                                    : data.ConsumeRandomLengthString(6));
    vocabulary.scores.push_back(data.ConsumeFloatingPoint<float>());
    vocabulary.types.push_back(data.ConsumeIntegralInRange(-1, 7));
  }
  for (int merge = data.ConsumeIntegralInRange(0, 20); merge > 0; --merge) {
    vocabulary.merges.push_back(data.ConsumeRandomLengthString(8));
  }
  if (data.ConsumeBool()) vocabulary.scores.clear();
  if (data.ConsumeBool()) vocabulary.types.clear();
  vocabulary.bos_id = data.ConsumeIntegralInRange(-2, 41);
  vocabulary.eos_id = data.ConsumeIntegralInRange(-2, 41);
  vocabulary.unk_id = data.ConsumeIntegralInRange(-2, 41);
  if (data.ConsumeBool()) vocabulary.add_bos = data.ConsumeBool();
  if (data.ConsumeBool()) vocabulary.add_space_prefix = data.ConsumeBool();
  return vocabulary;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  const auto tokenizer = nereid::text::Tokenizer::from_gguf(vocabulary_from(data));
  if (!tokenizer) return 0;
  const auto ids = (*tokenizer)->encode(data.ConsumeRemainingBytesAsString(), {});
  if (!ids) return 0;
  for (const bool skip_special : {false, true}) {
    nereid::text::StreamDecoder decoder(*tokenizer, skip_special);
    std::string streamed;
    for (const int32_t id : *ids) streamed += decoder.push(id).value();
    streamed += decoder.finish();
    NEREID_CHECK(streamed == (*tokenizer)->decode(*ids, skip_special).value(),
                 "stream and decode differ");
  }
  return 0;
}
