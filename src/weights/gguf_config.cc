// GGUF metadata keys -> ModelConfig, GenerationDefaults, vocabulary.
#include "src/weights/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/weights/config_check.h"
#include "src/weights/field_reader.h"
#include "src/weights/tensor_table.h"

namespace nereid::gguf {
namespace {

using nlohmann::json;
using Limits = ConfigLimits;

// How an architecture of GGUF files maps to the model's: Mistral files call themselves llama.
struct Architecture {
  std::string_view name;
  bool rope_interleaved;  // q and k rows are stored in GPT-J pair order
  bool qk_norm;
  bool qkv_bias;  // always; otherwise where the file has them
};
constexpr std::array<Architecture, 3> kArchitectures = {{
    {"llama", true, false, false},
    {"qwen2", false, false, true},
    {"qwen3", false, true, false},
}};

// Scalars as a JSON object, so that FieldReader serves both containers. Arrays become [] (any
// reader that finds one where it wants a scalar says so).
json scalars(const File& file) {
  json out = json::object();
  for (const KeyValue& entry : file.metadata) {
    json& slot = out[std::string(entry.key)];
    std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, Array>) {
            slot = json::array();
          } else if constexpr (std::is_same_v<T, std::string_view>) {
            slot = std::string(value);
          } else {
            slot = value;
          }
        },
        entry.value.value);
  }
  return out;
}

Result<const Architecture*> find_architecture(FieldReader& general) {
  const std::string name = general.string("architecture");
  NEREID_RETURN_IF_ERROR(general.status());
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture.name);
  }
  return error("field 'general.architecture': found '{}', expected one of {}", printable(name),
               known);
}

const Tensor* find_tensor(const File& file, std::string_view name) {
  const auto at = std::ranges::find(file.tensors, name, &Tensor::name);
  return at == file.tensors.end() ? nullptr : &*at;
}

Status read_rope_scaling(const File& file, FieldReader& fields, RopeScaling& scaling) {
  const NumberRange positive{1e-6, 1e6};
  const std::string type = fields.string_or("rope.scaling.type", "linear");
  const float factor = fields.number_or("rope.scaling.factor", {0, 1e6},
                                        fields.number_or("rope.scale_linear", {0, 1e6}, 0));
  if (type != "none" && type != "linear" && type != "yarn") {
    fields.fail("rope.scaling.type", "none, linear or yarn");
  } else if (type == "linear" && factor > 0 && factor != 1) {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = factor;
  } else if (type == "yarn") {
    scaling.kind = RopeScaling::Kind::kYarn;
    scaling.factor = fields.number("rope.scaling.factor", positive);
    scaling.beta_fast = fields.number_or("rope.scaling.yarn_beta_fast", positive, 32);
    scaling.beta_slow = fields.number_or("rope.scaling.yarn_beta_slow", positive, 1);
    // A factor on top of the usual 1 + 0.1 ln(factor).
    const float extra = fields.number_or("rope.scaling.attn_factor", positive, 1);
    scaling.attention_factor = extra * (1 + 0.1f * std::log(std::max(scaling.factor, 1.0f)));
    scaling.original_max_position =
        fields.integer("rope.scaling.original_context_length", {1, Limits::kPositions});
  }
  const Tensor* divisors = find_tensor(file, "rope_freqs.weight");
  if (divisors == nullptr) return {};
  if (divisors->format != StorageFormat::kF32 || divisors->shape.size() != 1) {
    return error("tensor 'rope_freqs.weight': found {} {}, expected F32 with one dimension",
                 storage_info(divisors->format).name, shape_text(divisors->shape));
  }
  scaling.freq_divisors.resize(static_cast<size_t>(divisors->shape[0]));
  std::memcpy(scaling.freq_divisors.data(), divisors->bytes.data(), divisors->bytes.size());
  return {};
}

void read_attention(FieldReader& fields, ModelConfig& config) {
  config.num_heads = fields.integer("attention.head_count", {1, Limits::kHeads});
  config.num_kv_heads =
      fields.integer_or("attention.head_count_kv", {1, Limits::kHeads}, config.num_heads);
  if (fields.has("attention.key_length")) {
    config.head_dim = fields.integer("attention.key_length", {1, Limits::kHeadDim});
  } else {
    config.head_dim = config.hidden_size / config.num_heads;
    if (config.hidden_size % config.num_heads != 0 || config.head_dim > Limits::kHeadDim) {
      fields.fail("attention.head_count",
                  fmt::format("a divisor of the embedding length {} with a quotient up to {}",
                              config.hidden_size, Limits::kHeadDim));
    }
  }
  const int32_t value_dim =
      fields.integer_or("attention.value_length", {1, Limits::kHeadDim}, config.head_dim);
  if (value_dim != config.head_dim) {
    fields.fail("attention.value_length", fmt::format("{}, the key length", config.head_dim));
  }
  config.rotary_dim =
      fields.integer_or("rope.dimension_count", {2, Limits::kHeadDim}, config.head_dim);
  config.sliding_window = fields.integer_or("attention.sliding_window", {0, Limits::kPositions}, 0);
}

// What the tensors say rather than the metadata.
Status read_from_tensors(const File& file, FieldReader& fields, ModelConfig& config) {
  const std::string embedding_name = gguf_name(TensorRole::kEmbedding);
  const Tensor* embedding = find_tensor(file, embedding_name);
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return error("tensor '{}': found {}, expected a matrix", embedding_name,
                 embedding == nullptr ? "nothing" : shape_text(embedding->shape));
  }
  const int64_t rows = embedding->shape[0];
  if (rows > Limits::kVocab) {
    return error("tensor '{}': found {} rows, expected at most {}", embedding_name, rows,
                 Limits::kVocab);
  }
  config.vocab_size = static_cast<int32_t>(rows);
  const int32_t said = fields.integer_or("vocab_size", {1, Limits::kVocab}, config.vocab_size);
  if (said != config.vocab_size) {
    fields.fail("vocab_size", fmt::format("{}, the rows of tensor '{}'", rows, embedding_name));
  }
  const auto has = [&](TensorRole role) { return find_tensor(file, gguf_name(role)) != nullptr; };
  config.tie_word_embeddings = !has(TensorRole::kLmHead);
  config.attention_bias |= has(TensorRole::kQueryBias);
  config.attention_out_bias = has(TensorRole::kOutputBias);
  config.mlp_bias = has(TensorRole::kGateBias);
  return {};
}

// An optional array of the tokenizer, one element per token.
template <typename T, typename Convert>
Status read_token_array(const File& file, std::string_view key, Convert convert,
                        std::vector<T>& out) {
  const Value* value = file.find(key);
  if (value == nullptr) return {};
  const auto* array = std::get_if<Array>(&value->value);
  if (array == nullptr) {
    return error("key '{}': found type {}, expected an array", key, value_type_name(value->type));
  }
  NEREID_TRY_CONTEXT(out, convert(*array), fmt::format("key '{}'", key));
  return {};
}

Status check_count(std::string_view key, size_t found, size_t expected) {
  if (found == 0 || found == expected) return {};
  return error("key '{}': found {} elements, expected {}, one for each token", key, found,
               expected);
}

}  // namespace

Result<ModelConfig> read_config(const File& file) {
  const json values = scalars(file);
  FieldReader general(values, "general.");
  NEREID_TRY(const Architecture* architecture, find_architecture(general));
  FieldReader fields(values, std::string(architecture->name) + ".");
  ModelConfig config;
  config.architecture = architecture->name;
  config.name = general.string_or("name", "");
  config.rope_interleaved = architecture->rope_interleaved;
  config.qk_norm = architecture->qk_norm;
  config.attention_bias = architecture->qkv_bias;
  config.num_layers = fields.integer("block_count", {1, Limits::kLayers});
  config.hidden_size = fields.integer("embedding_length", {1, Limits::kHidden});
  config.intermediate_size = fields.integer("feed_forward_length", {1, Limits::kIntermediate});
  config.max_position = fields.integer("context_length", {1, Limits::kPositions});
  config.rms_norm_eps = fields.number("attention.layer_norm_rms_epsilon", {0, 1});
  config.rope_theta = fields.number_or("rope.freq_base", kRopeThetaRange, 10000.0f);
  if (fields.integer_or("expert_count", {0, 1 << 20}, 0) != 0) {
    fields.fail("expert_count", "0: mixture-of-experts models are not supported");
  }
  NEREID_RETURN_IF_ERROR(fields.status());
  read_attention(fields, config);
  NEREID_RETURN_IF_ERROR(fields.status());
  NEREID_RETURN_IF_ERROR(read_rope_scaling(file, fields, config.rope_scaling));
  NEREID_RETURN_IF_ERROR(read_from_tensors(file, fields, config));
  NEREID_RETURN_IF_ERROR(general.status());
  NEREID_RETURN_IF_ERROR(fields.status());
  if (config.architecture == "llama" && config.sliding_window > 0) config.architecture = "mistral";
  return config;
}

Result<GenerationDefaults> read_generation_defaults(const File& file, int32_t vocab_size) {
  const json values = scalars(file);
  FieldReader fields(values, "tokenizer.ggml.");
  const IntRange ids{0, vocab_size - 1};
  GenerationDefaults defaults;
  defaults.bos_id = fields.integer_or("bos_token_id", ids, -1);
  for (const std::string_view key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const int32_t id = fields.integer_or(key, ids, -1);
    if (id >= 0 && std::ranges::find(defaults.eos_ids, id) == defaults.eos_ids.end()) {
      defaults.eos_ids.push_back(id);
    }
  }
  // Only the tokenizer needs these, but it is made while the weights are loaded.
  fields.integer_or("unknown_token_id", ids, -1);
  fields.integer_or("padding_token_id", ids, -1);
  NEREID_RETURN_IF_ERROR(fields.status());
  return defaults;
}

Result<text::GgufVocabulary> read_vocabulary(const File& file) {
  const json values = scalars(file);
  FieldReader fields(values, "tokenizer.ggml.");
  text::GgufVocabulary vocabulary;
  vocabulary.model = fields.string("model");
  vocabulary.pre = fields.string_or("pre", "");
  NEREID_RETURN_IF_ERROR(fields.status());
  NEREID_RETURN_IF_ERROR(
      read_token_array(file, "tokenizer.ggml.tokens", string_array, vocabulary.tokens));
  NEREID_RETURN_IF_ERROR(
      read_token_array(file, "tokenizer.ggml.scores", f32_array, vocabulary.scores));
  NEREID_RETURN_IF_ERROR(
      read_token_array(file, "tokenizer.ggml.token_type", i32_array, vocabulary.types));
  NEREID_RETURN_IF_ERROR(
      read_token_array(file, "tokenizer.ggml.merges", string_array, vocabulary.merges));
  const size_t count = vocabulary.tokens.size();
  if (count == 0 || count > Limits::kVocab) {
    return error("key 'tokenizer.ggml.tokens': found {} tokens, expected 1 to {}", count,
                 Limits::kVocab);
  }
  NEREID_RETURN_IF_ERROR(check_count("tokenizer.ggml.scores", vocabulary.scores.size(), count));
  NEREID_RETURN_IF_ERROR(check_count("tokenizer.ggml.token_type", vocabulary.types.size(), count));
  const IntRange ids{0, static_cast<int64_t>(count) - 1};
  vocabulary.bos_id = fields.integer_or("bos_token_id", ids, -1);
  vocabulary.eos_id = fields.integer_or("eos_token_id", ids, -1);
  vocabulary.unk_id = fields.integer_or("unknown_token_id", ids, -1);
  vocabulary.pad_id = fields.integer_or("padding_token_id", ids, -1);
  // Absent keys stay absent: the tokenizer knows what is usual for its kind of vocabulary.
  const auto flag = [&](std::string_view key) -> std::optional<bool> {
    if (!fields.has(key)) return std::nullopt;
    return fields.boolean_or(key, false);
  };
  vocabulary.add_bos = flag("add_bos_token");
  vocabulary.add_eos = flag("add_eos_token");
  vocabulary.add_space_prefix = flag("add_space_prefix");
  NEREID_RETURN_IF_ERROR(fields.status());
  return vocabulary;
}

}  // namespace nereid::gguf
