// The weights of a decoder in device memory, in their run-time layout.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/nn/decoder_spec.h"
#include "src/quant/weight.h"
#include "src/tensor/tensor.h"
#include "src/weights/source.h"

namespace nereid::nn {

// out = x weight^T + bias, written to columns [column, column + weight.n) of a layer's output.
struct LinearWeights {
  quant::Weight weight;  // [n, k]
  Buffer bias;           // f32 [n]; empty: none
  int64_t column = 0;
};

struct LayerWeights {
  Buffer input_norm;               // f32 [hidden]
  std::vector<LinearWeights> qkv;  // one fused [q + 2 kv, hidden], or q, k, v where formats differ
  Buffer q_norm, k_norm;           // f32 [head_dim]; empty without QK-norm
  LinearWeights attention_out;     // [hidden, q]
  Buffer mlp_norm;                 // f32 [hidden]
  LinearWeights gate, up;          // [intermediate, hidden]
  LinearWeights down;              // [hidden, intermediate]

  // Gate and up are stored alike and have no bias: one launch computes both and their product.
  bool fused_gate(const DecoderSpec& spec) const {
    return !spec.mlp.bias && gate.weight.format == up.weight.format;
  }
};

struct DecoderWeights {
  quant::Weight embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  Buffer final_norm;      // f32 [hidden]
  quant::Weight lm_head;  // [vocab, hidden]; unused when the embedding is tied

  uint64_t bytes() const;
  const quant::Weight& head(const DecoderSpec& spec) const {
    return spec.tie_word_embeddings ? embedding : lm_head;
  }
};

// Called after each tensor with the bytes of the file that were read so far.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// Errors name the tensor. The source has checked that every tensor is there with the right shape.
Result<DecoderWeights> load_decoder_weights(Launcher& launcher, const ModelSource& source,
                                            const DecoderSpec& spec, const LoadProgress& progress);

}  // namespace nereid::nn
