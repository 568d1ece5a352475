// Tools described in the system message, for models whose template does not know of tools. See
// model_text.h.
#include "src/server/openai/model_text.h"

namespace nereid::openai {
namespace {

std::string description(const std::vector<Tool>& tools, const ToolFormat& format) {
  std::string text =
      "You may call functions to help with the user's request. They are described by these JSON "
      "schemas:\n<tools>\n";
  for (const Tool& tool : tools) text += dump(tool.definition) + "\n";
  text += "</tools>\n\nTo call a function, answer with its name and arguments as JSON:\n";
  text += fmt::format("{}\n{{\"name\": <function name>, \"{}\": <arguments object>}}\n{}",
                      format.begin, format.arguments, format.end);
  return text;
}

std::string written_call(const Json& call, const ToolFormat& format) {
  const Json& function = call["function"];
  return fmt::format("{}\n{{\"name\": {}, \"{}\": {}}}\n{}", format.begin, dump(function["name"]),
                     format.arguments, dump(function["arguments"]), format.end);
}

}  // namespace

Json with_described_tools(const Json& messages, const std::vector<Tool>& tools,
                          const ToolFormat& format) {
  Json out = Json::array();
  const bool has_system = !messages.empty() && messages.front()["role"] == "system";
  std::string system = description(tools, format);
  if (has_system) system = messages.front()["content"].get<std::string>() + "\n\n" + system;
  out.push_back({{"role", "system"}, {"content", std::move(system)}});
  for (size_t index = has_system ? 1 : 0; index < messages.size(); ++index) {
    Json message = messages[index];
    if (const auto calls = message.find("tool_calls"); calls != message.end()) {
      auto content = message["content"].get<std::string>();
      for (const Json& call : *calls) {
        if (!content.empty()) content += '\n';
        content += written_call(call, format);
      }
      message.erase("tool_calls");
      message["content"] = std::move(content);
    }
    out.push_back(std::move(message));
  }
  return out;
}

}  // namespace nereid::openai
