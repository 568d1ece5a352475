// ChatTemplate over the C ABI; the work is done in rust/nereid_text.
#include "src/text/chat_template.h"

#include "src/text/ffi.h"

namespace nereid::text {

Result<std::shared_ptr<ChatTemplate>> ChatTemplate::parse(std::string_view source,
                                                          const ChatTemplateOptions& options) {
  NereidTemplate* handle = nullptr;
  NereidBuffer message;
  const int64_t* now = options.now_unix_s ? &*options.now_unix_s : nullptr;
  if (nereid_template_parse(slice(source), slice(options.bos_token), slice(options.eos_token), now,
                            &handle, &message) != 0) {
    return take_error(message);
  }
  return std::shared_ptr<ChatTemplate>(new ChatTemplate(handle));
}

ChatTemplate::~ChatTemplate() {
  nereid_template_free(static_cast<NereidTemplate*>(handle_));
}

Result<std::string> ChatTemplate::render(std::string_view input_json) const {
  NereidBuffer text;
  NereidBuffer message;
  if (nereid_template_render(static_cast<NereidTemplate*>(handle_), slice(input_json), &text,
                             &message) != 0) {
    return with_context(Error{take(message)}, "chat template");
  }
  return take(text);
}

}  // namespace nereid::text
