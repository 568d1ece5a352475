// Any bytes as a chat template, rendered over a fixed conversation.
#include <cstdint>
#include <string_view>

#include "src/base/check.h"
#include "src/text/chat_template.h"

namespace {
constexpr std::string_view kInput = R"({
  "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "<think>é</think>"},
               {"role": "assistant", "content": null, "tool_calls": [
                 {"function": {"name": "f", "arguments": {"a": [1, 2.5, true]}}}]}],
  "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
  "add_generation_prompt": true})";
}  // namespace

// Threads that had to be given up keep what they held.
extern "C" const char* __lsan_default_options() {
  return "detect_leaks=0";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto parsed =
      nereid::text::ChatTemplate::parse(source, {.bos_token = "<s>", .now_unix_s = 0});
  if (!parsed) return 0;
  const auto prompt = (*parsed)->render(kInput);
  NEREID_CHECK(prompt || !prompt.error().message.empty(), "an error without a message");
  return 0;
}
