// How a family of models writes a call of a tool. The formats are a table: the markers around the
// calls and the name of the arguments' member; parser and grammar read the same row.
#pragma once

#include <span>
#include <string_view>

#include "src/text/chat_template.h"

namespace nereid::openai {

struct ToolFormat {
  std::string_view name;       // of --tool-parser
  std::string_view begin;      // before a call
  std::string_view end;        // after it; may be empty
  std::string_view arguments;  // "arguments" or "parameters"
  bool list = false;           // one JSON array of calls after `begin`, instead of a call each
  bool bare = false;           // `begin` may be missing: the text is the call
  std::string_view separator;  // between two calls
  // A call may also be a name, an id behind its marker, and this marker before the arguments alone.
  std::string_view id_marker = {}, arguments_marker = {};
  size_t id_length = 24;  // of a call's id after "call_"; Mistral's templates take 9 in all
};

std::span<const ToolFormat> tool_formats();
// Null: no such format.
const ToolFormat* find_tool_format(std::string_view name);

struct TemplateTools {
  const ToolFormat* format = nullptr;  // never null: hermes where the template does not tell
  bool shows_tools = false;            // the template puts a request's tools into the prompt
};
// Renders a small conversation with a tool and a call and looks what became of them.
TemplateTools probe_template(const text::ChatTemplate& chat_template);

}  // namespace nereid::openai
