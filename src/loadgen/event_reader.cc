// See event_reader.h.
#include "src/loadgen/event_reader.h"

#include <nlohmann/json.hpp>

#include "src/base/json.h"

namespace nereid::loadgen {
namespace {

std::string_view without_spaces(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t");
  return start == std::string_view::npos ? std::string_view() : text.substr(start);
}

// What follows `"key":`, empty when the key is not there. Quotes inside of strings are escaped, so
// that a quoted key is one.
std::string_view value_of(std::string_view json, std::string_view quoted_key) {
  for (size_t at = json.find(quoted_key); at != std::string_view::npos;
       at = json.find(quoted_key, at + 1)) {
    const std::string_view rest = without_spaces(json.substr(at + quoted_key.size()));
    if (rest.starts_with(':')) return without_spaces(rest.substr(1));
  }
  return {};
}

bool is_text(std::string_view value) {
  return value.size() > 1 && value[0] == '"' && value[1] != '"';
}

int32_t count_of(const nlohmann::json& usage, const char* name) {
  const auto found = usage.find(name);
  if (found == usage.end() || !found->is_number_integer()) return -1;
  const int64_t count = found->get<int64_t>();
  return count >= 0 && count <= INT32_MAX ? static_cast<int32_t>(count) : -1;
}

std::optional<Usage> read_usage(std::string_view payload) {
  const auto json = parse_json(payload);
  if (!json || !json->is_object() || !json->contains("usage")) return {};
  const nlohmann::json& usage = (*json)["usage"];
  if (!usage.is_object()) return {};
  return Usage{count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")};
}

}  // namespace

StreamEvent inspect_event(std::string_view payload) {
  StreamEvent event;
  if (payload == "[DONE]") {
    event.is_done = true;
    return event;
  }
  event.has_text = is_text(value_of(payload, "\"content\"")) ||
                   is_text(value_of(payload, "\"text\"")) ||
                   is_text(value_of(payload, "\"reasoning_content\"")) ||
                   value_of(payload, "\"tool_calls\"").starts_with("[{");
  if (value_of(payload, "\"usage\"").starts_with('{')) event.usage = read_usage(payload);
  event.is_error = !event.has_text && value_of(payload, "\"error\"").starts_with('{');
  return event;
}

}  // namespace nereid::loadgen
