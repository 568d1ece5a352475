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

// `value` null: the field is not there.
std::unexpected<Error> wrong_type(const std::string& field, const Json* value,
                                  std::string_view expected) {
  const std::string found = value == nullptr   ? "nothing"
                            : value->is_null() ? "null"
                                               : describe_json(nlohmann::json(*value));
  const bool empty = value != nullptr && value->is_array() && value->empty();
  return error("{}: found {}, expected {}", field, empty ? "an empty array" : found, expected);
}

const Json* find_field(const Json& object, const char* name) {
  const auto at = object.find(name);
  return at == object.end() ? nullptr : &*at;
}

// A string, or an array of {"type": "text", "text": string}.
Status check_content(const Json* content, const std::string& field) {
  if (content != nullptr && content->is_string()) return {};
  if (content == nullptr || !content->is_array() || content->empty()) {
    return wrong_type(field, content, "a string");
  }
  for (size_t index = 0; index < content->size(); ++index) {
    const Json& part = (*content)[index];
    const std::string name = fmt::format("{}[{}]", field, index);
    if (!part.is_object()) return wrong_type(name, &part, "an object");
    const Json* type = find_field(part, "type");
    if (type == nullptr || *type != "text") return wrong_type(name + ".type", type, "'text'");
    const Json* text = find_field(part, "text");
    if (text == nullptr || !text->is_string()) return wrong_type(name + ".text", text, "a string");
  }
  return {};
}

Status check_message(const Json& message, const std::string& name) {
  if (!message.is_object()) return wrong_type(name, &message, "an object with a \"role\"");
  const Json* role = find_field(message, "role");
  if (role == nullptr || !role->is_string()) return wrong_type(name + ".role", role, "a string");
  const Json* calls = find_field(message, "tool_calls");
  const bool has_calls = calls != nullptr && !calls->is_null();
  if (has_calls && !calls->is_array()) return wrong_type(name + ".tool_calls", calls, "an array");
  const Json* content = find_field(message, "content");
  const bool no_content = content == nullptr || content->is_null();
  if (no_content && has_calls && !calls->empty()) return {};
  return check_content(content, name + ".content");
}

Status check_conversation(const Json& conversation) {
  const Json& messages = conversation["messages"];
  if (!messages.is_array() || messages.empty()) {
    return wrong_type("messages", &messages, "an array with at least one message");
  }
  for (size_t index = 0; index < messages.size(); ++index) {
    NEREID_RETURN_IF_ERROR(check_message(messages[index], fmt::format("messages[{}]", index)));
  }
  const Json* tools = find_field(conversation, "tools");
  if (tools != nullptr && !tools->is_null() && !tools->is_array()) {
    return wrong_type("tools", tools, "an array");
  }
  const Json* reply = find_field(conversation, "add_generation_prompt");
  if (reply != nullptr && !reply->is_boolean()) {
    return wrong_type("add_generation_prompt", reply, "true or false");
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
  if (auto status = check_conversation(conversation); !status) {
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
