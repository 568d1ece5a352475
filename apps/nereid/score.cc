// See score.h.
#include "apps/nereid/score.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/nereid/prompt.h"
#include "src/base/check.h"
#include "src/base/json.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;
constexpr int32_t kMaxDefaultWindow = 2048;

Result<std::vector<int32_t>> token_ids_of(const Json& value) {
  if (!value.is_array()) {
    return error("token_ids: found {}, expected an array", describe_json(nlohmann::json(value)));
  }
  std::vector<int32_t> ids;
  for (const Json& item : value) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      return error("token_ids[{}]: found {}, expected a token id", ids.size(), item.dump());
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

Result<std::vector<int32_t>> ids_of_request(const Engine& engine, const Json& request) {
  if (!request.is_object()) {
    return error("found {}, expected an object", describe_json(nlohmann::json(request)));
  }
  const int given = static_cast<int>(request.contains("prompt")) +
                    static_cast<int>(request.contains("messages")) +
                    static_cast<int>(request.contains("token_ids"));
  if (given != 1) return error("expected one of \"prompt\", \"messages\" and \"token_ids\"");
  const auto reply = request.find("add_generation_prompt");
  if (reply != request.end() && !reply->is_boolean()) {
    return error("add_generation_prompt: found {}, expected true or false",
                 describe_json(nlohmann::json(*reply)));
  }
  if (request.contains("token_ids")) return token_ids_of(request["token_ids"]);
  if (request.contains("messages")) {
    NEREID_TRY(const Json conversation, parse_conversation(request.dump(), "conversation"));
    return encode_conversation(engine, conversation);
  }
  if (!request["prompt"].is_string()) {
    return error("prompt: found {}, expected a string",
                 describe_json(nlohmann::json(request["prompt"])));
  }
  return encode_text(engine, request["prompt"].get<std::string>());
}

}  // namespace

Result<Json> score_request(Engine& engine, const Json& request, int32_t top_n) {
  NEREID_TRY(const std::vector<int32_t> ids, ids_of_request(engine, request));
  ScoreParams params = {.ids = ids, .top_n = top_n};
  const auto from = request.find("generated_from");
  if (from != request.end() && !ids.empty()) {  // without tokens the engine says so
    if (!from->is_number_integer() || from->get<int64_t>() < 1 ||
        from->get<int64_t>() > std::ssize(ids)) {
      return error("generated_from: found {}, expected 1 to {}",
                   describe_json(nlohmann::json(*from)), ids.size());
    }
    params.generated_from = from->get<int32_t>();
  }
  NEREID_TRY(const ScoreResult score, engine.score(params));
  NEREID_CHECK(score.logprobs.size() == ids.size(), "{} log-probabilities of {} tokens",
               score.logprobs.size(), ids.size());
  Json answer = Json::object();
  if (request.contains("id")) answer["id"] = request["id"];
  answer["token_ids"] = ids;
  Json logprobs = Json::array();
  for (size_t position = 0; position < ids.size(); ++position) {
    logprobs.push_back(position == 0 ? Json(nullptr) : Json(score.logprobs[position]));
  }
  answer["logprobs"] = std::move(logprobs);
  if (top_n > 0) {
    Json all = Json::array();
    for (const auto& best : score.top) {
      Json row = Json::array();
      for (const auto& [id, logprob] : best) row.push_back(Json::array({id, logprob}));
      all.push_back(std::move(row));
    }
    answer["top_logprobs"] = std::move(all);
  }
  return answer;
}

Result<Perplexity> measure_perplexity(Engine& engine, std::span<const int32_t> ids,
                                      const PerplexityOptions& options) {
  Perplexity result;
  result.tokens = std::ssize(ids);
  result.window =
      options.window > 0 ? options.window : std::min(engine.max_context(), kMaxDefaultWindow);
  result.stride = options.stride > 0 ? options.stride : std::max(result.window / 2, 1);
  if (result.window < 2 || result.window > engine.max_context()) {
    return error("window: found {}, expected 2 to {} (--max-model-len raises the limit)",
                 result.window, engine.max_context());
  }
  if (result.stride >= result.window) {
    return error("stride: found {}, expected less than the window of {}", result.stride,
                 result.window);
  }
  if (ids.size() < 2) return error("the text has {} tokens, at least 2 are needed", ids.size());
  double sum = 0;
  int64_t scored_end = 1;  // ids[1, scored_end) are scored
  for (int64_t begin = 0; scored_end < result.tokens; begin += result.stride) {
    const int64_t end = std::min<int64_t>(begin + result.window, result.tokens);
    NEREID_TRY(const ScoreResult score,
               engine.score({.ids = ids.subspan(static_cast<size_t>(begin),
                                                static_cast<size_t>(end - begin))}));
    for (; scored_end < end; ++scored_end) {
      sum -= score.logprobs.at(static_cast<size_t>(scored_end - begin));
      ++result.scored_tokens;
    }
  }
  result.mean_negative_logprob = sum / static_cast<double>(result.scored_tokens);
  result.perplexity = std::exp(result.mean_negative_logprob);
  return result;
}

}  // namespace nereid::commands
