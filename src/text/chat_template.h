// Chat templates (Jinja, as Hugging Face models carry them), rendered by minijinja with limits on
// time (fuel) and output size, without access to files or the environment.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace nereid::text {

struct ChatTemplateOptions {
  std::string bos_token, eos_token;
  // What strftime_now sees, in seconds since 1970 and UTC. Absent: the machine's local time.
  std::optional<int64_t> now_unix_s;
};

// Immutable, for use by many threads at once.
class ChatTemplate {
 public:
  // Errors name the line of the template; the caller knows which file it is of.
  static Result<std::shared_ptr<ChatTemplate>> parse(std::string_view source,
                                                     const ChatTemplateOptions& options);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;
  // `input_json`: {"messages": [{"role", "content"}...], "tools": [...]?, "add_generation_prompt":
  // bool, further template variables}. Returns the prompt text; errors begin with "chat template:".
  Result<std::string> render(std::string_view input_json) const;

 private:
  explicit ChatTemplate(void* handle) : handle_(handle) {}
  void* handle_;
};

}  // namespace nereid::text
