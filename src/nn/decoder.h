// The forward pass of a decoder: reads a DecoderSpec, launches operators, knows no architecture by
// name.
#pragma once

#include <span>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/nn/decoder_spec.h"
#include "src/nn/decoder_weights.h"
#include "src/nn/step.h"
#include "src/ops/activation_rows.h"
#include "src/ops/linear.h"

namespace nereid::nn {

// Sizes of everything a step touches, fixed at load.
struct DecoderLimits {
  int32_t max_rows = 0;           // tokens of a step
  int32_t max_logit_rows = 0;     // rows of a step whose logits are wanted
  int32_t max_decode_rows = 0;    // rows whose attention may be split
  int32_t max_context = 0;        // positions of a sequence
  int64_t decode_split_rows = 0;  // decode rows times splits of their pages, at most
  int32_t page_size = 0, num_pages = 0;
};

struct DecoderTypes {
  DType compute = DType::kF32;    // inputs of matrix products and attention
  DType projected = DType::kF32;  // q, k, v before RoPE; bf16 with `codes` and compute in bf16
  DType cache = DType::kF32;
  // Layers whose weights are group-quantised take their input as 8-bit codes
  // (ops/activation_rows.h).
  bool codes = false;
  // With `codes`: rows of prompts, as against tokens that the model has drawn, stay numbers all the
  // same, up to attention in the last layer: `compute` is bf16, and the target multiplies it by
  // tiles.
  bool prompt_numbers = false;
  // Layers whose weights are e4m3 take their input in e4m3 too, but for steps of one row. The head
  // does not.
  bool float8 = false;
};

// The input of linear layers: as numbers for some weights, as codes for others. A model uses what
// its weights need; the rest stays empty.
struct LinearInput {
  Buffer numbers;         // compute [max_rows, width]
  Buffer codes;           // i8 [max_rows, terms, width], for the largest number of terms
  Buffer scales, sums;    // f32 [max_rows, width / 32], f32 [max_rows, (1 + terms) * width / 32]
  Buffer pairs;           // i32 [max_rows, pair_words]: where a weight's scales lie in pairs
  int64_t pair_bits = 0;  // of those weights' codes, as pair_scales chose; 0: there are none
};

// Activations of a step; every step overwrites them.
struct Activations {
  Buffer residual;          // f32 [max_rows, hidden]
  LinearInput normed;       // [max_rows, hidden]
  Buffer qkv;               // projected [max_rows, q + 2 kv]
  Buffer q;                 // compute [max_rows, q]
  LinearInput attention;    // [max_rows, q]
  Buffer partial;           // f32 [decode_split_rows, num_heads, head_dim], by row, head, split
  Buffer lse;               // f32 [decode_split_rows, num_heads]
  LinearInput mlp;          // [max_rows, intermediate]
  Buffer gate, up;          // f32 [max_rows, intermediate]: only where gate and up cannot be fused
  Buffer wanted;            // f32 [max_logit_rows, hidden]: rows of residual in the last layer
  LinearInput head_normed;  // [max_logit_rows, hidden]
  Buffer float8_codes;      // f8e4m3 [max_rows, widest input of a layer]: only with types.float8
  Buffer float8_scales;     // f32 [ceil(widest / 128), max_rows]
  Buffer logits;            // f32 [max_logit_rows, vocab]
};

// Neighbouring rows of a step whose inputs of linear layers have one form.
struct RowPart {
  int64_t first = 0, count = 0;
  bool numbers = false;  // also for layers that take codes of other rows
};

class Decoder {
 public:
  // Allocates activations, cache and RoPE tables on the launcher's device and fills the tables.
  static Result<Decoder> create(Launcher& launcher, DecoderSpec spec, DecoderWeights weights,
                                const DecoderTypes& types, const DecoderLimits& limits);

  // One step. The result views f32 [logit rows, vocab] and is valid until the next step; empty when
  // no logits were asked for.
  Result<Tensor> forward(const StepInputs& inputs);

  const DecoderSpec& spec() const { return spec_; }
  const DecoderLimits& limits() const { return limits_; }
  uint64_t weight_bytes() const { return weights_.bytes(); }
  // Of one page in one buffer of the KV cache: the keys, or the values, of a layer.
  uint64_t page_bytes() const;
  // Buffers by name, for tests.
  struct NamedBuffer {
    const char* name;
    int32_t layer;  // -1: not of a layer
    const Buffer* buffer;
  };
  std::vector<NamedBuffer> buffers() const;

 private:
  Decoder(Launcher& launcher, DecoderSpec spec, DecoderWeights weights, const DecoderTypes& types,
          const DecoderLimits& limits);

  bool splits_rows() const;  // whether prompt_numbers makes a difference, and can be had
  // Brings scales of weights that layers take codes for into pairs, where that is faster, and sets
  // the pair_bits of their inputs.
  Status pair_scales();
  Status allocate();
  Status allocate_cache();
  Status allocate_inputs();
  Status allocate_float8();
  Status allocate_input(LinearInput& input, int64_t rows, int64_t width, bool numbers,
                        int64_t terms);
  std::vector<NamedBuffer> activation_buffers() const;
  Status clear_activations();
  Status make_rope_tables();
  // The parts of a step's rows.
  std::vector<RowPart> parts_of(const StepInputs& inputs) const;
  Status project(size_t layer, const StepInputs& inputs, std::span<const RowPart> parts);
  Status project_part(size_t layer, const Tensor& qkv, const RowPart& part);
  Status attend(size_t layer, const StepInputs& inputs, std::span<const AttentionGroup> groups,
                const Tensor& out);
  // These add to the rows of `residual` that the part has.
  Status attention_out(size_t layer, const Tensor& residual, const RowPart& part);
  Status mlp_block(size_t layer, const Tensor& residual, const RowPart& part);
  Status norm(const Tensor& x, const Buffer& weight, std::span<const LinearWeights* const> readers,
              int64_t terms, const RowPart& part);
  Result<Tensor> finish_wanted(size_t layer, const StepInputs& inputs);
  Result<Tensor> head(const Tensor& x, const Tensor& index);

  Tensor residual(int64_t rows) const;
  // Whether the layer takes codes.
  bool coded(const quant::Weight& weight) const;
  // Whether it takes codes of these rows.
  bool coded(const quant::Weight& weight, const RowPart& part) const;
  bool any_qkv(bool codes) const;  // whether a part of q, k and v is `coded`, or is not
  // These rows of `input` as codes of so many terms; with 0 as numbers.
  ops::ActivationRows rows_of(const LinearInput& input, int64_t terms, const RowPart& part,
                              int64_t width) const;
  // The same in the form that a layer takes: its codes, if it takes codes, of so many terms.
  ops::ActivationRows input_of(const LinearInput& input, const quant::Weight& weight, int64_t terms,
                               const RowPart& part) const;
  // Room for the input of a layer in e4m3; nothing where layers take none.
  ops::Float8Rows float8_rows() const;
  // Fills the codes of these rows of `input` from their numbers, if the layer takes them.
  Status encode(const LinearInput& input, const quant::Weight& reader, const RowPart& part);
  Tensor cache(const Buffer& buffer) const;

  Launcher* launcher_;
  DecoderSpec spec_;
  DecoderWeights weights_;
  DecoderTypes types_;
  DecoderLimits limits_;
  Activations activations_;
  KvCache kv_;
  Buffer cosine_, sine_;  // f32 [max_context, rotary_dim / 2]
};

}  // namespace nereid::nn
