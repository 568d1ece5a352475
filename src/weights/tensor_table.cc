// The table itself; see tensor_table.h.
#include "src/weights/tensor_table.h"

#include <array>
#include <charconv>

#include "src/base/check.h"

namespace nereid {
namespace {

enum class Dim : uint8_t { kNone, kVocab, kHidden, kIntermediate, kQuery, kKeyValue, kHead };
enum class When : uint8_t {
  kAlways,
  kUntied,
  kAttentionBias,
  kAttentionOutBias,
  kQkNorm,
  kMlpBias
};

struct Row {
  TensorRole role;
  std::string_view name;       // Hugging Face, after "model.layers.N." where per_layer
  std::string_view gguf_name;  // after "blk.N." where per_layer
  bool per_layer;
  Dim rows, cols;  // [rows, cols]; cols kNone: [rows]
  When when;
};

using enum TensorRole;
using enum When;

constexpr std::array<Row, kNumTensorRoles> kRows = {{
    {kEmbedding, "model.embed_tokens.weight", "token_embd.weight", false, Dim::kVocab, Dim::kHidden,
     kAlways},
    {kFinalNorm, "model.norm.weight", "output_norm.weight", false, Dim::kHidden, Dim::kNone,
     kAlways},
    {kLmHead, "lm_head.weight", "output.weight", false, Dim::kVocab, Dim::kHidden, kUntied},
    {kInputNorm, "input_layernorm.weight", "attn_norm.weight", true, Dim::kHidden, Dim::kNone,
     kAlways},
    {kQuery, "self_attn.q_proj.weight", "attn_q.weight", true, Dim::kQuery, Dim::kHidden, kAlways},
    {kQueryBias, "self_attn.q_proj.bias", "attn_q.bias", true, Dim::kQuery, Dim::kNone,
     kAttentionBias},
    {kKey, "self_attn.k_proj.weight", "attn_k.weight", true, Dim::kKeyValue, Dim::kHidden, kAlways},
    {kKeyBias, "self_attn.k_proj.bias", "attn_k.bias", true, Dim::kKeyValue, Dim::kNone,
     kAttentionBias},
    {kValue, "self_attn.v_proj.weight", "attn_v.weight", true, Dim::kKeyValue, Dim::kHidden,
     kAlways},
    {kValueBias, "self_attn.v_proj.bias", "attn_v.bias", true, Dim::kKeyValue, Dim::kNone,
     kAttentionBias},
    {kQueryNorm, "self_attn.q_norm.weight", "attn_q_norm.weight", true, Dim::kHead, Dim::kNone,
     kQkNorm},
    {kKeyNorm, "self_attn.k_norm.weight", "attn_k_norm.weight", true, Dim::kHead, Dim::kNone,
     kQkNorm},
    {kOutput, "self_attn.o_proj.weight", "attn_output.weight", true, Dim::kHidden, Dim::kQuery,
     kAlways},
    {kOutputBias, "self_attn.o_proj.bias", "attn_output.bias", true, Dim::kHidden, Dim::kNone,
     kAttentionOutBias},
    {kPostAttentionNorm, "post_attention_layernorm.weight", "ffn_norm.weight", true, Dim::kHidden,
     Dim::kNone, kAlways},
    {kGate, "mlp.gate_proj.weight", "ffn_gate.weight", true, Dim::kIntermediate, Dim::kHidden,
     kAlways},
    {kGateBias, "mlp.gate_proj.bias", "ffn_gate.bias", true, Dim::kIntermediate, Dim::kNone,
     kMlpBias},
    {kUp, "mlp.up_proj.weight", "ffn_up.weight", true, Dim::kIntermediate, Dim::kHidden, kAlways},
    {kUpBias, "mlp.up_proj.bias", "ffn_up.bias", true, Dim::kIntermediate, Dim::kNone, kMlpBias},
    {kDown, "mlp.down_proj.weight", "ffn_down.weight", true, Dim::kHidden, Dim::kIntermediate,
     kAlways},
    {kDownBias, "mlp.down_proj.bias", "ffn_down.bias", true, Dim::kHidden, Dim::kNone, kMlpBias},
}};

constexpr std::string_view kLayerPrefix = "model.layers.";
constexpr std::string_view kGgufLayerPrefix = "blk.";

const Row& row_of(TensorRole role) {
  const auto index = static_cast<size_t>(role);
  NEREID_CHECK(index < kRows.size() && kRows[index].role == role, "tensor role {}", index);
  return kRows[index];
}

int64_t dim_of(Dim dim, const ModelConfig& config) {
  switch (dim) {
    case Dim::kNone:
      return 0;
    case Dim::kVocab:
      return config.vocab_size;
    case Dim::kHidden:
      return config.hidden_size;
    case Dim::kIntermediate:
      return config.intermediate_size;
    case Dim::kQuery:
      return int64_t{config.num_heads} * config.head_dim;
    case Dim::kKeyValue:
      return int64_t{config.num_kv_heads} * config.head_dim;
    case Dim::kHead:
      return config.head_dim;
  }
  return 0;
}

}  // namespace

bool is_layer_role(TensorRole role) {
  return row_of(role).per_layer;
}

std::string tensor_name(TensorRole role, int32_t layer) {
  const Row& row = row_of(role);
  if (!row.per_layer) return std::string(row.name);
  return fmt::format("{}{}.{}", kLayerPrefix, layer, row.name);
}

std::string gguf_name(TensorRole role, int32_t layer) {
  const Row& row = row_of(role);
  if (!row.per_layer) return std::string(row.gguf_name);
  return fmt::format("{}{}.{}", kGgufLayerPrefix, layer, row.gguf_name);
}

std::vector<int64_t> tensor_shape(TensorRole role, const ModelConfig& config) {
  const Row& row = row_of(role);
  std::vector<int64_t> shape{dim_of(row.rows, config)};
  if (row.cols != Dim::kNone) shape.push_back(dim_of(row.cols, config));
  return shape;
}

bool has_tensor(TensorRole role, const ModelConfig& config) {
  switch (row_of(role).when) {
    case kAlways:
      return true;
    case kUntied:
      return !config.tie_word_embeddings;
    case kAttentionBias:
      return config.attention_bias;
    case kAttentionOutBias:
      return config.attention_out_bias;
    case kQkNorm:
      return config.qk_norm;
    case kMlpBias:
      return config.mlp_bias;
  }
  return false;
}

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) {
  std::vector<ExpectedTensor> out;
  const auto add = [&](TensorRole role, int32_t layer) {
    if (!has_tensor(role, config)) return;
    out.push_back({.name = tensor_name(role, layer), .shape = tensor_shape(role, config)});
  };
  add(kEmbedding, 0);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    for (const Row& row : kRows) {
      if (row.per_layer) add(row.role, layer);
    }
  }
  add(kFinalNorm, 0);
  add(kLmHead, 0);
  return out;
}

namespace {

// "PREFIX<layer>.rest" -> layer and rest; "PREFIX03." would make two names for one tensor.
struct LayerName {
  int32_t layer;
  std::string_view rest;
};
std::optional<LayerName> split_layer(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::string_view rest = name.substr(prefix.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view number = rest.substr(0, dot);
  int32_t layer = 0;
  const auto code = std::from_chars(number.data(), number.data() + number.size(), layer).ec;
  if (code != std::errc{} || layer < 0 || std::to_string(layer) != number) {
    return std::nullopt;
  }
  return LayerName{layer, rest.substr(dot + 1)};
}

}  // namespace

std::optional<std::string> canonical_from_gguf(std::string_view name) {
  const auto in_layer = split_layer(name, kGgufLayerPrefix);
  for (const Row& row : kRows) {
    if (row.per_layer != in_layer.has_value()) continue;
    if (row.gguf_name != (in_layer ? in_layer->rest : name)) continue;
    return tensor_name(row.role, in_layer ? in_layer->layer : 0);
  }
  return std::nullopt;
}

std::string gguf_from_canonical(const std::string& name) {
  const auto in_layer = split_layer(name, kLayerPrefix);
  for (const Row& row : kRows) {
    if (row.per_layer != in_layer.has_value()) continue;
    if (row.name != (in_layer ? in_layer->rest : std::string_view(name))) continue;
    return gguf_name(row.role, in_layer ? in_layer->layer : 0);
  }
  return name;
}

}  // namespace nereid
