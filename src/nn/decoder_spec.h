// A decoder-only transformer as data: what varies between architectures, and nothing else.
//
// Design goals:
//   - an architecture of the Llama family is one short function from ModelConfig to DecoderSpec;
//   - the graph (decoder.cc) reads this and never asks for the architecture's name.
// Non-goals:
//   - irregular layers: an architecture that needs one supplies its own layer function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/weights/source.h"

namespace nereid::nn {

enum class Activation : uint8_t { kSilu, kGeluTanh, kGeluErf };

struct NormSpec {
  float eps = 1e-5f;  // RMSNorm
};

struct RopeSpec {
  int32_t rotary_dim = 0;    // leading dimensions of a head that are rotated
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rotary_dim / 2)
  float theta = 10000.0f;
  RopeScaling scaling;
};

struct AttentionSpec {
  int32_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  float scale = 0;    // of the scores; usually 1 / sqrt(head_dim)
  float softcap = 0;  // logits = softcap * tanh(logits / softcap); 0: off
  bool qkv_bias = false, out_bias = false;
  bool qk_norm = false;  // RMSNorm over head_dim of every q and k head before RoPE
  RopeSpec rope;

  int32_t q_size() const { return num_heads * head_dim; }
  int32_t kv_size() const { return num_kv_heads * head_dim; }
  int32_t qkv_size() const { return q_size() + 2 * kv_size(); }
};

struct MlpSpec {
  int32_t intermediate_size = 0;
  Activation activation = Activation::kSilu;  // gated: act(gate(x)) * up(x)
  bool bias = false;
};

struct LayerSpec {
  int32_t sliding_window = 0;  // keys a query sees, itself included; 0: all before it
};

struct DecoderSpec {
  int32_t vocab_size = 0, hidden_size = 0;
  NormSpec norm;
  AttentionSpec attention;
  MlpSpec mlp;
  std::vector<LayerSpec> layers;
  bool tie_word_embeddings = false;
};

}  // namespace nereid::nn
