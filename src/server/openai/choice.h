// One choice of an answer while it is written: tokens in; text, calls of tools, log-probabilities
// and the reason it ended out. The same for whole and for streamed answers of all routes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/engine/serving.h"
#include "src/server/openai/text_stream.h"
#include "src/server/openai/tool_parser.h"

namespace nereid::openai {

// A token whose log-probability is reported, and where its text begins in the choice's text.
struct ReportedToken {
  OutputToken token;
  size_t text_bytes = 0;       // before it
  size_t text_characters = 0;  // before it
};

// What has become known since the last clear().
struct ChoiceDelta {
  ParsedText text;
  std::vector<ReportedToken> tokens;  // only where log-probabilities are asked for
  std::string_view finish_reason;     // "stop", "length", "tool_calls"; empty while it goes on

  bool empty() const {
    return text.content.empty() && text.calls.empty() && tokens.empty() && finish_reason.empty();
  }
  void clear();
};

struct ChoiceOptions {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  TextStream::Options text;
  bool logprobs = false;
  std::optional<ToolParser::Options> tools;
};

class Choice {
 public:
  explicit Choice(const ChoiceOptions& options);

  // True: a stop string has ended the choice; the engine should be told. Tokens that come after
  // that are ignored.
  bool push(OutputToken token);
  // The engine ended it with kStop or kLength; ignored where a stop string was first.
  void finish(FinishReason reason);

  bool finished() const { return finished_; }
  int32_t num_tokens() const { return stream_.num_tokens(); }  // for usage
  ChoiceDelta& delta() { return delta_; }

 private:
  void add_text(bool last);
  void release_tokens(bool all);

  TextStream stream_;
  std::optional<ToolParser> tools_;
  bool logprobs_, finished_ = false;
  std::string text_;                   // shown text on its way through the tool parser
  std::deque<ReportedToken> pending_;  // their text is held back
  size_t characters_ = 0;              // of what has been decoded
  ChoiceDelta delta_;
};

}  // namespace nereid::openai
