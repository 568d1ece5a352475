// The grammar of tool calls. See tools.h.
#include "src/server/openai/json_text.h"
#include "src/server/openai/tools.h"

namespace nereid::openai {
namespace {

std::string lark_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// A marker as Lark, with `after` behind it; nothing for a marker that is a special token, which
// constrained output never has. ToolParser reads such calls with `calls_only`.
std::string marker(std::string_view text, const IsSpecial& is_special) {
  return text.empty() || is_special(text) ? "" : lark_string(text);
}

// The rule of one call: between the markers where each call has its own.
std::string call_rule(const ToolFormat& format, const IsSpecial& is_special) {
  if (format.list || format.bare) return "call: function\n";
  const std::string begin = marker(format.begin, is_special);
  const std::string end = marker(format.end, is_special);
  return fmt::format("call: {} function {}\n", begin.empty() ? "" : begin + R"( "\n")",
                     end.empty() ? "" : R"("\n" )" + end);
}

std::string calls_rule(const ToolFormat& format, const IsSpecial& is_special, bool parallel) {
  const std::string repeated =
      parallel ? fmt::format("call ({} call)*", lark_string(format.separator)) : "call";
  if (!format.list) return fmt::format("calls: {}\n", repeated);
  return fmt::format("calls: {} \"[\" {} \"]\"\n", marker(format.begin, is_special), repeated);
}

}  // namespace

std::string tool_call_grammar(const ToolRequest& request, const ToolFormat& format,
                              const IsSpecial& is_special,
                              const std::optional<Constraint>& answer) {
  std::string out = answer ? "start: calls | answer\n" : "start: calls\n";
  const bool parallel = request.parallel && request.choice != ToolChoice::kNamed;
  out += calls_rule(format, is_special, parallel);
  out += call_rule(format, is_special);
  std::string alternatives, rules;
  for (size_t index = 0; index < request.tools.size(); ++index) {
    const Tool& tool = request.tools[index];
    if (request.choice == ToolChoice::kNamed && tool.name != request.named) continue;
    if (!alternatives.empty()) alternatives += " | ";
    alternatives += fmt::format("function_{}", index);
    const std::string head =
        fmt::format(R"({{"name": {}, "{}": )", lark_string(tool.name), format.arguments);
    rules += fmt::format("function_{}: {} arguments_{} \"}}\"\n", index, lark_string(head), index);
    const Json schema = tool.parameters.is_object() && !tool.parameters.empty()
                            ? tool.parameters
                            : Json{{"type", "object"}};
    rules += fmt::format("arguments_{}: %json {}\n", index, dump(schema));
  }
  out += fmt::format("function: {}\n", alternatives) + rules;
  if (answer) {
    const bool any_object = answer->kind == text::GrammarKind::kJsonObject;
    out += fmt::format("answer: %json {}\n", any_object ? R"({"type":"object"})" : answer->source);
  }
  return out;
}

}  // namespace nereid::openai
