// Reading of one call's JSON object, byte by byte. See tool_parser.h.
#include "src/server/openai/body.h"
#include "src/server/openai/tool_parser.h"

namespace nereid::openai {
namespace {

constexpr size_t kMaxDepth = 256;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::optional<std::string> unquote(const std::string& quoted) {
  const Json value = Json::parse(quoted, nullptr, /*allow_exceptions=*/false);
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

}  // namespace

CallScanner::State CallScanner::push(std::string_view& text) {
  while (!text.empty()) {
    const State state = take(text.front());
    if (state == State::kBroken) return state;
    text.remove_prefix(1);
    if (state == State::kDone) return state;
  }
  return State::kReading;
}

CallScanner::State CallScanner::take(char c) {
  switch (part_) {
    case Part::kStart:
      if (c != '{') return State::kBroken;
      part_ = Part::kKey;
      return State::kReading;
    case Part::kKey:
      return take_key(c);
    case Part::kColon:
      if (c == ':') {
        part_ = Part::kValue;
        value_.clear();
        streamed_ = false;
        return State::kReading;
      }
      return is_space(c) ? State::kReading : State::kBroken;
    case Part::kValue:
      return value_.empty() && !streamed_ ? start_value(c) : take_value(c);
    case Part::kAfterValue:
      if (c == ',') {
        part_ = Part::kKey;
        key_.clear();
        return State::kReading;
      }
      if (c == '}') return State::kDone;
      return is_space(c) ? State::kReading : State::kBroken;
  }
  return State::kBroken;
}

CallScanner::State CallScanner::take_key(char c) {
  if (!in_string_) {
    if (is_space(c)) return State::kReading;
    if (c != '"') return State::kBroken;  // "{}", too, is no call
    in_string_ = true;
    key_ = '"';
    return State::kReading;
  }
  key_ += c;
  if (escaped_) {
    escaped_ = false;
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
    const auto text = unquote(key_);
    if (!text) return State::kBroken;
    key_ = *text;
    part_ = Part::kColon;
  }
  return State::kReading;
}

CallScanner::State CallScanner::start_value(char c) {
  if (is_space(c)) return State::kReading;
  if (c == ',' || c == '}' || c == ']' || c == ':') return State::kBroken;
  // Arguments that are a string hold the JSON text themselves: read to their end first.
  streamed_ = is_arguments() && (c == '{' || c == '[');
  return take_value(c);
}

bool CallScanner::end_of_scalar(char c) const {
  return open_.empty() && !in_string_ && !value_.empty() && value_.front() != '"' &&
         (c == ',' || c == '}' || is_space(c));
}

CallScanner::State CallScanner::take_value(char c) {
  if (!streamed_ && end_of_scalar(c)) {
    const State state = end_value();
    return state == State::kReading ? take(c) : state;
  }
  (streamed_ ? arguments_ : value_) += c;
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (open_.empty()) return end_value();
    }
    return State::kReading;
  }
  if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    if (open_.size() >= kMaxDepth) return State::kBroken;
    open_.push_back(c);
  } else if (c == '}' || c == ']') {
    if (open_.empty() || open_.back() != (c == '}' ? '{' : '[')) return State::kBroken;
    open_.pop_back();
    if (open_.empty()) return end_value();
  }
  return State::kReading;
}

CallScanner::State CallScanner::end_value() {
  part_ = Part::kAfterValue;
  if (arguments_only_) return State::kDone;
  if (key_ == "name") {
    const auto text = unquote(value_);
    if (!text || text->empty() || has_name_) return State::kBroken;
    has_name_ = true;
    name_ = *text;
  } else if (is_arguments() && !streamed_) {
    arguments_ += unquote(value_).value_or(value_ == "null" ? "{}" : value_);
  }
  return State::kReading;
}

}  // namespace nereid::openai
