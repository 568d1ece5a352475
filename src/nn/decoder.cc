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
#include "src/ops/rows.h"

namespace nereid::nn {

namespace {

// Terms of codes where rounding shows most in the logits: the inputs of k, v and of the head, and
// of gate and up in the last layer, behind which little is left to average it. They are the smaller
// part of a model's weights.
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

Tensor Decoder::cache(const Buffer& buffer) const {
  return Tensor(
      kv_.dtype,
      {spec_.attention.num_kv_heads, kv_.num_pages, kv_.page_size, spec_.attention.head_dim},
      buffer.ptr());
}

Status Decoder::attend(size_t layer, const StepInputs& inputs,
                       std::span<const AttentionGroup> groups, const Tensor& out) {
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = inputs.tokens.dim(0);
  const Tensor q(types_.compute, {rows, attention.q_size()}, activations_.q.ptr());
  launcher_->set_role("attention");
  for (const AttentionGroup& group : groups) {
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

// q, k and v of these rows
Status Decoder::project_part(size_t layer, const Tensor& qkv, const RowPart& part) {
  const LayerWeights& weights = weights_.layers[layer];
  const AttentionSpec& attention = spec_.attention;
  std::vector<const LinearWeights*> readers;
  for (const LinearWeights& of_qkv : weights.qkv) readers.push_back(&of_qkv);
  const Tensor x = residual(qkv.dim(0)).rows(part.first, part.count);
  const Tensor out = qkv.rows(part.first, part.count);
  NEREID_RETURN_IF_ERROR(norm(x, weights.input_norm, readers, kFineTerms, part));

  // Queries take first codes alone: what rounding does to them, softmax averages over the keys.
  const auto second_from = [&](const LinearWeights& of_qkv) {
    const int64_t of_q =
        std::clamp<int64_t>(attention.q_size() - of_qkv.column, 0, of_qkv.weight.n);
    return of_q / ops::kCodeGroup * ops::kCodeGroup;
  };
  launcher_->set_role("qkv");
  for (const LinearWeights& of_qkv : weights.qkv) {
    const ops::ActivationRows normed =
        input_of(activations_.normed, of_qkv.weight, kFineTerms, part);
    NEREID_RETURN_IF_ERROR(
        ops::linear(*launcher_, {.x = normed,
                                 .weight = &of_qkv.weight,
                                 .second_from = normed.terms() == 1 ? 0 : second_from(of_qkv),
                                 .bias = of_qkv.bias.ptr(),
                                 .out = out.columns(of_qkv.column, of_qkv.weight.n),
                                 .float8 = float8_rows()}));
  }
  return {};
}

// q, and this step's keys and values into the cache
Status Decoder::project(size_t layer, const StepInputs& inputs, std::span<const RowPart> parts) {
  const LayerWeights& weights = weights_.layers[layer];
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = inputs.tokens.dim(0);
  const Tensor qkv(types_.projected, {rows, attention.qkv_size()}, activations_.qkv.ptr());
  for (const RowPart& part : parts) NEREID_RETURN_IF_ERROR(project_part(layer, qkv, part));
  const auto head_norm = [&](const Buffer& weight) {
    return weight ? Tensor(DType::kF32, {attention.head_dim}, weight.ptr()) : Tensor();
  };
  launcher_->set_role("rope");
  const int64_t half = attention.rope.rotary_dim / 2;
  return ops::rope_kv_write(
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
       .v_cache = cache(kv_.values[layer])});
}

// residual += attention's result times out_weight^T
Status Decoder::attention_out(size_t layer, const Tensor& residual, const RowPart& part) {
  const LayerWeights& weights = weights_.layers[layer];
  const quant::Weight& out_weight = weights.attention_out.weight;
  NEREID_RETURN_IF_ERROR(encode(activations_.attention, out_weight, part));
  launcher_->set_role("o");
  return ops::linear(*launcher_, {.x = input_of(activations_.attention, out_weight, 1, part),
                                  .weight = &out_weight,
                                  .bias = weights.attention_out.bias.ptr(),
                                  .out = residual.rows(part.first, part.count),
                                  .residual = true,
                                  .float8 = float8_rows()});
}

// residual += (act(norm(residual) gate^T) * (norm(residual) up^T)) down^T
Status Decoder::mlp_block(size_t layer, const Tensor& residual, const RowPart& part) {
  const LayerWeights& weights = weights_.layers[layer];
  const Tensor x = residual.rows(part.first, part.count);
  const int64_t terms = layer + 1 == weights_.layers.size() ? kFineTerms : 1;
  NEREID_RETURN_IF_ERROR(
      norm(x, weights.mlp_norm, std::array{&weights.gate, &weights.up}, terms, part));
  const int64_t width = spec_.mlp.intermediate_size;
  const quant::Weight &gate_weight = weights.gate.weight, &down = weights.down.weight;
  // Only a layer that takes codes gives codes.
  const bool coded_out = coded(down, part) && coded(gate_weight, part) && weights.fused_gate(spec_);
  ops::ActivationRows product = rows_of(activations_.mlp, coded_out ? 1 : 0, part, width);
  product.octaves = false;  // a layer does not see whole rows of what it encodes
  if (!down.paired()) {
    product.pairs = Tensor();
    product.pair_bits = 0;
  }
  launcher_->set_role("gate_up");
  if (weights.fused_gate(spec_)) {
    NEREID_RETURN_IF_ERROR(
        ops::linear(*launcher_, {.x = input_of(activations_.normed, gate_weight, terms, part),
                                 .weight = &gate_weight,
                                 .up = &weights.up.weight,
                                 .gate = gate_of(spec_.mlp.activation),
                                 .out = product,
                                 .float8 = float8_rows()}));
  } else {
    const Tensor gate(DType::kF32, {part.count, width}, activations_.gate.ptr());
    const Tensor up(DType::kF32, {part.count, width}, activations_.up.ptr());
    for (const auto& [side, out] : {std::pair{&weights.gate, gate}, std::pair{&weights.up, up}}) {
      NEREID_RETURN_IF_ERROR(
          ops::linear(*launcher_, {.x = input_of(activations_.normed, side->weight, terms, part),
                                   .weight = &side->weight,
                                   .bias = side->bias.ptr(),
                                   .out = out,
                                   .float8 = float8_rows()}));
    }
    NEREID_RETURN_IF_ERROR(
        ops::gated_product(*launcher_, {.gate = gate,
                                        .up = up,
                                        .out = product.values,
                                        .activation = gate_of(spec_.mlp.activation)}));
  }
  if (!coded_out) {
    NEREID_RETURN_IF_ERROR(encode(activations_.mlp, down, part));
    product = input_of(activations_.mlp, down, 1, part);
  } else if (down.paired()) {
    launcher_->set_role("encode");
    NEREID_RETURN_IF_ERROR(ops::pair_rows(*launcher_, product));
  }
  launcher_->set_role("down");
  return ops::linear(*launcher_, {.x = product,
                                  .weight = &down,
                                  .bias = weights.down.bias.ptr(),
                                  .out = x,
                                  .residual = true,
                                  .float8 = float8_rows()});
}

// Final norm and logits of the rows `index` of `x`; an empty index means all of them, in order.
Result<Tensor> Decoder::head(const Tensor& x, const Tensor& index) {
  const int64_t count = index ? index.dim(0) : x.dim(0);
  const quant::Weight& head = weights_.head(spec_);
  const ops::ActivationRows rows =
      input_of(activations_.head_normed, head, kFineTerms, {.count = count});
  launcher_->set_role("norm");
  NEREID_RETURN_IF_ERROR(ops::rms_norm(
      *launcher_, {.x = x,
                   .index = index,
                   .weight = Tensor(DType::kF32, {spec_.hidden_size}, weights_.final_norm.ptr()),
                   .out = rows,
                   .eps = spec_.norm.eps}));
  launcher_->set_role("head");
  const Tensor logits(DType::kF32, {count, spec_.vocab_size}, activations_.logits.ptr());
  NEREID_RETURN_IF_ERROR(ops::linear(*launcher_, {.x = rows, .weight = &head, .out = logits}));
  return logits;
}

// From attention in the last layer on, rows whose logits nobody wants are left out. Its result lies
// where q, k and v were, and the wanted rows of it where the output layer reads them.
Result<Tensor> Decoder::finish_wanted(size_t layer, const StepInputs& inputs) {
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = inputs.tokens.dim(0), count = inputs.logit_rows.dim(0);
  const Tensor attended(types_.compute, {rows, attention.q_size()}, activations_.qkv.ptr());
  const Tensor wanted(DType::kF32, {count, spec_.hidden_size}, activations_.wanted.ptr());
  NEREID_RETURN_IF_ERROR(attend(layer, inputs, inputs.wanted_groups, attended));
  launcher_->set_role("wanted");
  NEREID_RETURN_IF_ERROR(ops::take_rows(
      *launcher_,
      {.x = attended,
       .index = inputs.logit_rows,
       .out = rows_of(activations_.attention, 0, {.count = count}, attention.q_size()).values}));
  NEREID_RETURN_IF_ERROR(
      ops::take_rows(*launcher_, {.x = residual(rows), .index = inputs.logit_rows, .out = wanted}));
  NEREID_RETURN_IF_ERROR(attention_out(layer, wanted, {.count = count}));
  NEREID_RETURN_IF_ERROR(mlp_block(layer, wanted, {.count = count}));
  return head(wanted, {});
}

Result<Tensor> Decoder::forward(const StepInputs& inputs) {
  const int64_t rows = inputs.tokens.dim(0), count = inputs.logit_rows.dim(0);
  NEREID_CHECK(rows > 0 && rows <= limits_.max_rows, "{} rows, limit {}", rows, limits_.max_rows);
  NEREID_CHECK(count <= limits_.max_logit_rows, "{} logit rows, limit {}", count,
               limits_.max_logit_rows);
  const std::vector<RowPart> all = {{.count = rows}}, parts = parts_of(inputs);
  launcher_->set_role("embed");
  NEREID_RETURN_IF_ERROR(ops::embed(
      *launcher_, {.ids = inputs.tokens, .table = &weights_.embedding, .out = residual(rows)}));
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    NEREID_RETURN_IF_ERROR(project(layer, inputs, parts));
    const bool last = layer + 1 == spec_.layers.size();
    if (last && count < rows) {
      // Without logits all that is left of the step are its keys and values.
      return count == 0 ? Result<Tensor>(Tensor()) : finish_wanted(layer, inputs);
    }
    NEREID_RETURN_IF_ERROR(
        attend(layer, inputs, inputs.groups,
               rows_of(activations_.attention, 0, all.front(), spec_.attention.q_size()).values));
    // In the last layer all rows have the form that finish_wanted gives them.
    for (const RowPart& part : last ? all : parts) {
      NEREID_RETURN_IF_ERROR(attention_out(layer, residual(rows), part));
      NEREID_RETURN_IF_ERROR(mlp_block(layer, residual(rows), part));
    }
  }
  return head(residual(rows), inputs.logit_rows);
}

}  // namespace nereid::nn
