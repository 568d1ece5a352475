// See workload.h.
#include "src/loadgen/workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/base/numbers.h"

namespace nereid::loadgen {
namespace {

constexpr int32_t kMaxLength = 1 << 20;
constexpr int32_t kFirstId = 1000;  // special tokens are mostly below, or at the end
constexpr double kInputMedian = 130, kOutputMedian = 115, kSigma = 1;
constexpr int32_t kShortest = 4, kLongest = 1024;

// Common words: one token in most vocabularies.
constexpr auto kWords = std::to_array<std::string_view>(
    {"the",   "of",    "and",   "to",    "in",    "is",    "that",  "was",   "he",   "for",
     "it",    "with",  "as",    "his",   "on",    "be",    "at",    "by",    "had",  "not",
     "are",   "but",   "from",  "or",    "have",  "an",    "they",  "which", "one",  "you",
     "were",  "her",   "all",   "she",   "there", "would", "their", "we",    "him",  "been",
     "has",   "when",  "who",   "will",  "more",  "no",    "if",    "out",   "so",   "said",
     "what",  "up",    "its",   "about", "into",  "than",  "them",  "can",   "only", "other",
     "new",   "some",  "could", "time",  "these", "two",   "may",   "then",  "do",   "first",
     "any",   "my",    "now",   "such",  "like",  "our",   "over",  "man",   "me",   "even",
     "most",  "made",  "after", "also",  "did",   "many",  "way",   "back",  "life", "world",
     "house", "water", "city",  "night", "light", "hand",  "road",  "day",   "tree", "stone"});

using Json = nlohmann::json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<FilePrompt> read_prompt(std::string_view line, Endpoint endpoint) {
  NEREID_TRY(const Json json, parse_json(line));
  if (!json.is_object()) return error("found {}, expected an object", describe_json(json));
  FilePrompt prompt;
  if (json.contains("max_tokens")) {
    const Json& count = json["max_tokens"];
    if (!count.is_number_integer() || count < 1 || count > kMaxLength) {
      return error("max_tokens: found {}, expected 1 to {}", describe_json(count), kMaxLength);
    }
    prompt.max_tokens = count.get<int32_t>();
  }
  const bool has_messages = json.contains("messages") && json["messages"].is_array();
  const bool has_prompt =
      json.contains("prompt") && (json["prompt"].is_string() || json["prompt"].is_array());
  if (endpoint == Endpoint::kChat && has_messages) {
    prompt.json = dump(json["messages"]);
  } else if (endpoint == Endpoint::kChat && has_prompt && json["prompt"].is_string()) {
    prompt.json = dump(Json::array({{{"role", "user"}, {"content", json["prompt"]}}}));
  } else if (endpoint == Endpoint::kCompletions && has_prompt) {
    prompt.json = dump(json["prompt"]);
  } else if (endpoint == Endpoint::kCompletions && has_messages && json["messages"].size() == 1 &&
             json["messages"][0].is_object() && json["messages"][0].contains("content")) {
    prompt.json = dump(json["messages"][0]["content"]);
  } else {
    return error("expected \"prompt\" or \"messages\" that fit the endpoint");
  }
  return prompt;
}

}  // namespace

std::string_view path_of(Endpoint endpoint) {
  return endpoint == Endpoint::kChat ? "/v1/chat/completions" : "/v1/completions";
}

Result<LengthRange> parse_length_range(std::string_view text, std::string_view flag) {
  const size_t colon = text.find(':');
  NEREID_TRY(const int64_t min, parse_int(text.substr(0, colon), flag, 1, kMaxLength));
  if (colon == std::string_view::npos) {
    return LengthRange{static_cast<int32_t>(min), static_cast<int32_t>(min)};
  }
  NEREID_TRY(const int64_t max, parse_int(text.substr(colon + 1), flag, 1, kMaxLength));
  if (min > max) return error("{}: found {}, expected MIN:MAX with MIN at most MAX", flag, text);
  return LengthRange{static_cast<int32_t>(min), static_cast<int32_t>(max)};
}

Result<std::vector<FilePrompt>> read_prompts(const std::string& path, Endpoint endpoint) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error("{}: cannot be read", printable(path, 256));
  std::vector<FilePrompt> prompts;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    NEREID_TRY_CONTEXT(FilePrompt prompt, read_prompt(line, endpoint),
                       fmt::format("{}: line {}", printable(path, 256), number));
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return error("{}: no prompt in it", printable(path, 256));
  return prompts;
}

Workload::Workload(WorkloadOptions options) : options_(std::move(options)), random_(options_.seed) {
  // From the seed alone, so that a second run with it finds the prefix cached.
  std::mt19937_64 prefix_random(options_.seed ^ 0x5eed);
  if (options_.shared_prefix > 0) prefix_ = words(options_.shared_prefix, prefix_random);
}

int32_t Workload::length(const LengthRange& range, double sharegpt_median) {
  if (options_.mix == LengthMix::kShareGpt) {
    std::lognormal_distribution<double> lengths(std::log(sharegpt_median), kSigma);
    return static_cast<int32_t>(
        std::clamp(std::round(lengths(random_)), double{kShortest}, double{kLongest}));
  }
  return std::uniform_int_distribution<int32_t>(range.min, range.max)(random_);
}

// Words with a space behind each, or ids with a comma behind each.
std::string Workload::words(int32_t count, std::mt19937_64& random) const {
  std::string text;
  const bool is_ids = options_.prompt_kind == PromptKind::kIds;
  const int32_t first = std::min(kFirstId, options_.vocab_size / 2);
  std::uniform_int_distribution<int32_t> id(first, options_.vocab_size - 1);
  for (int32_t at = 0; at < count; ++at) {
    text += is_ids ? std::to_string(id(random)) : std::string(kWords[random() % kWords.size()]);
    text += is_ids ? ',' : ' ';
  }
  return text;
}

std::string Workload::prompt_json(int32_t input_len) {
  std::string text = prefix_ + words(std::max(1, input_len - options_.shared_prefix), random_);
  text.pop_back();
  if (options_.prompt_kind == PromptKind::kIds) return "[" + text + "]";
  if (options_.endpoint == Endpoint::kCompletions) return "\"" + text + "\"";
  return R"([{"role":"user","content":")" + text + "\"}]";
}

PlannedRequest Workload::next() {
  const int32_t input_len = length(options_.input, kInputMedian);
  int32_t output_len = length(options_.output, kOutputMedian);
  std::string prompt;
  if (options_.prompt_kind == PromptKind::kFile) {
    const FilePrompt& from_file = options_.prompts[next_prompt_++ % options_.prompts.size()];
    prompt = from_file.json;
    output_len = from_file.max_tokens.value_or(output_len);
  } else {
    prompt = prompt_json(input_len);
  }
  std::string body = fmt::format(
      R"({{"model":{},"{}":{},"max_tokens":{},"stream":true,"stream_options":{{"include_usage":true}})",
      dump(options_.model), options_.endpoint == Endpoint::kChat ? "messages" : "prompt", prompt,
      output_len);
  if (options_.ignore_eos) body += R"(,"ignore_eos":true)";
  if (options_.temperature) body += fmt::format(R"(,"temperature":{})", *options_.temperature);
  if (!options_.extra_body.empty()) body += "," + options_.extra_body;
  body += '}';
  return {std::move(body), output_len};
}

double Workload::next_gap(double rate, double burstiness) {
  std::gamma_distribution<double> gaps(burstiness, 1 / (rate * burstiness));
  return gaps(random_);
}

}  // namespace nereid::loadgen
