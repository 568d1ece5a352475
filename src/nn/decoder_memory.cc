// Memory of a decoder: activations, KV cache, RoPE tables.
#include <algorithm>
#include <map>

#include "src/base/check.h"
#include "src/base/numbers.h"
#include "src/nn/decoder.h"
#include "src/nn/rope_frequencies.h"
#include "src/ops/attention.h"
#include "src/ops/clear.h"

namespace nereid::nn {

Decoder::Decoder(Launcher& launcher, DecoderSpec spec, DecoderWeights weights,
                 const DecoderTypes& types, const DecoderLimits& limits)
    : launcher_(&launcher),
      spec_(std::move(spec)),
      weights_(std::move(weights)),
      types_(types),
      limits_(limits) {}

Result<Decoder> Decoder::create(Launcher& launcher, DecoderSpec spec, DecoderWeights weights,
                                const DecoderTypes& types, const DecoderLimits& limits) {
  NEREID_CHECK(weights.layers.size() == spec.layers.size(), "{} layers of weights for {}",
               weights.layers.size(), spec.layers.size());
  Decoder decoder(launcher, std::move(spec), std::move(weights), types, limits);
  // Beside what else such layers round, that to bf16 does not show, and half the bytes pass through
  // the caches.
  if (types.compute == DType::kBF16 && !decoder.any_qkv(false)) {
    decoder.types_.projected = DType::kBF16;
  }
  decoder.types_.prompt_numbers = types.prompt_numbers && decoder.splits_rows();
  NEREID_RETURN_IF_ERROR(decoder.pair_scales());
  NEREID_RETURN_IF_ERROR(decoder.allocate_cache());
  const Status allocated = decoder.allocate();
  if (!allocated) {
    return with_context(allocated.error(), fmt::format("activations of {} rows", limits.max_rows));
  }
  NEREID_RETURN_IF_ERROR(decoder.clear_activations());
  NEREID_RETURN_IF_ERROR(decoder.make_rope_tables());
  return decoder;
}

Status Decoder::pair_scales() {
  // By the input that they read, whose pairs are for codes of so many bits: those of most weights.
  std::vector<quant::Weight*> of_hidden, of_attention, of_mlp;
  for (LayerWeights& layer : weights_.layers) {
    for (LinearWeights& part : layer.qkv) of_hidden.push_back(&part.weight);
    of_hidden.push_back(&layer.gate.weight);
    of_hidden.push_back(&layer.up.weight);
    of_attention.push_back(&layer.attention_out.weight);
    of_mlp.push_back(&layer.down.weight);
  }
  quant::Weight& head = spec_.tie_word_embeddings ? weights_.embedding : weights_.lm_head;
  // The others are multiplied with numbers too, for which they keep their own scales, as the
  // embedding does, whose rows are looked up.
  const LayerWeights& last = weights_.layers.back();
  const std::vector<const quant::Weight*> only_codes = {
      &weights_.lm_head, &last.attention_out.weight, &last.gate.weight, &last.up.weight,
      &last.down.weight};
  Activations& a = activations_;
  for (auto& [input, readers] : {std::pair{&a.normed, of_hidden},
                                 {&a.attention, of_attention},
                                 {&a.mlp, of_mlp},
                                 {&a.head_normed, {&head}}}) {
    auto paired = readers;
    std::erase_if(paired, [&](const quant::Weight* weight) {
      return !coded(*weight) || !quant::takes_pairs(*launcher_, *weight);
    });
    std::map<int32_t, int64_t> elements;  // by bits of a code
    for (const quant::Weight* weight : paired) {
      elements[weight->format.bits] += weight->n * weight->k;
    }
    if (elements.empty()) continue;
    input->pair_bits = std::ranges::max_element(elements, {}, [](const auto& entry) {
                         return entry.second;
                       })->first;
    for (quant::Weight* weight : paired) {
      if (weight->format.bits != input->pair_bits) continue;
      NEREID_RETURN_IF_ERROR(quant::pair_scales(*launcher_, *weight));
      const bool takes_numbers =
          types_.prompt_numbers && std::ranges::find(only_codes, weight) == only_codes.end();
      if (weight == &weights_.embedding || takes_numbers) continue;
      NEREID_RETURN_IF_ERROR(launcher_->device().synchronize());
      weight->scales = Buffer();
      weight->mins = Buffer();
    }
  }
  return launcher_->device().synchronize();
}

Status Decoder::allocate() {
  Device& device = launcher_->device();
  const auto make = [&](Buffer& buffer, DType dtype, int64_t rows, int64_t columns) -> Status {
    const uint64_t bytes =
        static_cast<uint64_t>(rows) * static_cast<uint64_t>(columns) * dtype_size(dtype);
    if (bytes == 0) return {};
    NEREID_TRY(buffer, Buffer::alloc(device, bytes));
    return {};
  };
  const AttentionSpec& attention = spec_.attention;
  const int64_t rows = limits_.max_rows, width = spec_.mlp.intermediate_size;
  const bool unfused = std::ranges::any_of(
      weights_.layers, [&](const LayerWeights& layer) { return !layer.fused_gate(spec_); });
  const int64_t split_rows = limits_.decode_split_rows * attention.num_heads;
  Activations& a = activations_;
  NEREID_RETURN_IF_ERROR(make(a.residual, DType::kF32, rows, spec_.hidden_size));
  NEREID_RETURN_IF_ERROR(make(a.qkv, types_.projected, rows, attention.qkv_size()));
  NEREID_RETURN_IF_ERROR(make(a.q, types_.compute, rows, attention.q_size()));
  NEREID_RETURN_IF_ERROR(make(a.partial, DType::kF32, split_rows, attention.head_dim));
  NEREID_RETURN_IF_ERROR(make(a.lse, DType::kF32, split_rows, 1));
  NEREID_RETURN_IF_ERROR(make(a.gate, DType::kF32, unfused ? rows : 0, width));
  NEREID_RETURN_IF_ERROR(make(a.up, DType::kF32, unfused ? rows : 0, width));
  NEREID_RETURN_IF_ERROR(make(a.wanted, DType::kF32, limits_.max_logit_rows, spec_.hidden_size));
  NEREID_RETURN_IF_ERROR(allocate_inputs());
  NEREID_RETURN_IF_ERROR(allocate_float8());
  NEREID_RETURN_IF_ERROR(make(a.logits, DType::kF32, limits_.max_logit_rows, spec_.vocab_size));
  return {};
}

uint64_t Decoder::page_bytes() const {
  return static_cast<uint64_t>(int64_t{limits_.page_size} * spec_.attention.kv_size()) *
         dtype_size(types_.cache);
}

Status Decoder::allocate_cache() {
  kv_ = {.dtype = types_.cache, .num_pages = limits_.num_pages, .page_size = limits_.page_size};
  kv_.keys.resize(spec_.layers.size());
  kv_.values.resize(spec_.layers.size());
  const int64_t positions = int64_t{limits_.num_pages} * limits_.page_size;
  const uint64_t bytes = static_cast<uint64_t>(limits_.num_pages) * page_bytes();
  for (auto* side : {&kv_.keys, &kv_.values}) {
    for (Buffer& buffer : *side) {
      NEREID_TRY_CONTEXT(buffer, Buffer::alloc(launcher_->device(), bytes),
                         fmt::format("KV cache of {} positions, {} in all", positions,
                                     format_bytes(bytes * 2 * spec_.layers.size())));
    }
  }
  return {};
}

Status Decoder::allocate_input(LinearInput& input, int64_t rows, int64_t width, bool numbers,
                               int64_t terms) {
  Device& device = launcher_->device();
  const auto make = [&](Buffer& buffer, int64_t bytes) -> Status {
    NEREID_TRY(buffer, Buffer::alloc(device, static_cast<uint64_t>(bytes)));
    return {};
  };
  if (numbers) {
    NEREID_RETURN_IF_ERROR(make(input.numbers, rows * width * dtype_size(types_.compute)));
  }
  if (terms == 0) return {};
  const int64_t groups = width / ops::kCodeGroup;
  const int64_t plane = rows * groups * int64_t{sizeof(float)};
  NEREID_RETURN_IF_ERROR(make(input.codes, rows * ops::code_stride(terms * width)));
  NEREID_RETURN_IF_ERROR(make(input.scales, plane));
  NEREID_RETURN_IF_ERROR(make(input.sums, (1 + terms) * plane));
  if (input.pair_bits == 0) return {};
  return make(input.pairs, rows * ops::pair_words(groups, terms) * int64_t{sizeof(int32_t)});
}

bool Decoder::any_qkv(bool codes) const {
  return std::ranges::any_of(weights_.layers, [&](const LayerWeights& layer) {
    return std::ranges::any_of(
        layer.qkv, [&](const LinearWeights& part) { return coded(part.weight) == codes; });
  });
}

// Inputs of linear layers, each in the forms that some layer reads or that codes are made from.
Status Decoder::allocate_inputs() {
  const auto any = [&](bool codes, auto... weights_of) {
    return std::ranges::any_of(weights_.layers, [&](const LayerWeights& layer) {
      return ((coded(weights_of(layer)) == codes) || ...);
    });
  };
  const auto gate = [](const LayerWeights& layer) -> auto& { return layer.gate.weight; };
  const auto up = [](const LayerWeights& layer) -> auto& { return layer.up.weight; };
  const auto down = [](const LayerWeights& layer) -> auto& { return layer.down.weight; };
  const auto out = [](const LayerWeights& layer) -> auto& { return layer.attention_out.weight; };
  const bool unfused = std::ranges::any_of(
      weights_.layers, [&](const LayerWeights& layer) { return !layer.fused_gate(spec_); });
  const int64_t rows = limits_.max_rows;
  Activations& a = activations_;
  constexpr int64_t kTerms = 2;  // the most that a reader takes
  NEREID_RETURN_IF_ERROR(
      allocate_input(a.normed, rows, spec_.hidden_size,
                     types_.prompt_numbers || any(false, gate, up) || any_qkv(false),
                     any(true, gate, up) || any_qkv(true) ? kTerms : 0));
  NEREID_RETURN_IF_ERROR(
      allocate_input(a.attention, rows, spec_.attention.q_size(), true, any(true, out) ? 1 : 0));
  NEREID_RETURN_IF_ERROR(allocate_input(a.mlp, rows, spec_.mlp.intermediate_size,
                                        types_.prompt_numbers || unfused || any(false, gate, down),
                                        any(true, down) ? 1 : 0));
  const bool coded_head = coded(weights_.head(spec_));
  return allocate_input(a.head_normed, limits_.max_logit_rows, spec_.hidden_size, !coded_head,
                        coded_head ? kTerms : 0);
}

Status Decoder::allocate_float8() {
  const auto is_float8 = [](const LinearWeights& part) { return part.weight.format.is_float8(); };
  const bool any = std::ranges::any_of(weights_.layers, [&](const LayerWeights& layer) {
    return std::ranges::any_of(layer.qkv, is_float8) || is_float8(layer.attention_out) ||
           is_float8(layer.gate) || is_float8(layer.up) || is_float8(layer.down);
  });
  if (!any || !types_.float8) return {};
  const int64_t widest =
      std::max({spec_.hidden_size, spec_.attention.q_size(), spec_.mlp.intermediate_size});
  const int64_t groups = (widest + quant::kScaleBlock - 1) / quant::kScaleBlock;
  const auto rows = static_cast<uint64_t>(limits_.max_rows);
  const uint64_t codes = (rows * static_cast<uint64_t>(widest) + 3) / 4 * 4;  // cleared by words
  Device& device = launcher_->device();
  NEREID_TRY(activations_.float8_codes, Buffer::alloc(device, codes));
  NEREID_TRY(activations_.float8_scales,
             Buffer::alloc(device, rows * static_cast<uint64_t>(groups) * sizeof(float)));
  return {};
}

std::vector<Decoder::NamedBuffer> Decoder::activation_buffers() const {
  const Activations& a = activations_;
  std::vector<NamedBuffer> all = {{"residual", -1, &a.residual},
                                  {"qkv", -1, &a.qkv},
                                  {"q", -1, &a.q},
                                  {"partial", -1, &a.partial},
                                  {"lse", -1, &a.lse},
                                  {"gate", -1, &a.gate},
                                  {"up", -1, &a.up},
                                  {"wanted", -1, &a.wanted},
                                  {"float8_codes", -1, &a.float8_codes},
                                  {"float8_scales", -1, &a.float8_scales},
                                  {"logits", -1, &a.logits}};
  for (const LinearInput* input : {&a.normed, &a.attention, &a.mlp, &a.head_normed}) {
    all.push_back({"linear_input", -1, &input->numbers});
    all.push_back({"linear_input_codes", -1, &input->codes});
    all.push_back({"linear_input_scales", -1, &input->scales});
    all.push_back({"linear_input_sums", -1, &input->sums});
    all.push_back({"linear_input_pairs", -1, &input->pairs});
  }
  std::erase_if(all, [](const NamedBuffer& entry) { return !*entry.buffer; });
  return all;
}

// Tiles read rows past the last one with their lanes masked off. On a CPU such a read takes
// microseconds where the page was never written: the processor looks into every fault it
// suppresses.
Status Decoder::clear_activations() {
  for (const NamedBuffer& entry : activation_buffers()) {
    NEREID_RETURN_IF_ERROR(ops::clear(*launcher_, *entry.buffer));
  }
  return {};
}

Status Decoder::make_rope_tables() {
  const RopeFrequencies frequencies = rope_frequencies(spec_.attention.rope);
  const auto half = static_cast<int64_t>(frequencies.inverse.size());
  const auto table_bytes = static_cast<uint64_t>(limits_.max_context * half) * sizeof(float);
  Device& device = launcher_->device();
  NEREID_TRY(cosine_, Buffer::alloc(device, table_bytes));
  NEREID_TRY(sine_, Buffer::alloc(device, table_bytes));
  NEREID_TRY(Buffer inverse, Buffer::alloc(device, static_cast<uint64_t>(half) * sizeof(float)));
  NEREID_RETURN_IF_ERROR(
      device.upload(inverse.ptr(), std::as_bytes(std::span(frequencies.inverse))));
  NEREID_RETURN_IF_ERROR(ops::rope_table(
      *launcher_, {.inverse_frequencies = Tensor(DType::kF32, {half}, inverse.ptr()),
                   .cosine = Tensor(DType::kF32, {limits_.max_context, half}, cosine_.ptr()),
                   .sine = Tensor(DType::kF32, {limits_.max_context, half}, sine_.ptr()),
                   .scale = frequencies.attention_factor}));
  return device.synchronize();
}

std::vector<Decoder::NamedBuffer> Decoder::buffers() const {
  std::vector<NamedBuffer> all = activation_buffers();
  all.push_back({"rope_cosine", -1, &cosine_});
  all.push_back({"rope_sine", -1, &sine_});
  all.push_back({"embedding", -1, &weights_.embedding.codes});
  for (size_t layer = 0; layer < kv_.keys.size(); ++layer) {
    const auto index = static_cast<int32_t>(layer);
    all.push_back({"k_cache", index, &kv_.keys[layer]});
    all.push_back({"v_cache", index, &kv_.values[layer]});
    for (const LinearWeights& part : weights_.layers[layer].qkv) {
      all.push_back({"qkv_weight", index, &part.weight.codes});
    }
    all.push_back({"down_weight", index, &weights_.layers[layer].down.weight.codes});
  }
  std::erase_if(all, [](const NamedBuffer& entry) { return !*entry.buffer; });
  return all;
}

}  // namespace nereid::nn
