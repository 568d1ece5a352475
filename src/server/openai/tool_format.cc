// See tool_format.h.
#include "src/server/openai/tool_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nereid::openai {
namespace {

constexpr ToolFormat kFormats[] = {
    // <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>
    {.name = "hermes",
     .begin = "<tool_call>",
     .end = "</tool_call>",
     .arguments = "arguments",
     .separator = "\n"},
    // {"name": "f", "parameters": {...}}; {...}
    {.name = "llama3_json",
     .begin = "<|python_tag|>",
     .end = "",
     .arguments = "parameters",
     .bare = true,
     .separator = "; "},
    // [TOOL_CALLS] [{"name": "f", "arguments": {...}}, ...]; of newer models
    // [TOOL_CALLS]f[ARGS]{...}[TOOL_CALLS]g[CALL_ID]abcdefghi[ARGS]{...}
    {.name = "mistral",
     .begin = "[TOOL_CALLS]",
     .end = "",
     .arguments = "arguments",
     .list = true,
     .separator = ", ",
     .id_marker = "[CALL_ID]",
     .arguments_marker = "[ARGS]",
     .id_length = 9},
};

constexpr std::string_view kProbeTool = "probe_tool_name", kProbeCall = "probe_call_name";

// What the template makes of a conversation with a tool and, where asked for, a call. Empty: it
// raised an error.
std::string render_probe(const text::ChatTemplate& chat_template, bool with_call) {
  using Json = nlohmann::ordered_json;
  Json messages = {{{"role", "user"}, {"content", "q"}}};
  if (with_call) {
    const Json function = {{"name", kProbeCall}, {"arguments", {{"a", 1}}}};
    messages.push_back(
        {{"role", "assistant"},
         {"content", ""},
         {"tool_calls", {{{"id", "abcdefghi"}, {"type", "function"}, {"function", function}}}}});
    messages.push_back(
        {{"role", "tool"}, {"tool_call_id", "abcdefghi"}, {"name", kProbeCall}, {"content", "1"}});
  }
  const Json schema = {{"type", "object"}, {"properties", {{"a", {{"type", "integer"}}}}}};
  const Json tool = {{"name", kProbeTool}, {"description", "d"}, {"parameters", schema}};
  const Json input = {{"messages", std::move(messages)},
                      {"tools", {{{"type", "function"}, {"function", tool}}}},
                      {"add_generation_prompt", true}};
  return chat_template.render(input.dump()).value_or("");
}

}  // namespace

std::span<const ToolFormat> tool_formats() {
  return kFormats;
}

const ToolFormat* find_tool_format(std::string_view name) {
  const auto* const found = std::ranges::find(kFormats, name, &ToolFormat::name);
  return found == std::end(kFormats) ? nullptr : found;
}

TemplateTools probe_template(const text::ChatTemplate& chat_template) {
  TemplateTools out{.format = find_tool_format("hermes")};
  const std::string plain = render_probe(chat_template, false);
  const std::string called = render_probe(chat_template, true);
  out.shows_tools = plain.contains(kProbeTool);
  if (called.contains("[TOOL_CALLS]")) {
    out.format = find_tool_format("mistral");
  } else if (!called.contains("<tool_call>") && called.contains(R"("parameters": {"a")")) {
    out.format = find_tool_format("llama3_json");
  }
  return out;
}

}  // namespace nereid::openai
