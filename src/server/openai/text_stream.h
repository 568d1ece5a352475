// One choice's tokens as text for its client: whole characters, stop strings found across the
// borders of tokens and never shown. What might become a stop string is held back until it is
// decided.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/text/tokenizer.h"

namespace nereid::openai {

// Finds the first of several strings in text that comes in pieces. The strings are not empty.
class StopFinder {
 public:
  // `stops` outlives it.
  explicit StopFinder(std::span<const std::string> stops) : stops_(stops) {}

  // Appends to `out` what can no longer be part of a stop string. True: one is complete; what came
  // before it is in `out`, what comes after it is dropped.
  bool push(std::string_view text, std::string& out);
  // Nothing more comes: what was held back is no stop string.
  void finish(std::string& out);

 private:
  size_t longest_beginning() const;  // bytes at the end of held_ that may begin a stop string
  std::span<const std::string> stops_;
  std::string held_;
};

class TextStream {
 public:
  struct Options {
    std::span<const std::string> stops;  // outlives the stream
    // Special tokens that are shown all the same, with their text: markers of tool calls.
    std::span<const std::pair<int32_t, std::string>> shown;  // outlives the stream
    bool skip_special_tokens = true;
  };
  TextStream(const std::shared_ptr<const text::Tokenizer>& tokenizer, const Options& options)
      : decoder_(tokenizer, options.skip_special_tokens),
        finder_(options.stops),
        options_(options) {}

  // Takes the next token and appends to `out` what may be shown now. True: a stop string is
  // complete: the choice has ended, and nothing is pushed any more.
  bool push(int32_t id, std::string& out);
  // The choice ended without a stop string: the rest is shown, up to a stop string that it
  // completes.
  void finish(std::string& out);

  int32_t num_tokens() const { return num_tokens_; }
  // Where in the text, in bytes from its start, the next token's text begins, and what of the text
  // has been shown: tokens that begin before it are part of what was shown.
  size_t decoded_bytes() const { return decoded_bytes_; }
  size_t shown_bytes() const { return shown_bytes_; }
  const std::string& last_text() const { return last_text_; }  // what the last push() decoded

 private:
  text::StreamDecoder decoder_;
  StopFinder finder_;
  Options options_;
  std::string last_text_;
  int32_t num_tokens_ = 0;
  size_t decoded_bytes_ = 0, shown_bytes_ = 0;
};

}  // namespace nereid::openai
