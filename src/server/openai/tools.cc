// Reading of tools and tool_choice. See tools.h.
#include "src/server/openai/tools.h"

#include <algorithm>
#include <array>

#include "src/base/json.h"

namespace nereid::openai {
namespace {

constexpr size_t kMaxNameBytes = 64;

bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

// {"name", "description", "parameters", "strict"}; `others`: further members of the object.
void read_function(Fields& function, std::span<const std::string_view> others,
                   const ApiModel& model, ToolRequest& out) {
  std::vector<std::string_view> read = {"name", "description", "parameters", "strict"};
  read.insert(read.end(), others.begin(), others.end());
  function.check_known(read, {});
  const std::string& name = function.required_string("name");
  if (function.ok() && !is_function_name(name)) {
    function.fail("name", "invalid_value",
                  "found '{}', expected 1 to {} letters, digits, '_', '-' or '.'", printable(name),
                  kMaxNameBytes);
  }
  if (std::ranges::find(out.tools, name, &Tool::name) != out.tools.end()) {
    function.fail("name", "invalid_value", "found '{}' twice, expected different names", name);
  }
  const std::string* description = function.string("description");
  const Json* parameters = function.object("parameters");
  function.boolean("strict");
  if (!function.ok()) return;
  if (parameters && dump(*parameters).size() > static_cast<size_t>(model.limits.max_schema_bytes)) {
    function.fail("parameters", "invalid_value", "found more than {} bytes",
                  model.limits.max_schema_bytes);
    return;
  }
  Json shown = {{"name", name}};
  if (description) shown["description"] = *description;
  shown["parameters"] =
      parameters ? *parameters : Json{{"type", "object"}, {"properties", Json::object()}};
  out.tools.push_back({.name = name,
                       .parameters = parameters ? *parameters : Json(),
                       .definition = {{"type", "function"}, {"function", std::move(shown)}}});
}

void read_tool_list(Fields& body, const ApiModel& model, bool flat, ToolRequest& out) {
  static constexpr std::array<std::string_view, 1> kTypes = {"function"};
  static constexpr std::string_view kChat[] = {"type", "function"};
  static constexpr std::string_view kFlat[] = {"type"};
  const Json* tools = body.array("tools", static_cast<size_t>(model.limits.max_tools));
  if (!tools) return;
  for (size_t index = 0; index < tools->size() && body.ok(); ++index) {
    const Json& entry = (*tools)[index];
    const std::string path = fmt::format("tools[{}]", index);
    if (!entry.is_object()) {
      body.fail(path, "invalid_type", "found {}, expected an object", describe(entry));
      return;
    }
    Fields tool(entry, path + ".", body.failure());
    tool.required_string("type");
    if (!tool.choice("type", kTypes)) return;
    if (flat) {
      read_function(tool, kFlat, model, out);
      continue;
    }
    tool.check_known(kChat, {});
    const Json* function = tool.object("function");
    if (!function) {
      tool.fail("function", "missing_required_parameter", "missing, expected an object");
      return;
    }
    Fields inner(*function, path + ".function.", body.failure());
    read_function(inner, {}, model, out);
  }
}

// {"type": "function", "function": {"name"}}, or flat {"type": "function", "name"}.
void read_named_choice(Fields& body, const Json& choice, bool flat, ToolRequest& out) {
  static constexpr std::array<std::string_view, 1> kTypes = {"function"};
  static constexpr std::string_view kChat[] = {"type", "function"};
  static constexpr std::string_view kFlat[] = {"type", "name"};
  static constexpr std::string_view kName[] = {"name"};
  Fields fields(choice, "tool_choice.", body.failure());
  fields.required_string("type");
  if (!fields.choice("type", kTypes)) return;
  fields.check_known(flat ? std::span<const std::string_view>(kFlat) : kChat, {});
  const Json* holder = &choice;
  if (!flat) {
    holder = fields.object("function");
    if (!holder) {
      fields.fail("function", "missing_required_parameter", "missing, expected an object");
      return;
    }
  }
  Fields inner(*holder, flat ? "tool_choice." : "tool_choice.function.", body.failure());
  if (!flat) inner.check_known(kName, {});
  out.choice = ToolChoice::kNamed;
  out.named = inner.required_string("name");
}

void read_choice(Fields& body, bool flat, ToolRequest& out) {
  static constexpr std::array<std::string_view, 3> kChoices = {"none", "auto", "required"};
  out.choice = out.tools.empty() ? ToolChoice::kNone : ToolChoice::kAuto;
  const Json* choice = body.find("tool_choice");
  if (!choice) return;
  if (choice->is_object()) {
    read_named_choice(body, *choice, flat, out);
  } else if (!choice->is_string()) {
    body.expect("tool_choice", *choice, "none, auto, required, or an object that names a function");
  } else if (const auto word = body.choice("tool_choice", kChoices)) {
    out.choice = *word == "none"   ? ToolChoice::kNone
                 : *word == "auto" ? ToolChoice::kAuto
                                   : ToolChoice::kRequired;
  }
  if (!body.ok()) return;
  if (out.tools.empty()) {
    if (out.choice != ToolChoice::kNone && out.choice != ToolChoice::kAuto) {
      body.fail("tool_choice", "invalid_value", "a tool is demanded, but tools is empty");
    }
    out.choice = ToolChoice::kNone;
  } else if (out.choice == ToolChoice::kNamed &&
             std::ranges::find(out.tools, out.named, &Tool::name) == out.tools.end()) {
    body.fail("tool_choice", "invalid_value", "found '{}', expected the name of one of the tools",
              printable(out.named));
  }
}

void read_all(Fields& body, const ApiModel& model, bool flat, ToolRequest& out) {
  read_tool_list(body, model, flat, out);
  out.parallel = body.boolean("parallel_tool_calls").value_or(true);
  if (body.ok()) read_choice(body, flat, out);
}

}  // namespace

void read_tools(Fields& body, const ApiModel& model, ToolRequest& out) {
  read_all(body, model, false, out);
}

void read_flat_tools(Fields& body, const ApiModel& model, ToolRequest& out) {
  read_all(body, model, true, out);
}

}  // namespace nereid::openai
