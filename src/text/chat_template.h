// Chat templates (Jinja, as Hugging Face models carry them), rendered by minijinja with limits on
// time (fuel) and output size, without access to files or the environment.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid::text {

struct ChatTemplateOptions {
  std::string bos_token, eos_token;
};

class ChatTemplate {
 public:
  // Parse errors name the line of the template.
  static Result<std::shared_ptr<ChatTemplate>> parse(std::string_view source,
                                                     const ChatTemplateOptions& options);
  ~ChatTemplate();
  // `input_json`: {"messages": [{"role", "content"}...], "tools": [...]?, "add_generation_prompt": bool,
  // further template variables}. Returns the prompt text.
  Result<std::string> render(std::string_view input_json) const;

 private:
  explicit ChatTemplate(void* handle) : handle_(handle) {}
  void* handle_;
};

}  // namespace nereid::text
