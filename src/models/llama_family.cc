// The Llama family: Llama 2 and 3.x (SmolLM2 is one), Mistral, Qwen2, Qwen3. Pre-norm decoders with
// RMSNorm, RoPE, GQA and a gated MLP; biases, QK-norm and sliding windows are there as the config
// says.
#include "src/models/registry.h"

#include <cmath>

namespace nereid::models {

namespace {

Result<nn::Activation> parse_activation(const std::string& name) {
  if (name == "silu" || name == "swish") return nn::Activation::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return nn::Activation::kGeluTanh;
  if (name == "gelu") return nn::Activation::kGeluErf;
  return error("hidden_act: found '{}', expected silu, gelu or gelu_pytorch_tanh", name);
}

}  // namespace

Result<nn::DecoderSpec> llama_family_spec(const ModelConfig& config) {
  nn::DecoderSpec spec;
  spec.vocab_size = config.vocab_size;
  spec.hidden_size = config.hidden_size;
  spec.norm.eps = config.rms_norm_eps;
  spec.attention.num_heads = config.num_heads;
  spec.attention.num_kv_heads = config.num_kv_heads;
  spec.attention.head_dim = config.head_dim;
  spec.attention.scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  spec.attention.rope.rotary_dim = config.rotary_dim;
  spec.attention.rope.interleaved = config.rope_interleaved;
  spec.attention.rope.theta = config.rope_theta;
  spec.attention.rope.scaling = config.rope_scaling;
  // The source has checked that the tensors of these are there.
  spec.attention.qkv_bias = config.attention_bias;
  spec.attention.out_bias = config.attention_out_bias;
  spec.attention.qk_norm = config.qk_norm;
  spec.mlp.bias = config.mlp_bias;
  spec.mlp.intermediate_size = config.intermediate_size;
  NEREID_TRY(spec.mlp.activation, parse_activation(config.hidden_act));
  spec.layers.resize(static_cast<size_t>(config.num_layers));
  for (int32_t layer = config.sliding_window_first_layer; layer < config.num_layers; ++layer) {
    spec.layers[static_cast<size_t>(layer)].sliding_window = config.sliding_window;
  }
  spec.tie_word_embeddings = config.tie_word_embeddings;
  return spec;
}

}  // namespace nereid::models
