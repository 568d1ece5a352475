// See messages.h.
#include "src/server/openai/messages.h"

#include <array>

#include "src/base/json.h"

namespace nereid::openai {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};
constexpr std::string_view kTextPart[] = {"text"};
constexpr std::string_view kAssistantPart[] = {"text", "refusal"};

// What the official client gives back of an answer, and asks for nothing.
constexpr KnownField kOtherMessageFields[] = {
    {"audio"}, {"function_call"}, {"annotations", Unread::kOnlyDefault, "[]"}};

// [{"id", "type": "function", "function": {"name", "arguments"}}, ...]
Json read_tool_calls(Fields& message, const Json& calls, const ApiModel& model) {
  static constexpr std::string_view kCall[] = {"id", "type", "function", "index"};
  static constexpr std::string_view kFunction[] = {"name", "arguments"};
  static constexpr std::array<std::string_view, 1> kTypes = {"function"};
  Json out = Json::array();
  for (size_t index = 0; index < calls.size() && message.ok(); ++index) {
    const std::string path = message.name_of(fmt::format("tool_calls[{}]", index));
    if (!calls[index].is_object()) {
      message.fail(
          invalid(path, "invalid_type", "found {}, expected an object", describe(calls[index])));
      break;
    }
    Fields call(calls[index], path + ".", message.failure());
    call.check_known(kCall, {});
    call.required_string("id");
    call.choice("type", kTypes);
    const Json* function = call.object("function");
    if (!function) {
      call.fail("function", "missing_required_parameter", "missing, expected an object");
      break;
    }
    Fields inner(*function, call.name_of("function."), message.failure());
    inner.check_known(kFunction, {});
    const std::string& name = inner.required_string("name");
    Json arguments = read_arguments(inner, "arguments", model);
    if (!message.ok()) break;
    out.push_back({{"id", calls[index]["id"]},
                   {"type", "function"},
                   {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
  }
  return out;
}

Json read_message(Fields& message, const ApiModel& model) {
  static constexpr std::string_view kUser[] = {"role", "content", "name"};
  static constexpr std::string_view kTool[] = {"role", "content", "name", "tool_call_id"};
  static constexpr std::string_view kAssistant[] = {"role",       "content", "name",
                                                    "tool_calls", "refusal", "reasoning_content"};
  message.required_string("role");
  const auto role = message.choice("role", kRoles);
  if (!role) return {};
  const bool assistant = *role == "assistant", tool = *role == "tool";
  message.check_known(assistant ? std::span<const std::string_view>(kAssistant)
                      : tool    ? std::span<const std::string_view>(kTool)
                                : std::span<const std::string_view>(kUser),
                      kOtherMessageFields);
  Json out = {{"role", *role == "developer" ? "system" : *role}};
  auto content = read_content(message, "content",
                              assistant ? std::span<const std::string_view>(kAssistantPart)
                                        : std::span<const std::string_view>(kTextPart));
  if (const std::string* name = message.string("name")) out["name"] = *name;
  if (tool) out["tool_call_id"] = message.required_string("tool_call_id");
  if (assistant) {
    const std::string* refusal = message.string("refusal");
    if (!content && refusal) content = *refusal;
    if (const std::string* reasoning = message.string("reasoning_content")) {
      out["reasoning_content"] = *reasoning;
    }
    const Json* calls = message.array("tool_calls", static_cast<size_t>(model.limits.max_tools));
    if (calls && !calls->empty()) {
      out["tool_calls"] = read_tool_calls(message, *calls, model);
      if (!content) content = "";
    }
  }
  if (!content) {
    message.fail("content", "missing_required_parameter",
                 "missing, expected a string or an array of text parts");
    return {};
  }
  out["content"] = std::move(*content);
  return out;
}

}  // namespace

std::optional<std::string> read_content(Fields& message, std::string_view name,
                                        std::span<const std::string_view> part_types) {
  const Json* content = message.find(name);
  if (!content) return std::nullopt;
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array() || content->empty()) {
    message.expect(name, *content, "a string or an array of text parts");
    return std::nullopt;
  }
  std::string text;
  for (size_t index = 0; index < content->size(); ++index) {
    const Json& entry = (*content)[index];
    const std::string path = message.name_of(fmt::format("{}[{}]", name, index));
    if (!entry.is_object()) {
      message.fail(invalid(path, "invalid_type", "found {}, expected an object", describe(entry)));
      return std::nullopt;
    }
    Fields part(entry, path + ".", message.failure());
    part.required_string("type");
    const auto type = part.choice("type", part_types);
    if (!type) return std::nullopt;
    const std::string_view key = *type == "refusal" ? "refusal" : "text";
    const std::string_view read[] = {"type", key};
    static constexpr KnownField kAnnotations[] = {{"annotations", Unread::kOnlyDefault, "[]"},
                                                  {"logprobs", Unread::kOnlyDefault, "[]"}};
    part.check_known(read, kAnnotations);
    if (index > 0) text += '\n';
    text += part.required_string(key);
  }
  if (!message.ok()) return std::nullopt;
  return text;
}

Json read_arguments(Fields& call, std::string_view name, const ApiModel& model) {
  const std::string& text = call.required_string(name);
  if (!call.ok() || text.empty()) return Json::object();
  auto parsed =
      parse_json_text(text, call.name_of(name), {.max_nesting = model.limits.max_nesting});
  if (!parsed) {
    call.fail(std::move(parsed.error()));
    return {};
  }
  if (!parsed->is_object()) call.expect(name, *parsed, "the JSON text of an object");
  return std::move(*parsed);
}

void read_messages(Fields& body, const ApiModel& model, Json& out) {
  const auto limit = static_cast<size_t>(model.limits.max_messages);
  const Json* messages = body.array("messages", limit);
  if (!messages || messages->empty()) {
    body.fail("messages", messages ? "invalid_value" : "missing_required_parameter",
              "{}, expected an array with at least one message",
              messages ? "found an empty array" : "missing");
    return;
  }
  for (size_t index = 0; index < messages->size() && body.ok(); ++index) {
    const Json& entry = (*messages)[index];
    const std::string path = fmt::format("messages[{}]", index);
    if (!entry.is_object()) {
      body.fail(path, "invalid_type", "found {}, expected an object", describe(entry));
      return;
    }
    Fields message(entry, path + ".", body.failure());
    out.push_back(read_message(message, model));
  }
}

}  // namespace nereid::openai
