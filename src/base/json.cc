// The guards around nlohmann::json: limits are checked before parsing, duplicates while parsing.
#include "src/base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <vector>

namespace nereid {
namespace {

using nlohmann::json;

// Deepest nesting of brackets outside strings; needs no valid JSON.
int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

// Sees every key of every object; remembers the first that comes twice.
class DuplicateFinder {
 public:
  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key && !duplicate_found) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        duplicate_found = true;
        duplicate = key;
      }
    }
    return true;
  }
  bool duplicate_found = false;
  std::string duplicate;

 private:
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

Result<json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return error("JSON: found {} bytes, expected at most {}", text.size(), limits.max_bytes);
  }
  const int depth = nesting_depth(text);
  if (depth > limits.max_depth) {
    return error("JSON: found nesting of depth {}, expected at most {}", depth, limits.max_depth);
  }
  DuplicateFinder finder;
  try {
    json value = json::parse(text, std::ref(finder));
    if (finder.duplicate_found) {
      return error("JSON: key '{}' occurs twice in one object", printable(finder.duplicate));
    }
    return value;
  } catch (const json::parse_error& failure) {
    return error("not valid JSON at byte {}", failure.byte);
  } catch (const json::exception&) {  // numbers out of range
    return error("not valid JSON: a number is out of range");
  }
}

std::string describe_json(const json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  if (value.is_string()) {
    return fmt::format("'{}'", printable(value.get_ref<const std::string&>()));
  }
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string printable(std::string_view text, size_t max_shown) {
  std::string out;
  for (const char c : text.substr(0, max_shown)) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > max_shown) out += "...";
  return out;
}

}  // namespace nereid
