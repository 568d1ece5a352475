// See generation.h.
#include "src/server/openai/generation.h"

#include <charconv>

#include "src/base/json.h"

namespace nereid::openai {
namespace {

void read_sampling(Fields& body, const ApiModel& model, GenerationRequest& out) {
  const GenerationDefaults& defaults = model.defaults;
  SamplingParams& sampling = out.sampling;
  const auto pick = [](const auto& given, const auto& usual, auto otherwise) {
    return static_cast<decltype(otherwise)>(given ? *given : usual ? *usual : otherwise);
  };
  const std::optional<float> nothing;
  sampling.temperature = pick(body.number("temperature", {0, 2}), defaults.temperature, 1.0f);
  sampling.top_p = pick(body.number("top_p", {0, 1, true}), defaults.top_p, 1.0f);
  sampling.min_p = pick(body.number("min_p", {0, 1}), defaults.min_p, 0.0f);
  // -1, too, says "off" in vLLM's API.
  sampling.top_k =
      std::max(0, pick(body.integer("top_k", -1, model.vocab_size), defaults.top_k, 0));
  sampling.repetition_penalty =
      pick(body.number("repetition_penalty", {0, 10, true}), defaults.repetition_penalty, 1.0f);
  sampling.presence_penalty = pick(body.number("presence_penalty", {-2, 2}), nothing, 0.0f);
  sampling.frequency_penalty = pick(body.number("frequency_penalty", {-2, 2}), nothing, 0.0f);
  if (const auto seed = body.integer("seed", INT64_MIN, INT64_MAX)) {
    out.seed = static_cast<uint64_t>(*seed);
  }
}

void read_logit_bias(Fields& body, const ApiModel& model, SamplingParams& sampling) {
  const Json* biases = body.object("logit_bias");
  if (!biases) return;
  if (biases->size() > static_cast<size_t>(model.limits.max_logit_bias)) {
    body.fail("logit_bias", "invalid_value", "found {} entries, expected at most {}",
              biases->size(), model.limits.max_logit_bias);
    return;
  }
  for (const auto& [key, bias] : biases->items()) {
    int32_t id = -1;
    const char* const end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, id);
    // Only the one spelling, so that no token comes twice.
    if (parsed.ec != std::errc{} || parsed.ptr != end || id < 0 || id >= model.vocab_size ||
        key != std::to_string(id)) {
      body.fail("logit_bias", "invalid_value", "found token id '{}', expected one from 0 to {}",
                printable(key), model.vocab_size - 1);
      return;
    }
    if (!bias.is_number() || !(bias.get<double>() >= -100 && bias.get<double>() <= 100)) {
      body.fail("logit_bias", "invalid_value",
                "found {} for token {}, expected a number from -100 to 100", describe(bias), id);
      return;
    }
    sampling.logit_bias.emplace_back(id, bias.get<float>());
  }
}

void read_stop(Fields& body, const ApiModel& model, std::vector<std::string>& out) {
  const Json* stop = body.find("stop");
  if (!stop) return;
  const auto limit = static_cast<size_t>(model.limits.max_stop);
  if (!stop->is_string() && !stop->is_array()) {
    body.expect("stop", *stop, "a string or an array of strings");
    return;
  }
  if (stop->is_array() && stop->size() > limit) {
    body.fail("stop", "invalid_value", "found {} strings, expected at most {}", stop->size(),
              limit);
    return;
  }
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  for (const Json& entry : list) {
    if (!entry.is_string()) {
      body.expect("stop", entry, "a string or an array of strings");
      return;
    }
    const auto& text = entry.get_ref<const std::string&>();
    if (text.empty() || text.size() > static_cast<size_t>(model.limits.max_stop_bytes)) {
      body.fail("stop", "invalid_value", "found a string of {} bytes, expected 1 to {}",
                text.size(), model.limits.max_stop_bytes);
      return;
    }
    out.push_back(text);
  }
}

void read_stream(Fields& body, GenerationRequest& out) {
  out.stream = body.boolean("stream").value_or(false);
  const Json* options = body.object("stream_options");
  if (!options) return;
  if (!out.stream) {
    body.fail("stream_options", "invalid_value", "only allowed with \"stream\": true");
    return;
  }
  static constexpr std::string_view kRead[] = {"include_usage"};
  static constexpr KnownField kOthers[] = {{"include_obfuscation", Unread::kOnlyDefault, "false"}};
  Fields inner(*options, "stream_options.", body.failure());
  out.include_usage = inner.boolean("include_usage").value_or(false);
  inner.check_known(kRead, kOthers);
}

}  // namespace

std::span<const std::string_view> generation_names() {
  static constexpr std::string_view kNames[] = {"model",
                                                "temperature",
                                                "top_p",
                                                "min_p",
                                                "top_k",
                                                "repetition_penalty",
                                                "presence_penalty",
                                                "frequency_penalty",
                                                "seed",
                                                "n",
                                                "logit_bias",
                                                "stop",
                                                "stop_token_ids",
                                                "min_tokens",
                                                "ignore_eos",
                                                "skip_special_tokens",
                                                "priority",
                                                "stream",
                                                "stream_options",
                                                "response_format",
                                                "guided_json",
                                                "guided_regex",
                                                "guided_choice",
                                                "guided_grammar",
                                                "structured_outputs"};
  return kNames;
}

void read_token_ids(Fields& body, std::string_view name, const Json& array, int32_t vocab_size,
                    std::vector<int32_t>& out) {
  out.reserve(array.size());
  for (const Json& entry : array) {
    const auto id = as_integer(entry);
    if (!id || *id < 0 || *id >= vocab_size) {
      body.fail(name, "invalid_value", "found {} at position {}, expected a token id from 0 to {}",
                describe(entry), out.size(), vocab_size - 1);
      return;
    }
    out.push_back(static_cast<int32_t>(*id));
  }
}

void read_generation(Fields& body, const ApiModel& model, GenerationRequest& out) {
  const std::string& name = body.required_string("model");
  if (body.ok() && name != model.name) body.fail(model_not_found(name));
  read_sampling(body, model, out);
  read_logit_bias(body, model, out.sampling);
  read_stop(body, model, out.stop);
  if (const Json* ids = body.array("stop_token_ids", static_cast<size_t>(model.limits.max_stop))) {
    read_token_ids(body, "stop_token_ids", *ids, model.vocab_size, out.stop_ids);
  }
  out.n = static_cast<int32_t>(body.integer("n", 1, model.limits.max_choices).value_or(1));
  out.min_tokens =
      static_cast<int32_t>(body.integer("min_tokens", 0, model.max_context).value_or(0));
  out.ignore_eos = body.boolean("ignore_eos").value_or(false);
  out.skip_special_tokens = body.boolean("skip_special_tokens").value_or(true);
  out.priority = static_cast<int32_t>(body.integer("priority", INT32_MIN, INT32_MAX).value_or(0));
  read_stream(body, out);
  read_constraint(body, model, out);
}

}  // namespace nereid::openai
