// See body.h.
#include "src/server/openai/body.h"

#include <algorithm>
#include <functional>
#include <unordered_set>
#include <vector>

#include "src/base/json.h"

namespace nereid::openai {
namespace {

struct Shape {
  int depth = 0;      // deepest nesting of brackets outside of strings
  int members = 0;    // most members of one object (colons on one level)
  size_t values = 0;  // arrays, objects, and what commas separate
};

// Needs no valid JSON and no recursion. Stops counting below max_depth, which is refused anyway.
Shape measure(std::string_view text, int max_depth) {
  Shape shape;
  std::vector<int> colons(1);
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == ',') {
      ++shape.values;
    } else if (c == '[' || c == '{') {
      ++shape.values;
      colons.push_back(0);
      shape.depth = std::max(shape.depth, static_cast<int>(colons.size()) - 1);
      if (shape.depth > max_depth) return shape;
    } else if (c == ']' || c == '}') {
      if (colons.size() > 1) colons.pop_back();
    } else if (c == ':') {
      shape.members = std::max(shape.members, ++colons.back());
    }
  }
  return shape;
}

// Sees every key of every object; remembers the first that comes twice.
class DuplicateFinder {
 public:
  bool operator()(int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key && !found) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        found = true;
        duplicate = key;
      }
    }
    return true;
  }
  bool found = false;
  std::string duplicate;

 private:
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

ApiResult<Json> parse_json_text(std::string_view text, std::string_view param,
                                const BodyLimits& limits) {
  const auto refuse = [&](std::string message) {
    return std::unexpected(invalid(param, "invalid_json", "{}", message));
  };
  const Shape shape = measure(text, limits.max_nesting);
  if (shape.depth > limits.max_nesting) {
    return refuse(fmt::format("JSON: found nesting of more than {}, expected at most {}",
                              limits.max_nesting, limits.max_nesting));
  }
  if (shape.members > limits.max_members) {
    return refuse(fmt::format("JSON: found an object of {} members, expected at most {}",
                              shape.members, limits.max_members));
  }
  if (shape.values > limits.max_values) {
    return refuse(
        fmt::format("JSON: found {} values, expected at most {}", shape.values, limits.max_values));
  }
  DuplicateFinder finder;
  try {
    Json value = Json::parse(text, std::ref(finder));
    if (finder.found) {
      return refuse(
          fmt::format("JSON: key '{}' occurs twice in one object", printable(finder.duplicate)));
    }
    return value;
  } catch (const Json::parse_error& failure) {
    return refuse(fmt::format("not valid JSON at byte {}", failure.byte));
  } catch (const Json::exception&) {
    return refuse("not valid JSON: a number is out of range");
  }
}

ApiResult<Json> parse_body(std::string_view text, const BodyLimits& limits) {
  if (text.empty()) return std::unexpected(invalid("", "invalid_json", "the body is empty"));
  API_TRY(Json body, parse_json_text(text, "", limits));
  if (!body.is_object()) {
    return std::unexpected(
        invalid("", "invalid_json", "body: found {}, expected an object", describe(body)));
  }
  return body;
}

std::string describe(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  if (value.is_string()) {
    return fmt::format("'{}'", printable(value.get_ref<const std::string&>()));
  }
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump();
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace nereid::openai
