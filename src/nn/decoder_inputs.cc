// Inputs of a decoder's linear layers: which rows are codes and which numbers, and what makes them.
#include <algorithm>
#include <array>

#include "src/base/check.h"
#include "src/nn/decoder.h"
#include "src/ops/norm.h"

namespace nereid::nn {

bool Decoder::coded(const quant::Weight& weight) const {
  return types_.codes && ops::takes_codes(weight);
}

bool Decoder::coded(const quant::Weight& weight, const RowPart& part) const {
  return !part.numbers && coded(weight);
}

// Some layer before the last one's attention takes codes, and rows of all that parts have begin
// where kernels assume them to, every 16 bytes.
bool Decoder::splits_rows() const {
  const AttentionSpec& attention = spec_.attention;
  const bool aligned =
      std::ranges::all_of(std::array{spec_.hidden_size, attention.q_size(), attention.qkv_size(),
                                     spec_.mlp.intermediate_size},
                          [](int64_t width) { return width % 8 == 0; });
  const auto before_last = std::span(weights_.layers).first(weights_.layers.size() - 1);
  const bool any = std::ranges::any_of(before_last, [&](const LayerWeights& layer) {
    return coded(layer.attention_out.weight) || coded(layer.gate.weight) ||
           coded(layer.up.weight) || coded(layer.down.weight);
  });
  return aligned && (any || any_qkv(true));
}

std::vector<RowPart> Decoder::parts_of(const StepInputs& inputs) const {
  const int64_t rows = inputs.tokens.dim(0);
  if (!types_.prompt_numbers) return {{.count = rows}};
  std::vector<RowPart> parts;
  const int64_t drawn = inputs.decode_rows;
  if (drawn > 0) parts.push_back({.count = drawn});
  if (drawn < rows) parts.push_back({.first = drawn, .count = rows - drawn, .numbers = true});
  return parts;
}

ops::ActivationRows Decoder::rows_of(const LinearInput& input, int64_t terms, const RowPart& part,
                                     int64_t width) const {
  const int64_t rows = part.count;
  if (terms == 0) {
    return Tensor(types_.compute, {part.first + rows, width}, input.numbers.ptr())
        .rows(part.first, rows);
  }
  NEREID_CHECK(part.first == 0, "codes of rows from {}", part.first);
  const int64_t groups = width / ops::kCodeGroup;
  return {
      Tensor(DType::kI8, {rows, terms * width}, input.codes.ptr(), ops::code_stride(terms * width)),
      Tensor(DType::kF32, {rows, groups}, input.scales.ptr()),
      Tensor(DType::kF32, {rows, (1 + terms) * groups}, input.sums.ptr()),
      input.pairs ? Tensor(DType::kI32, {rows, ops::pair_words(groups, terms)}, input.pairs.ptr())
                  : Tensor(),
      input.pair_bits};
}

ops::ActivationRows Decoder::input_of(const LinearInput& input, const quant::Weight& weight,
                                      int64_t terms, const RowPart& part) const {
  return rows_of(input, coded(weight, part) ? terms : 0, part, weight.k);
}

ops::Float8Rows Decoder::float8_rows() const {
  return {.codes = activations_.float8_codes.ptr(), .scales = activations_.float8_scales.ptr()};
}

Status Decoder::encode(const LinearInput& input, const quant::Weight& reader, const RowPart& part) {
  if (!coded(reader, part)) return {};
  launcher_->set_role("encode");
  return ops::encode_rows(*launcher_, {.x = rows_of(input, 0, part, reader.k).values,
                                       .out = rows_of(input, 1, part, reader.k)});
}

// normed = RMSNorm(x), x [part.count, hidden], in the forms that its readers take
Status Decoder::norm(const Tensor& x, const Buffer& weight,
                     std::span<const LinearWeights* const> readers, int64_t terms,
                     const RowPart& part) {
  launcher_->set_role("norm");
  for (const bool codes : {false, true}) {
    if (std::ranges::none_of(readers, [&](const LinearWeights* reader) {
          return coded(reader->weight, part) == codes;
        })) {
      continue;
    }
    NEREID_RETURN_IF_ERROR(ops::rms_norm(
        *launcher_,
        {.x = x,
         .weight = Tensor(DType::kF32, {spec_.hidden_size}, weight.ptr()),
         .out = rows_of(activations_.normed, codes ? terms : 0, part, spec_.hidden_size),
         .eps = spec_.norm.eps}));
  }
  return {};
}

}  // namespace nereid::nn
