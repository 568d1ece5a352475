// The decoder graph: embed -> layers {norm, qkv, rope + cache write, attention, out, norm, mlp} ->
// norm -> head.
#include "src/nn/decoder.h"

#include <algorithm>
#include <array>

#include "src/base/check.h"
#include "src/ops/activation.h"
#include "src/ops/attention.h"
#include "src/ops/linear.h"
#include "src/ops/norm.h"

namespace nereid::nn {

namespace {

// Terms of codes where rounding shows most in the logits: the inputs of q, k, v and of the head.
// They are the smaller part of a model's weights.
constexpr int64_t kFineTerms = 2;

ops::Gate gate_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return ops::Gate::kSilu;
    case Activation::kGeluTanh:
      return ops::Gate::kGeluTanh;
    case Activation::kGeluErf:
      return ops::Gate::kGeluErf;
  }
  NEREID_CHECK(false, "activation {}", static_cast<int>(activation));
}

ops::HeadShape heads_of(const AttentionSpec& attention) {
  return {.num_heads = attention.num_heads,
          .num_kv_heads = attention.num_kv_heads,
          .head_dim = attention.head_dim};
}

}  // namespace

Tensor Decoder::residual(int64_t rows) const {
  return Tensor(DType::kF32, {rows, spec_.hidden_size}, activations_.residual.ptr());
}

bool Decoder::coded(const quant::Weight& weight) const {
  return types_.codes && ops::takes_codes(weight);
}

ops::ActivationRows Decoder::rows_of(const LinearInput& input, int64_t terms, int64_t rows,
                                     int64_t width) const {
  if (terms == 0) return Tensor(types_.compute, {rows, width}, input.numbers.ptr());
  const int64_t groups = width / ops::kCodeGroup;
  return {Tensor(DType::kI8, {rows, terms * width}, input.codes.ptr()),
          Tensor(DType::kF32, {rows, groups}, input.scales.ptr()),
          Tensor(DType::kF32, {rows, groups}, input.sums.ptr())};
}

ops::ActivationRows Decoder::input_of(const LinearInput& input, const quant::Weight& weight,
                                      int64_t terms, int64_t rows) const {
  return rows_of(input, coded(weight) ? terms : 0, rows, weight.k);
}

Status Decoder::encode(const LinearInput& input, const quant::Weight& reader, int64_t rows) {
  if (!coded(reader)) return {};
  return ops::encode_rows(*launcher_, {.x = rows_of(input, 0, rows, reader.k).values,
                                       .out = rows_of(input, 1, rows, reader.k)});
}

Tensor Decoder::cache(const Buffer& buffer) const {
  return Tensor(
      kv_.dtype,
      {kv_.num_pages, spec_.attention.num_kv_heads, kv_.page_size, spec_.attention.head_dim},
      buffer.ptr());
}

// normed = RMSNorm(residual), in the forms that its readers take
Status Decoder::norm(const Buffer& weight, int64_t rows,
                     std::span<const LinearWeights* const> readers, int64_t terms) {
  for (const bool codes : {false, true}) {
    if (std::ranges::none_of(
            readers, [&](const LinearWeights* reader) { return coded(reader->weight) == codes; })) {
      continue;
    }
    NEREID_RETURN_IF_ERROR(ops::rms_norm(
        *launcher_,
        {.x = residual(rows),
         .weight = Tensor(DType::kF32, {spec_.hidden_size}, weight.ptr()),
         .out = rows_of(activations_.normed, codes ? terms : 0, rows, spec_.hidden_size),
         .eps = spec_.norm.eps}));
  }
  return {};
}

Status Decoder::attend(size_t layer, const StepInputs& inputs) {
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = inputs.tokens.dim(0);
  const Tensor q(types_.compute, {rows, attention.q_size()}, activations_.q.ptr());
  const Tensor out(types_.compute, {rows, attention.q_size()},
                   activations_.attention.numbers.ptr());
  for (const AttentionGroup& group : inputs.groups) {
    const int64_t split_rows = std::max<int64_t>(1, limits_.decode_split_rows / group.num_splits);
    NEREID_RETURN_IF_ERROR(ops::attention(
        *launcher_,
        {.heads = heads_of(attention),
         .q = q,
         .k_cache = cache(kv_.keys[layer]),
         .v_cache = cache(kv_.values[layer]),
         .tile_seq = group.tile_seq,
         .tile_first = group.tile_first,
         .seq_start = inputs.seq_start,
         .seq_queries = inputs.seq_queries,
         .seq_context = inputs.seq_context,
         .page_table = inputs.page_table,
         .tile_tokens = group.tile_tokens,
         .num_splits = group.num_splits,
         .split_pages = group.split_pages,
         .first_row = group.first_row,
         .rows = group.rows,
         .scale = attention.scale,
         .window = spec_.layers[layer].sliding_window,
         .softcap = attention.softcap,
         .out = out,
         .partial = Tensor(DType::kF32,
                           {split_rows, attention.num_heads, group.num_splits, attention.head_dim},
                           activations_.partial.ptr()),
         .lse = Tensor(DType::kF32, {split_rows, attention.num_heads, group.num_splits},
                       activations_.lse.ptr())}));
  }
  return {};
}

// residual += attention(norm(residual)) out_weight^T
Status Decoder::attention_block(size_t layer, const StepInputs& inputs) {
  const LayerWeights& weights = weights_.layers[layer];
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = inputs.tokens.dim(0);
  std::vector<const LinearWeights*> readers;
  for (const LinearWeights& part : weights.qkv) readers.push_back(&part);
  NEREID_RETURN_IF_ERROR(norm(weights.input_norm, rows, readers, kFineTerms));

  const Tensor qkv(DType::kF32, {rows, attention.qkv_size()}, activations_.qkv.ptr());
  for (const LinearWeights& part : weights.qkv) {
    NEREID_RETURN_IF_ERROR(
        ops::linear(*launcher_, {.x = input_of(activations_.normed, part.weight, kFineTerms, rows),
                                 .weight = &part.weight,
                                 .bias = part.bias.ptr(),
                                 .out = qkv.columns(part.column, part.weight.n)}));
  }
  const auto head_norm = [&](const Buffer& weight) {
    return weight ? Tensor(DType::kF32, {attention.head_dim}, weight.ptr()) : Tensor();
  };
  const int64_t half = attention.rope.rotary_dim / 2;
  NEREID_RETURN_IF_ERROR(ops::rope_kv_write(
      *launcher_,
      {.heads = heads_of(attention),
       .rotary_dim = attention.rope.rotary_dim,
       .interleaved = attention.rope.interleaved,
       .qkv = qkv,
       .q_norm = head_norm(weights.q_norm),
       .k_norm = head_norm(weights.k_norm),
       .norm_eps = spec_.norm.eps,
       .positions = inputs.positions,
       .slots = inputs.slots,
       .cosine = Tensor(DType::kF32, {limits_.max_context, half}, cosine_.ptr()),
       .sine = Tensor(DType::kF32, {limits_.max_context, half}, sine_.ptr()),
       .q_out = Tensor(types_.compute, {rows, attention.q_size()}, activations_.q.ptr()),
       .k_cache = cache(kv_.keys[layer]),
       .v_cache = cache(kv_.values[layer])}));
  NEREID_RETURN_IF_ERROR(attend(layer, inputs));
  const quant::Weight& out_weight = weights.attention_out.weight;
  NEREID_RETURN_IF_ERROR(encode(activations_.attention, out_weight, rows));
  return ops::linear(*launcher_, {.x = input_of(activations_.attention, out_weight, 1, rows),
                                  .weight = &out_weight,
                                  .bias = weights.attention_out.bias.ptr(),
                                  .out = residual(rows),
                                  .residual = true});
}

// residual += (act(norm(residual) gate^T) * (norm(residual) up^T)) down^T
Status Decoder::mlp_block(size_t layer, int64_t rows) {
  const LayerWeights& weights = weights_.layers[layer];
  NEREID_RETURN_IF_ERROR(norm(weights.mlp_norm, rows, std::array{&weights.gate, &weights.up}, 1));
  const int64_t width = spec_.mlp.intermediate_size;
  const quant::Weight &gate_weight = weights.gate.weight, &down = weights.down.weight;
  // Only a layer that takes codes gives codes.
  const bool coded_out = coded(down) && coded(gate_weight) && weights.fused_gate(spec_);
  if (weights.fused_gate(spec_)) {
    NEREID_RETURN_IF_ERROR(ops::linear(
        *launcher_, {.x = input_of(activations_.normed, gate_weight, 1, rows),
                     .weight = &gate_weight,
                     .up = &weights.up.weight,
                     .gate = gate_of(spec_.mlp.activation),
                     .out = rows_of(activations_.mlp, coded_out ? 1 : 0, rows, width)}));
  } else {
    const Tensor gate(DType::kF32, {rows, width}, activations_.gate.ptr());
    const Tensor up(DType::kF32, {rows, width}, activations_.up.ptr());
    for (const auto& [part, out] : {std::pair{&weights.gate, gate}, std::pair{&weights.up, up}}) {
      NEREID_RETURN_IF_ERROR(
          ops::linear(*launcher_, {.x = input_of(activations_.normed, part->weight, 1, rows),
                                   .weight = &part->weight,
                                   .bias = part->bias.ptr(),
                                   .out = out}));
    }
    NEREID_RETURN_IF_ERROR(
        ops::gated_product(*launcher_, {.gate = gate,
                                        .up = up,
                                        .out = rows_of(activations_.mlp, 0, rows, width).values,
                                        .activation = gate_of(spec_.mlp.activation)}));
  }
  if (!coded_out) {
    NEREID_RETURN_IF_ERROR(encode(activations_.mlp, down, rows));
  }
  return ops::linear(*launcher_, {.x = input_of(activations_.mlp, down, 1, rows),
                                  .weight = &down,
                                  .bias = weights.down.bias.ptr(),
                                  .out = residual(rows),
                                  .residual = true});
}

// Final norm of the wanted rows, then their logits.
Result<Tensor> Decoder::head(const StepInputs& inputs) {
  const int64_t count = inputs.logit_rows.dim(0);
  if (count == 0) return Tensor();
  NEREID_CHECK(count <= limits_.max_logit_rows, "{} logit rows, limit {}", count,
               limits_.max_logit_rows);
  const quant::Weight& head = weights_.head(spec_);
  const ops::ActivationRows rows = input_of(activations_.head_normed, head, kFineTerms, count);
  NEREID_RETURN_IF_ERROR(ops::rms_norm(
      *launcher_, {.x = residual(inputs.tokens.dim(0)),
                   .index = inputs.logit_rows,
                   .weight = Tensor(DType::kF32, {spec_.hidden_size}, weights_.final_norm.ptr()),
                   .out = rows,
                   .eps = spec_.norm.eps}));
  const Tensor logits(DType::kF32, {count, spec_.vocab_size}, activations_.logits.ptr());
  NEREID_RETURN_IF_ERROR(ops::linear(*launcher_, {.x = rows, .weight = &head, .out = logits}));
  return logits;
}

Result<Tensor> Decoder::forward(const StepInputs& inputs) {
  const int64_t rows = inputs.tokens.dim(0);
  NEREID_CHECK(rows > 0 && rows <= limits_.max_rows, "{} rows, limit {}", rows, limits_.max_rows);
  NEREID_RETURN_IF_ERROR(ops::embed(
      *launcher_, {.ids = inputs.tokens, .table = &weights_.embedding, .out = residual(rows)}));
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    NEREID_RETURN_IF_ERROR(attention_block(layer, inputs));
    NEREID_RETURN_IF_ERROR(mlp_block(layer, rows));
  }
  return head(inputs);
}

}  // namespace nereid::nn
