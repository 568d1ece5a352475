// See tool_parser.h. Text runs through four places: content, before a call, in it, after it.
#include "src/server/openai/tool_parser.h"

#include <algorithm>
#include <cctype>

namespace nereid::openai {
namespace {

constexpr std::string_view kSpaces = " \n\r\t";
constexpr size_t kMaxCallHead = 256;  // bytes of a call's name and id, with their markers

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kSpaces) == std::string_view::npos;
}

void skip_spaces(std::string& text, std::string* skipped = nullptr) {
  const size_t count = std::min(text.find_first_not_of(kSpaces), text.size());
  if (skipped) skipped->append(text, 0, count);
  text.erase(0, count);
}

// Bytes at the end of `text` that may be the beginning of `marker`.
size_t beginning_at_end(std::string_view text, std::string_view marker) {
  for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.ends_with(marker.substr(0, length))) return length;
  }
  return 0;
}

bool is_name(std::string_view text) {
  const auto fits = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  };
  return !text.empty() && std::ranges::all_of(text, fits);
}

// "f[CALL_ID]x[ARGS]" -> "f"; empty: not the head of a call.
std::string name_of_head(std::string_view head, const ToolFormat& format) {
  const size_t last = head.find_last_not_of(kSpaces);
  head = head.substr(0, last == std::string_view::npos ? 0 : last + 1);
  if (head.ends_with(format.arguments_marker)) head.remove_suffix(format.arguments_marker.size());
  if (const size_t id = head.find(format.id_marker); id != std::string_view::npos) {
    if (!is_name(head.substr(id + format.id_marker.size()))) return {};
    head = head.substr(0, id);
  }
  return is_name(head) ? std::string(head) : std::string();
}

}  // namespace

void ToolParser::push(std::string_view text, ParsedText& out) {
  pending_ += text;
  std::string work = std::exchange(pending_, {});
  bool advanced = true;
  while (advanced && !work.empty()) {
    switch (place_) {
      case Place::kContent:
        advanced = take_content(work, out);
        break;
      case Place::kBeforeCall:
        advanced = take_before_call(work, out);
        break;
      case Place::kInCall:
        advanced = take_call(work, out);
        break;
      case Place::kAfterCall:
        advanced = take_after_call(work, out);
        break;
    }
  }
  pending_ = std::move(work);
}

void ToolParser::add_content(std::string_view text, ParsedText& out) {
  // White space around calls is theirs.
  if (num_calls_ > 0 && is_blank(text)) return;
  if (!is_blank(text)) any_text_ = true;
  out.content += text;
}

// True: a place was left. False: more text is needed; what is undecided stays in `text`.
bool ToolParser::take_content(std::string& text, ParsedText& out) {
  const ToolFormat& format = *options_.format;
  if (format.bare && !any_text_ && num_calls_ == 0) {
    const size_t start = text.find_first_not_of(kSpaces);
    if (start == std::string::npos) return false;
    if (text[start] == '{') {
      unemitted_.assign(text, 0, start);
      text.erase(0, start);
      place_ = Place::kBeforeCall;
      return true;
    }
  }
  const size_t at = text.find(format.begin);
  if (at != std::string::npos) {
    const size_t last = std::string_view(text).substr(0, at).find_last_not_of(kSpaces);
    if (last != std::string::npos) add_content(std::string_view(text).substr(0, last + 1), out);
    text.erase(0, at + format.begin.size());
    unemitted_ = format.begin;
    place_ = Place::kBeforeCall;
    return true;
  }
  // White space at the end may stand before a call, and the marker may be incomplete.
  size_t keep = beginning_at_end(text, format.begin);
  while (keep < text.size() && kSpaces.contains(text[text.size() - 1 - keep])) ++keep;
  add_content(std::string_view(text).substr(0, text.size() - keep), out);
  text.erase(0, text.size() - keep);
  return false;
}

bool ToolParser::take_before_call(std::string& text, ParsedText& out) {
  skip_spaces(text, &unemitted_);
  if (text.empty()) return false;
  if (options_.format->list && text.front() == '[') {
    unemitted_ += '[';
    text.erase(0, 1);
    return true;
  }
  if (text.front() != '{' && !options_.format->arguments_marker.empty()) {
    return take_call_head(text, out);
  }
  if (text.front() != '{') {
    give_up(text, out);
    return true;
  }
  scanner_ = {};
  named_ = has_arguments_ = false;
  place_ = Place::kInCall;
  return true;
}

bool ToolParser::take_call_head(std::string& text, ParsedText& out) {
  const size_t brace = text.find('{');
  const std::string_view head = std::string_view(text).substr(0, brace);
  if (brace == std::string::npos && head.size() <= kMaxCallHead) return false;
  std::string name = head.size() <= kMaxCallHead ? name_of_head(head, *options_.format) : "";
  if (name.empty()) {
    give_up(text, out);
    return true;
  }
  unemitted_ += head;
  text.erase(0, brace);
  scanner_ = CallScanner(std::move(name));
  named_ = has_arguments_ = false;
  place_ = Place::kInCall;
  return true;
}

bool ToolParser::call_is_ours() const {
  return !options_.format->bare ||
         std::ranges::find(options_.names, scanner_.name()) != options_.names.end();
}

void ToolParser::emit_call(bool done, ParsedText& out) {
  std::string arguments = scanner_.take_arguments();
  has_arguments_ |= !arguments.empty();
  if (done && !has_arguments_) arguments = "{}";
  if (num_ignored_ > 0) return;
  if (!named_) {
    named_ = true;
    unemitted_.clear();
    if (num_calls_ > 0 && !options_.parallel) {
      ++num_ignored_;
      return;
    }
    out.calls.push_back({.index = num_calls_++,
                         .id = options_.new_id(),
                         .name = scanner_.name(),
                         .arguments = std::move(arguments)});
  } else if (!arguments.empty() && !out.calls.empty() && out.calls.back().index == num_calls_ - 1) {
    out.calls.back().arguments += arguments;
  } else if (!arguments.empty()) {
    out.calls.push_back(
        {.index = num_calls_ - 1, .id = {}, .name = {}, .arguments = std::move(arguments)});
  }
}

bool ToolParser::take_call(std::string& text, ParsedText& out) {
  std::string_view rest = text;
  const CallScanner::State state = scanner_.push(rest);
  if (!named_) unemitted_.append(text, 0, text.size() - rest.size());
  text.erase(0, text.size() - rest.size());
  const bool broken = state == CallScanner::State::kBroken ||
                      (state == CallScanner::State::kDone && !scanner_.has_name()) ||
                      (scanner_.has_name() && !named_ && !call_is_ours());
  if (broken) {
    give_up(text, out);
    return true;
  }
  if (scanner_.has_name()) emit_call(state == CallScanner::State::kDone, out);
  if (state != CallScanner::State::kDone) return false;
  place_ = Place::kAfterCall;
  return true;
}

bool ToolParser::take_after_call(std::string& text, ParsedText& out) {
  const ToolFormat& format = *options_.format;
  if (options_.calls_only) {
    text.erase(0, text.find('{'));
    unemitted_.clear();
    if (!text.empty()) place_ = Place::kBeforeCall;
    return !text.empty();
  }
  skip_spaces(text);
  if (text.empty()) return false;
  if (format.list || format.bare) {
    const char c = text.front();
    if (c == ',' || c == ';') {
      text.erase(0, 1);
      unemitted_.clear();
      place_ = Place::kBeforeCall;
    } else {
      if (c == ']' && format.list) text.erase(0, 1);
      place_ = Place::kContent;
    }
    return true;
  }
  if (text.starts_with(format.end)) {
    text.erase(0, format.end.size());
  } else if (format.end.starts_with(text)) {
    return false;
  }
  place_ = Place::kContent;
  return true;
}

// What was taken for a call is content after all. What has been announced of it stays.
void ToolParser::give_up(std::string& text, ParsedText& out) {
  const std::string taken = std::exchange(unemitted_, {});
  any_text_ = true;
  out.content += taken;
  place_ = options_.calls_only ? Place::kAfterCall : Place::kContent;
  // A lone byte at least, so that the same text is not tried again for ever.
  if (taken.empty() && !text.empty()) {
    out.content += text.front();
    text.erase(0, 1);
  }
}

void ToolParser::finish(ParsedText& out) {
  std::string rest = std::exchange(pending_, {});
  if (place_ == Place::kContent) {
    add_content(rest, out);
  } else if (place_ == Place::kBeforeCall || (place_ == Place::kInCall && !named_)) {
    // A separator at the very end belongs to the calls.
    const std::string text = std::exchange(unemitted_, {}) + rest;
    if (!is_blank(text) || num_calls_ == 0) out.content += text;
  }
}

}  // namespace nereid::openai
