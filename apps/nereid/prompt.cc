// See prompt.h.
#include "apps/nereid/prompt.h"

#include <unistd.h>

#include <boost/locale/utf.hpp>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/base/paths.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMaxInputBytes = size_t{64} << 20;

Result<std::string> read_all(int fd) {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error("standard input: {}", std::strerror(errno));
    text.append(buffer, static_cast<size_t>(count));
    if (text.size() > kMaxInputBytes) {
      return error("standard input: more than {} MiB", kMaxInputBytes >> 20);
    }
  }
}

Status check_messages(const Json& messages) {
  if (!messages.is_array() || messages.empty()) {
    return error("messages: expected an array with at least one message");
  }
  for (size_t index = 0; index < messages.size(); ++index) {
    const Json& message = messages[index];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return error("messages[{}]: expected an object with a \"role\"", index);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<int32_t>> encode_text(const Engine& engine, std::string_view text) {
  NEREID_TRY(const auto tokenizer, engine.tokenizer());
  return tokenizer->encode(text, {.add_special_tokens = true});
}

Result<std::vector<int32_t>> encode_conversation(const Engine& engine, const Json& conversation) {
  NEREID_TRY(const auto tokenizer, engine.tokenizer());
  NEREID_TRY(const auto chat_template, engine.chat_template());
  if (!chat_template) {
    return error("the model has no chat template: use a plain prompt ('nereid run --raw')");
  }
  NEREID_TRY(const std::string prompt, chat_template->render(conversation.dump()));
  // The template writes the special tokens itself.
  return tokenizer->encode(prompt, {.add_special_tokens = false});
}

Result<Json> parse_ordered_json(std::string_view text, std::string_view name) {
  NEREID_TRY_CONTEXT([[maybe_unused]] const nlohmann::json checked, parse_json(text), name);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Result<Json> parse_conversation(std::string_view text, std::string_view name) {
  NEREID_TRY(Json conversation, parse_ordered_json(text, name));
  if (conversation.is_array()) conversation = Json{{"messages", std::move(conversation)}};
  if (!conversation.is_object() || !conversation.contains("messages")) {
    return error("{}: expected an array of messages or an object with \"messages\"", name);
  }
  if (auto status = check_messages(conversation["messages"]); !status) {
    return with_context(status.error(), name);
  }
  return conversation;
}

Status check_utf8(std::string_view text, std::string_view name) {
  namespace utf = boost::locale::utf;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* const start = at;
    if (!utf::is_valid_codepoint(utf::utf_traits<char>::decode(at, end))) {
      return error("{}: invalid UTF-8 at byte {}", name, start - text.data());
    }
  }
  return {};
}

Result<Json> make_conversation(const std::string& system, const std::string& user) {
  NEREID_RETURN_IF_ERROR(check_utf8(system, "system message"));
  NEREID_RETURN_IF_ERROR(check_utf8(user, "prompt"));
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  messages.push_back({{"role", "user"}, {"content", user}});
  return Json{{"messages", std::move(messages)}, {"add_generation_prompt", true}};
}

Result<std::string> read_input(const std::string& path, int input_fd) {
  return path == "-" ? read_all(input_fd) : read_file(path, kMaxInputBytes);
}

}  // namespace nereid::commands
