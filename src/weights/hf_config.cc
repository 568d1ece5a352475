// Fields of config.json as transformers writes them, of versions 4 and 5.
#include "src/weights/hf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/weights/config_check.h"
#include "src/weights/field_reader.h"
#include "src/weights/hf_quantization.h"

namespace nereid::hf {
namespace {

using nlohmann::json;
using Limits = ConfigLimits;

enum class Window : uint8_t { kNone, kEveryLayer, kLaterLayers };

// What an architecture implies without saying it in its config.
struct Architecture {
  std::string_view model_type;
  std::string_view causal_lm;  // the class of transformers
  bool qkv_bias;               // always, whatever the config says
  bool reads_attention_bias;   // the config may ask for biases on q, k, v and o
  bool reads_mlp_bias;
  bool qk_norm;
  Window window;
};
constexpr std::array<Architecture, 4> kArchitectures = {{
    {"llama", "LlamaForCausalLM", false, true, true, false, Window::kNone},
    {"mistral", "MistralForCausalLM", false, false, false, false, Window::kEveryLayer},
    {"qwen2", "Qwen2ForCausalLM", true, false, false, false, Window::kLaterLayers},
    {"qwen3", "Qwen3ForCausalLM", false, true, false, true, Window::kLaterLayers},
}};
// Values that transformers fills in when config.json lacks the key.
constexpr int32_t kMistralWindow = 4096;
constexpr int32_t kQwenWindow = 4096;
constexpr int32_t kQwenMaxWindowLayers = 28;

Result<const Architecture*> find_architecture(FieldReader& fields) {
  const std::string type = fields.string("model_type");
  NEREID_RETURN_IF_ERROR(fields.status());
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.model_type == type) return &architecture;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture.model_type);
  }
  return error("field 'model_type': found '{}', expected one of {}", printable(type), known);
}

// The class that wrote the model, where config.json names it: it has to be that of the model type.
void check_class(const Architecture& architecture, FieldReader& fields) {
  const json* classes = fields.find("architectures");
  if (classes == nullptr) return;
  const bool listed = classes->is_array() && !classes->empty() && (*classes)[0].is_string();
  if (listed && (*classes)[0] == architecture.causal_lm) return;
  fields.fail(Error{fmt::format("field 'architectures': found {}, expected a list of one name, {}",
                                listed ? describe_json((*classes)[0])
                                : classes->is_array() && classes->empty() ? "an empty list"
                                                                          : describe_json(*classes),
                                architecture.causal_lm)});
}

// silu, or what the decoder has beside it (src/models/llama_family.cc).
std::string read_activation(FieldReader& fields) {
  constexpr std::array<std::string_view, 5> kKnown = {"silu", "swish", "gelu", "gelu_new",
                                                      "gelu_pytorch_tanh"};
  std::string name = fields.string_or("hidden_act", "silu");
  if (std::ranges::find(kKnown, name) == kKnown.end()) {
    fields.fail("hidden_act", "silu, gelu or gelu_pytorch_tanh");
  }
  return name;
}

void read_sizes(FieldReader& fields, ModelConfig& config) {
  config.vocab_size = fields.integer("vocab_size", {1, Limits::kVocab});
  config.hidden_size = fields.integer("hidden_size", {1, Limits::kHidden});
  config.intermediate_size = fields.integer("intermediate_size", {1, Limits::kIntermediate});
  config.num_layers = fields.integer("num_hidden_layers", {1, Limits::kLayers});
  config.num_heads = fields.integer("num_attention_heads", {1, Limits::kHeads});
  config.num_kv_heads =
      fields.integer_or("num_key_value_heads", {1, Limits::kHeads}, config.num_heads);
  config.max_position = fields.integer("max_position_embeddings", {1, Limits::kPositions});
  if (fields.has("head_dim")) {
    config.head_dim = fields.integer("head_dim", {1, Limits::kHeadDim});
    return;
  }
  config.head_dim = config.hidden_size / config.num_heads;
  if (config.hidden_size % config.num_heads != 0 || config.head_dim > Limits::kHeadDim) {
    fields.fail("num_attention_heads",
                fmt::format("a divisor of hidden_size {} with a quotient up to {}",
                            config.hidden_size, Limits::kHeadDim));
  }
}

float yarn_attention_factor(FieldReader& rope, float factor) {
  const NumberRange range{0, 1e6};
  if (rope.has("attention_factor")) return rope.number("attention_factor", {1e-6, 1e6});
  const float numerator = rope.number_or("mscale", range, 0);
  const float denominator = rope.number_or("mscale_all_dim", range, 0);
  if (numerator == 0 || denominator == 0) return 0;  // derived from the factor
  const auto scale = [&](float mscale) {
    return factor <= 1 ? 1.0f : 0.1f * mscale * std::log(factor) + 1.0f;
  };
  return scale(numerator) / scale(denominator);
}

// `rope`: rope_parameters or rope_scaling.
void read_scaling(FieldReader& rope, int32_t max_position, RopeScaling& scaling) {
  const NumberRange positive{1e-6, 1e6};
  const IntRange positions{1, Limits::kPositions};
  const std::string_view type_key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.string_or(type_key, "default");
  if (type == "default") return;
  if (type != "linear" && type != "llama3" && type != "yarn") {
    rope.fail(type_key, "default, linear, llama3 or yarn");
    return;
  }
  scaling.factor = rope.number("factor", positive);
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return;
  }
  scaling.original_max_position =
      rope.integer_or("original_max_position_embeddings", positions, max_position);
  if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.low_freq_factor = rope.number("low_freq_factor", positive);
    scaling.high_freq_factor = rope.number("high_freq_factor", positive);
    return;
  }
  scaling.kind = RopeScaling::Kind::kYarn;
  scaling.beta_fast = rope.number_or("beta_fast", positive, 32);
  scaling.beta_slow = rope.number_or("beta_slow", positive, 1);
  scaling.attention_factor = yarn_attention_factor(rope, scaling.factor);
  if (!rope.boolean_or("truncate", true)) rope.fail("truncate", "true");
}

Status read_rope(const json& values, FieldReader& fields, ModelConfig& config) {
  config.rope_theta = fields.number_or("rope_theta", kRopeThetaRange, 10000.0f);
  float rotary_fraction = fields.number_or("partial_rotary_factor", {0, 1}, 1);
  const std::string_view key = fields.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (const json* parameters = fields.find(key)) {
    FieldReader rope(*parameters);
    config.rope_theta = rope.number_or("rope_theta", kRopeThetaRange, config.rope_theta);
    rotary_fraction = rope.number_or("partial_rotary_factor", {0, 1}, rotary_fraction);
    read_scaling(rope, config.max_position, config.rope_scaling);
    const Status status = rope.status();
    if (!status) return with_context(status.error(), fmt::format("field '{}'", key));
  }
  config.rotary_dim = static_cast<int32_t>(static_cast<float>(config.head_dim) * rotary_fraction);
  return {};
}

// layer_types: full attention up to some layer and a sliding window from it on is what
// ModelConfig can say.
void apply_layer_types(FieldReader& fields, ModelConfig& config) {
  const json* types = fields.find("layer_types");
  if (types == nullptr) return;
  const std::string expected = fmt::format(
      "{} times 'full_attention' or 'sliding_attention', full attention first", config.num_layers);
  if (!types->is_array() || types->size() != static_cast<size_t>(config.num_layers)) {
    return fields.fail("layer_types", expected);
  }
  int32_t first_sliding = config.num_layers;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const json& type = (*types)[static_cast<size_t>(layer)];
    const bool sliding = type == "sliding_attention";
    if (!sliding && type != "full_attention") return fields.fail("layer_types", expected);
    if (sliding && first_sliding == config.num_layers) first_sliding = layer;
    if (!sliding && first_sliding < layer) return fields.fail("layer_types", expected);
  }
  if (first_sliding < config.num_layers && config.sliding_window == 0) {
    return fields.fail("sliding_window", "a window, since layer_types asks for one");
  }
  config.sliding_window_first_layer = first_sliding;
  if (first_sliding == config.num_layers) config.sliding_window = 0;
}

void read_window(const json& values, FieldReader& fields, Window window, ModelConfig& config) {
  const IntRange range{1, Limits::kPositions};
  const bool absent = !values.contains("sliding_window");  // null means: no window
  if (window == Window::kEveryLayer) {
    config.sliding_window = fields.integer_or("sliding_window", range, absent ? kMistralWindow : 0);
  } else if (window == Window::kLaterLayers && fields.boolean_or("use_sliding_window", false)) {
    config.sliding_window = fields.integer_or("sliding_window", range, absent ? kQwenWindow : 0);
    config.sliding_window_first_layer =
        std::min(fields.integer_or("max_window_layers", {0, Limits::kLayers}, kQwenMaxWindowLayers),
                 config.num_layers);
  }
  apply_layer_types(fields, config);
  if (window == Window::kEveryLayer && config.sliding_window > 0 &&
      config.sliding_window_first_layer > 0) {
    fields.fail("layer_types", "the same for every layer");
  }
}

// Overrides what was read before from another file.
void read_token_ids(FieldReader& fields, IntRange ids, GenerationDefaults& defaults) {
  defaults.bos_id = fields.integer_or("bos_token_id", ids, defaults.bos_id);
  const json* value = fields.find("eos_token_id");
  if (value == nullptr) return;
  if (!value->is_array()) {
    defaults.eos_ids = {fields.integer("eos_token_id", ids)};
    return;
  }
  defaults.eos_ids.clear();
  for (const json& element : *value) {
    const json wrapped = {{"eos_token_id", element}};
    FieldReader one(wrapped);
    defaults.eos_ids.push_back(one.integer("eos_token_id", ids));
    const Status status = one.status();
    if (!status) return fields.fail(status.error());
  }
}

// transformers samples only when do_sample says so; temperature and the rest mean nothing without
// it. The ranges are those that the engine's sampler takes.
void read_sampling(FieldReader& fields, GenerationDefaults& defaults) {
  const auto number = [&](std::string_view key, NumberRange range, std::optional<float>& out) {
    if (fields.has(key)) out = fields.number(key, range);
  };
  number("repetition_penalty", {0.01, 100}, defaults.repetition_penalty);
  if (!fields.boolean_or("do_sample", false)) return;
  number("temperature", {0, 100}, defaults.temperature);
  number("top_p", {1e-6, 1}, defaults.top_p);
  number("min_p", {0, 1}, defaults.min_p);
  if (fields.has("top_k")) defaults.top_k = fields.integer("top_k", {0, Limits::kVocab});
}

}  // namespace

Result<ModelConfig> read_config(const json& values) {
  FieldReader fields(values);
  NEREID_TRY(const Architecture* architecture, find_architecture(fields));
  ModelConfig config;
  if (const json* quantization = fields.find("quantization_config")) {
    NEREID_TRY_CONTEXT(config.quantization, read_quantization(*quantization),
                       "field 'quantization_config'");
  }
  config.architecture = architecture->model_type;
  config.name = fields.string_or("_name_or_path", "");
  config.qk_norm = architecture->qk_norm;
  check_class(*architecture, fields);
  config.hidden_act = read_activation(fields);
  config.rms_norm_eps = fields.number_or("rms_norm_eps", {0, 1}, 1e-6f);
  config.tie_word_embeddings = fields.boolean_or("tie_word_embeddings", false);
  const bool asked =
      architecture->reads_attention_bias && fields.boolean_or("attention_bias", false);
  config.attention_bias = architecture->qkv_bias || asked;
  config.attention_out_bias = asked;
  config.mlp_bias = architecture->reads_mlp_bias && fields.boolean_or("mlp_bias", false);
  read_sizes(fields, config);
  NEREID_RETURN_IF_ERROR(fields.status());
  NEREID_RETURN_IF_ERROR(read_rope(values, fields, config));
  read_window(values, fields, architecture->window, config);
  NEREID_RETURN_IF_ERROR(fields.status());
  return config;
}

Result<GenerationDefaults> read_generation_defaults(const json& config, const json& generation,
                                                    int32_t vocab_size) {
  const IntRange ids{0, vocab_size - 1};
  GenerationDefaults defaults;
  FieldReader model(config), chosen(generation);
  read_token_ids(model, ids, defaults);
  if (!model.status()) return with_context(model.status().error(), "config.json");
  read_token_ids(chosen, ids, defaults);
  read_sampling(chosen, defaults);
  if (!chosen.status()) return with_context(chosen.status().error(), "generation_config.json");
  return defaults;
}

}  // namespace nereid::hf
