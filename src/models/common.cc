// The common ground of the Llama family as a DecoderSpec.
#include "src/models/common.h"

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

Result<nn::DecoderSpec> base_spec(const ModelConfig& config) {
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
  spec.tie_word_embeddings = config.tie_word_embeddings;
  return spec;
}

}  // namespace nereid::models
