// Answers as JSON: whole ones and the chunks of streams. Chunks are written straight into a string
// around a prefix that is made once per answer; see json_text.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/server/openai/choice.h"
#include "src/server/openai/token_bytes.h"

namespace nereid::openai {

// Of a whole answer: all prompts and choices.
struct Usage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
};

// What identifies an answer.
struct AnswerHead {
  std::string id;
  int64_t created_unix_s = 0;
  std::string model;
};

void append_usage(std::string& out, const Usage& usage);

// Log-probabilities in the shape of chat: entries of {"content": [...]}.
void append_chat_logprob(std::string& out, const TokenBytes& bytes, const OutputToken& token);

// In the shape of completions: four arrays side by side. Tokens of the prompt come first with echo.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(const TokenBytes& bytes) : bytes_(&bytes) {}
  // Its text begins `offset` characters into the text.
  void add(const OutputToken& token, size_t offset);
  std::string json() const;  // {"tokens": [...], ...}; empty without tokens
  void clear();

 private:
  const TokenBytes* bytes_;
  std::string tokens_, logprobs_, top_, offsets_;  // elements, separated by commas
};

// A choice of a whole answer: what its deltas come to.
struct WholeChoice {
  std::string text;
  std::vector<ToolDelta> calls;  // whole
  std::string logprobs;          // JSON; empty: null
  std::string finish_reason;

  void add(ChoiceDelta& delta);  // takes text and calls out of it
};

std::string completion_body(const AnswerHead& head, std::span<const WholeChoice> choices,
                            const Usage& usage);
std::string chat_body(const AnswerHead& head, std::span<const WholeChoice> choices,
                      const Usage& usage);
// [{"id", "type", "function": {"name", "arguments"}}, ...]
void append_tool_calls(std::string& out, std::span<const ToolDelta> calls, bool as_deltas);

// Writes the chunks of one stream. Each function returns the data of one event, valid until the
// next call.
class ChunkWriter {
 public:
  enum class Kind : uint8_t { kCompletion, kChat };
  ChunkWriter(Kind kind, const AnswerHead& head, bool include_usage);

  const std::string& role(int32_t choice);  // chat: the first chunk of a choice
  // `logprobs`: JSON, empty for null. An empty finish reason is null.
  const std::string& delta(int32_t choice, const ParsedText& text, std::string_view logprobs,
                           std::string_view finish_reason);
  const std::string& usage(const Usage& usage);  // no choices; the last chunk

 private:
  void start(int32_t choice);
  void end(std::string_view logprobs, std::string_view finish_reason);

  Kind kind_;
  bool include_usage_;
  std::string prefix_;  // up to and with "choices":[
  std::string chunk_;
};

}  // namespace nereid::openai
