// Finds the calls of tools in what a model writes, while it writes them: a call's arguments reach
// the client as they come.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/server/openai/tool_format.h"

namespace nereid::openai {

// What becomes known of a call: first its id and name, then pieces of its arguments.
struct ToolDelta {
  int32_t index = 0;
  std::string id, name;   // both in the first delta of a call, then empty
  std::string arguments;  // JSON text as the model wrote it
};

struct ParsedText {
  std::string content;  // what is no call
  std::vector<ToolDelta> calls;
};

// Reads one call's JSON object as it comes.
class CallScanner {
 public:
  enum class State : uint8_t { kReading, kDone, kBroken };

  CallScanner() = default;
  // The object is the arguments alone, of a call whose name is known.
  explicit CallScanner(std::string name)
      : part_(Part::kValue),
        key_("arguments"),
        arguments_only_(true),
        has_name_(true),
        name_(std::move(name)) {}

  // Takes bytes from the front of `text`; what follows the object's end stays.
  State push(std::string_view& text);
  bool has_name() const { return has_name_; }
  const std::string& name() const { return name_; }
  // Moves out what is there of the arguments: JSON text.
  std::string take_arguments() { return std::exchange(arguments_, {}); }

 private:
  enum class Part : uint8_t { kStart, kKey, kColon, kValue, kAfterValue };

  State take(char c);
  State take_key(char c);
  State start_value(char c);
  State take_value(char c);
  bool end_of_scalar(char c) const;
  State end_value();
  bool is_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  Part part_ = Part::kStart;
  std::string key_;    // of the value at hand; raw while it is read
  std::string value_;  // raw JSON, except of arguments that are passed on at once
  bool in_string_ = false, escaped_ = false, streamed_ = false;
  std::vector<char> open_;  // brackets inside of the value
  bool arguments_only_ = false, has_name_ = false;
  std::string name_, arguments_;
};

class ToolParser {
 public:
  struct Options {
    const ToolFormat* format = nullptr;
    std::vector<std::string> names;  // of the request's tools
    bool parallel = true;            // false: only the first call counts
    bool calls_only = false;  // a grammar admits nothing else: what is between calls is dropped
    std::function<std::string()> new_id;
  };
  explicit ToolParser(Options options)
      : options_(std::move(options)),
        place_(options_.calls_only ? Place::kAfterCall : Place::kContent) {}

  void push(std::string_view text, ParsedText& out);
  // The choice has ended. What never became a call is content.
  void finish(ParsedText& out);
  int32_t num_calls() const { return num_calls_; }

 private:
  enum class Place : uint8_t { kContent, kBeforeCall, kInCall, kAfterCall };

  bool take_content(std::string& text, ParsedText& out);
  bool take_before_call(std::string& text, ParsedText& out);
  bool take_call_head(std::string& text, ParsedText& out);
  bool take_call(std::string& text, ParsedText& out);
  bool take_after_call(std::string& text, ParsedText& out);
  bool call_is_ours() const;
  void emit_call(bool done, ParsedText& out);
  void give_up(std::string& text, ParsedText& out);
  void add_content(std::string_view text, ParsedText& out);

  Options options_;
  Place place_;
  std::string pending_;    // not yet understood
  std::string unemitted_;  // of a call that may turn out to be none
  CallScanner scanner_;
  bool named_ = false;          // the call at hand has been announced
  bool has_arguments_ = false;  // and arguments of it
  bool any_text_ = false;       // something other than white space came before
  int32_t num_calls_ = 0;       // announced
  int32_t num_ignored_ = 0;     // because of parallel
};

}  // namespace nereid::openai
