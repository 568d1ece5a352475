// See fake_engine.h.
#include "apps/nereid/fake_engine.h"

#include <nlohmann/json.hpp>
#include <string>

#include "src/base/check.h"

namespace nereid::commands {
namespace {

constexpr int kNumBytes = 256;

// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
std::string byte_token(int byte, int& next_shifted) {
  const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
  const int code = printable ? byte : 256 + next_shifted++;
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string tokenizer_json() {
  nlohmann::json vocab;
  int next_shifted = 0;
  for (int byte = 0; byte < kNumBytes; ++byte) vocab[byte_token(byte, next_shifted)] = byte;
  nlohmann::json added = nlohmann::json::array();
  int id = kNumBytes;
  for (const char* name : {"<s>", "</s>", "<|user|>", "<|assistant|>"}) {
    vocab[name] = id;
    added.push_back({{"id", id++},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", true}};
  return nlohmann::json{{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", byte_level},
                        {"post_processor", nullptr},
                        {"decoder", byte_level},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"vocab", vocab},
                          {"merges", nlohmann::json::array()}}}}
      .dump();
}

constexpr const char* kTemplate =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

}  // namespace

FakeEngine::FakeEngine(const FakeEngineOptions& options) : options_(options) {
  config_.architecture = "fake";
  config_.name = "fake model";
  config_.vocab_size = kNumBytes + 4;
  device_ = {.driver = "null", .name = "nothing", .target = "cpu:none", .num_workers = 1};
  memory_plan_ = {.total = 1000,
                  .free = 900,
                  .share = 0.5,
                  .weights = 100,
                  .activations = 50,
                  .kv_cache = 256,
                  .token_bytes = 1,
                  .num_pages = 8,
                  .page_tokens = 32};
  auto tokenizer = text::Tokenizer::from_json(tokenizer_json());
  NEREID_CHECK(tokenizer.has_value(), "{}", tokenizer.error().message);
  tokenizer_ = *tokenizer;
  if (!options.with_chat_template) return;
  auto chat_template =
      text::ChatTemplate::parse(kTemplate, {.bos_token = "<s>", .eos_token = "</s>"});
  NEREID_CHECK(chat_template.has_value(), "{}", chat_template.error().message);
  template_ = *chat_template;
}

Result<std::shared_ptr<const text::Tokenizer>> FakeEngine::tokenizer() const {
  if (options_.broken_tokenizer) return error("fake tokenizer: broken");
  return tokenizer_;
}

Result<std::shared_ptr<const text::ChatTemplate>> FakeEngine::chat_template() const {
  if (options_.broken_chat_template) return error("fake template: broken");
  return template_;
}

Result<GenerateResult> FakeEngine::generate(const GenerateParams& params) {
  generated.push_back(params);
  if (std::ssize(params.prompt_ids) >= options_.max_context) {
    return error("prompt: {} tokens, at most {} fit", params.prompt_ids.size(),
                 options_.max_context - 1);
  }
  GenerateResult result;
  result.stop = GenerateResult::Stop::kEos;
  result.prefill_seconds = 0.5;
  result.decode_seconds = 0.125;
  for (const int32_t id : params.prompt_ids) {
    if (id >= kNumBytes) continue;
    if (params.cancel != nullptr && *params.cancel) {
      result.stop = GenerateResult::Stop::kCancelled;
      break;
    }
    if (std::ssize(result.token_ids) == params.max_tokens) {
      result.stop = GenerateResult::Stop::kLength;
      break;
    }
    result.token_ids.push_back(id);
    if (params.on_token) params.on_token(id);
  }
  return result;
}

Result<ScoreResult> FakeEngine::score(const ScoreParams& params) {
  const auto& [ids, top_n, from] = params;
  scored.emplace_back(ids.begin(), ids.end());
  if (ids.empty()) return error("no tokens to score");
  ScoreResult result;
  for (size_t position = 0; position < ids.size(); ++position) {
    result.logprobs.push_back(-static_cast<float>(position % 10) -
                              static_cast<float>(ids[position]) / 1000.0f);
    if (from && static_cast<int32_t>(position) >= *from) result.logprobs.back() -= 100;
    auto& best = result.top.emplace_back();
    for (int32_t rank = 0; rank < top_n; ++rank) best.emplace_back(rank, -1.0f - rank);
  }
  result.logprobs[0] = std::numeric_limits<float>::quiet_NaN();
  return result;
}

Result<BenchPoint> FakeEngine::bench(int32_t prefill, int32_t decode, int32_t, int32_t batch) {
  return BenchPoint{.prefill = 1.0 * prefill * batch, .decode = 1.0 * decode * batch};
}

Result<StepProfile> FakeEngine::profile(const StepChoice&) {
  StepProfile profile{.launch_seconds = 0.010,
                      .between_seconds = 0.001,
                      .profiled_seconds = 0.012,
                      .plain_seconds = 0.0115};
  profile.operators.push_back({.role = "qkv",
                               .kernel = "linear",
                               .launches = 2,
                               .seconds = 0.008,
                               .bytes = 40e6,
                               .operations = 4e9,
                               .products = DType::kBF16});
  profile.operators.push_back(
      {.role = "sample", .kernel = "sample", .launches = 1, .seconds = 0.002});
  return profile;
}

}  // namespace nereid::commands
