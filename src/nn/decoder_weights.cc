// Reads a decoder's weights layer by layer and has them repacked on the device.
#include "src/nn/decoder_weights.h"

#include <algorithm>
#include <array>

#include "src/base/check.h"
#include "src/quant/read_ahead.h"
#include "src/weights/tensor_table.h"

namespace nereid::nn {

namespace {

using Stored = std::vector<const StoredTensor*>;

// Loads what it is asked for. Before load_from() it only lists that, and what it gives is empty.
class Loader {
 public:
  Loader(Launcher& launcher, const ModelSource& source, const LoadProgress& progress)
      : launcher_(launcher), source_(source), progress_(progress) {
    for (const StoredTensor& tensor : source.tensors()) total_ += stored_bytes(tensor);
  }

  const Stored& listed() const { return listed_; }
  void load_from(const TensorPages& pages) { pages_ = &pages; }

  Result<quant::Weight> weight(const Stored& parts) {
    if (pages_ == nullptr) {
      list(parts);
      return quant::Weight{};
    }
    NEREID_TRY(auto result, quant::load_weight(launcher_, *pages_, parts, staging_));
    count(parts);
    return result;
  }

  Result<Buffer> vector(const Stored& parts) {
    if (pages_ == nullptr) {
      list(parts);
      return Buffer{};
    }
    NEREID_TRY(auto result, quant::load_vector_f32(launcher_, *pages_, parts));
    count(parts);
    return result;
  }

  Result<quant::Weight> weight(TensorRole role, int32_t layer = 0) {
    return weight(Stored{stored(role, layer)});
  }
  Result<Buffer> vector(TensorRole role, int32_t layer = 0) {
    return vector(Stored{stored(role, layer)});
  }

  Result<LinearWeights> linear(TensorRole role, TensorRole bias, bool has_bias, int32_t layer) {
    LinearWeights result;
    NEREID_TRY(result.weight, weight(role, layer));
    if (has_bias) {
      NEREID_TRY(result.bias, vector(bias, layer));
    }
    return result;
  }

  const StoredTensor* stored(TensorRole role, int32_t layer) const {
    const StoredTensor* tensor = source_.find(tensor_name(role, layer));
    NEREID_CHECK(tensor != nullptr, "{} was not checked for", tensor_name(role, layer));
    return tensor;
  }

 private:
  void list(const Stored& parts) { listed_.insert(listed_.end(), parts.begin(), parts.end()); }
  void count(const Stored& parts) {
    for (const StoredTensor* part : parts) done_ += stored_bytes(*part);
    if (progress_) progress_(done_, total_);
  }

  Launcher& launcher_;
  const ModelSource& source_;
  const LoadProgress& progress_;
  const TensorPages* pages_ = nullptr;
  Stored listed_;
  Buffer staging_;
  uint64_t done_ = 0, total_ = 0;
};

constexpr std::array kQkvRoles = {TensorRole::kQuery, TensorRole::kKey, TensorRole::kValue};
constexpr std::array kQkvBiasRoles = {TensorRole::kQueryBias, TensorRole::kKeyBias,
                                      TensorRole::kValueBias};

// One fused weight when the three are stored alike, so that a layer makes one launch of them.
Result<std::vector<LinearWeights>> load_qkv(Loader& loader, const DecoderSpec& spec,
                                            int32_t layer) {
  Stored weights, biases;
  for (size_t part = 0; part < kQkvRoles.size(); ++part) {
    weights.push_back(loader.stored(kQkvRoles[part], layer));
    if (spec.attention.qkv_bias) biases.push_back(loader.stored(kQkvBiasRoles[part], layer));
  }
  std::vector<LinearWeights> result;
  if (quant::can_fuse(weights)) {
    result.emplace_back();
    NEREID_TRY(result[0].weight, loader.weight(weights));
    if (!biases.empty()) {
      NEREID_TRY(result[0].bias, loader.vector(biases));
    }
    return result;
  }
  int64_t column = 0;
  for (size_t part = 0; part < kQkvRoles.size(); ++part) {
    NEREID_TRY(auto linear,
               loader.linear(kQkvRoles[part], kQkvBiasRoles[part], spec.attention.qkv_bias, layer));
    linear.column = column;
    column += linear.weight.n;
    result.push_back(std::move(linear));
  }
  return result;
}

Result<LayerWeights> load_layer(Loader& loader, const DecoderSpec& spec, int32_t layer) {
  LayerWeights result;
  NEREID_TRY(result.input_norm, loader.vector(TensorRole::kInputNorm, layer));
  NEREID_TRY(result.qkv, load_qkv(loader, spec, layer));
  if (spec.attention.qk_norm) {
    NEREID_TRY(result.q_norm, loader.vector(TensorRole::kQueryNorm, layer));
    NEREID_TRY(result.k_norm, loader.vector(TensorRole::kKeyNorm, layer));
  }
  NEREID_TRY(result.attention_out, loader.linear(TensorRole::kOutput, TensorRole::kOutputBias,
                                                 spec.attention.out_bias, layer));
  NEREID_TRY(result.mlp_norm, loader.vector(TensorRole::kPostAttentionNorm, layer));
  const bool bias = spec.mlp.bias;
  NEREID_TRY(result.gate, loader.linear(TensorRole::kGate, TensorRole::kGateBias, bias, layer));
  NEREID_TRY(result.up, loader.linear(TensorRole::kUp, TensorRole::kUpBias, bias, layer));
  NEREID_TRY(result.down, loader.linear(TensorRole::kDown, TensorRole::kDownBias, bias, layer));
  return result;
}

Result<DecoderWeights> load_all(Loader& loader, const DecoderSpec& spec) {
  DecoderWeights result;
  NEREID_TRY(result.embedding, loader.weight(TensorRole::kEmbedding));
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    NEREID_TRY(auto weights, load_layer(loader, spec, static_cast<int32_t>(layer)));
    result.layers.push_back(std::move(weights));
  }
  NEREID_TRY(result.final_norm, loader.vector(TensorRole::kFinalNorm));
  if (!spec.tie_word_embeddings) {
    NEREID_TRY(result.lm_head, loader.weight(TensorRole::kLmHead));
  }
  return result;
}

}  // namespace

uint64_t DecoderWeights::bytes() const {
  uint64_t sum = embedding.bytes() + final_norm.bytes() + lm_head.bytes();
  const auto add = [&](const LinearWeights& linear) {
    sum += linear.weight.bytes() + linear.bias.bytes();
  };
  for (const LayerWeights& layer : layers) {
    for (const Buffer* norm : {&layer.input_norm, &layer.q_norm, &layer.k_norm, &layer.mlp_norm}) {
      sum += norm->bytes();
    }
    for (const LinearWeights& part : layer.qkv) add(part);
    for (const LinearWeights* part : {&layer.attention_out, &layer.gate, &layer.up, &layer.down}) {
      add(*part);
    }
  }
  return sum;
}

Result<DecoderWeights> load_decoder_weights(Launcher& launcher, const ModelSource& source,
                                            const DecoderSpec& spec, const LoadProgress& progress) {
  Loader loader(launcher, source, progress);
  NEREID_TRY([[maybe_unused]] const DecoderWeights nothing, load_all(loader, spec));
  const bool reads = launcher.device().info().computes && !loader.listed().front()->dummy;
  const quant::ReadAhead ahead(source, loader.listed(),
                               reads ? quant::ReadAhead::usual_threads() : 0);
  loader.load_from(ahead);
  return load_all(loader, spec);
}

}  // namespace nereid::nn
