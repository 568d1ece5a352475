// Any bytes as a tokenizer.json; what loads must encode and decode without a crash.
#include <cstdint>
#include <string>

#include "src/base/check.h"
#include "src/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = nereid::text::Tokenizer::from_json(json);
  if (!tokenizer) {
    NEREID_CHECK(!tokenizer.error().message.empty(), "an error without a message");
    return 0;
  }
  const std::string text = "Hello  world\n\n12 <s>\t\u00e9\U0001f600";
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, {.parse_special_tokens = parse_special});
    if (!ids) continue;
    nereid::text::StreamDecoder decoder(*tokenizer, false);
    for (const int32_t id : *ids) (void)decoder.push(id);
    (void)decoder.finish();
    (void)(*tokenizer)->decode(*ids, true);
  }
  return 0;
}
