// What a checked request asks for: the structs that the parsers of bodies fill and the routes read.
// Everything in them is within limits; only what needs the tokenizer (lengths in tokens, grammars,
// the chat template) is still to be checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "src/engine/serving.h"
#include "src/server/openai/body.h"
#include "src/server/options.h"
#include "src/text/grammar.h"

namespace nereid::openai {

// What parsing needs to know of the model and the server. Outlives the parsers' calls.
struct ApiModel {
  std::string name;  // requests must call the model so
  int32_t vocab_size = 0;
  int32_t max_context = 0;
  GenerationDefaults defaults;
  server::RequestLimits limits;
};

// What the output must look like.
struct Constraint {
  text::GrammarKind kind = text::GrammarKind::kJsonObject;
  std::string source;
  std::string param;  // the parameter it came from, for errors of compiling it
};

// What all routes have in common.
struct GenerationRequest {
  SamplingParams sampling;  // the model's defaults where the client said nothing
  std::optional<uint64_t> seed;
  int32_t n = 1;
  int32_t min_tokens = 0;
  std::optional<int32_t> max_tokens;
  bool ignore_eos = false;
  bool skip_special_tokens = true;  // special tokens are not shown
  std::vector<std::string> stop;
  std::vector<int32_t> stop_ids;
  int32_t top_logprobs = -1;  // as in ServeRequest
  int32_t priority = 0;
  bool stream = false;
  bool include_usage = false;  // a last chunk with the usage
  std::optional<Constraint> constraint;
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationRequest generation;
  std::vector<Prompt> prompts;  // choices of prompt p: [p * n, (p + 1) * n)
  bool echo = false;
};

struct Tool {
  std::string name;
  Json parameters;  // a JSON schema; null: anything
  Json definition;  // {"type": "function", "function": {...}}, for the template
};

enum class ToolChoice : uint8_t { kNone, kAuto, kRequired, kNamed };

struct ToolRequest {
  std::vector<Tool> tools;
  ToolChoice choice = ToolChoice::kNone;  // kNone where there are no tools
  std::string named;                      // of kNamed
  bool parallel = true;
};

struct ChatRequest {
  GenerationRequest generation;
  Json messages = Json::array();  // as chat templates take them
  Json template_variables = Json::object();
  bool add_generation_prompt = true;
  ToolRequest tools;
};

struct ResponsesRequest {
  ChatRequest chat;
  Json echoed = Json::object();  // parameters that the response object repeats
};

}  // namespace nereid::openai
