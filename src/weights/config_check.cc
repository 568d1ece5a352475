// Contradictions inside a config and between a config and its tensors.
#include "src/weights/config_check.h"

#include <algorithm>
#include <cmath>

#include "src/base/json.h"
#include "src/weights/tensor_table.h"

namespace nereid {
namespace {

Status check_rope_scaling(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::kLlama3 &&
      scaling.high_freq_factor <= scaling.low_freq_factor) {
    return error(
        "rope scaling: high_freq_factor: found {}, expected more than low_freq_factor ({})",
        scaling.high_freq_factor, scaling.low_freq_factor);
  }
  if (scaling.kind == RopeScaling::Kind::kYarn && scaling.beta_fast < scaling.beta_slow) {
    return error("rope scaling: beta_fast: found {}, expected at least beta_slow ({})",
                 scaling.beta_fast, scaling.beta_slow);
  }
  const bool needs_original =
      scaling.kind == RopeScaling::Kind::kLlama3 || scaling.kind == RopeScaling::Kind::kYarn;
  if (needs_original && scaling.original_max_position <= 0) {
    return error("rope scaling: original_max_position_embeddings: found nothing, expected it");
  }
  const auto pairs = static_cast<size_t>(config.rotary_dim / 2);
  if (!scaling.freq_divisors.empty() && scaling.freq_divisors.size() != pairs) {
    return error(
        "rope frequency divisors (rope_freqs.weight): found {}, expected {} (rotary_dim / 2)",
        scaling.freq_divisors.size(), pairs);
  }
  for (const float divisor : scaling.freq_divisors) {
    if (!std::isfinite(divisor) || divisor <= 0) {
      return error(
          "rope frequency divisors (rope_freqs.weight): found {}, expected a positive number",
          divisor);
    }
  }
  return {};
}

bool is_matrix(const StoredTensor& tensor) {
  return tensor.shape.size() == 2;
}

}  // namespace

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Status check_config(const ModelConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return error("attention heads: found {}, expected a multiple of the {} key/value heads",
                 config.num_heads, config.num_kv_heads);
  }
  if (config.rotary_dim % 2 != 0 || config.rotary_dim < 2 || config.rotary_dim > config.head_dim) {
    return error("rotary dimensions: found {}, expected an even number from 2 to head_dim ({})",
                 config.rotary_dim, config.head_dim);
  }
  if (config.sliding_window_first_layer < 0 ||
      config.sliding_window_first_layer > config.num_layers) {
    return error("max_window_layers: found {}, expected 0 to {} (the layers)",
                 config.sliding_window_first_layer, config.num_layers);
  }
  return check_rope_scaling(config);
}

Status check_tensors(const ModelConfig& config, std::span<const StoredTensor> tensors,
                     const std::function<std::string(const std::string&)>& file_name) {
  const std::string embedding = tensor_name(TensorRole::kEmbedding);
  std::vector<bool> known(tensors.size(), false);
  for (const ExpectedTensor& expected : expected_tensors(config)) {
    const auto at = std::ranges::lower_bound(tensors, expected.name, {}, &StoredTensor::name);
    if (at == tensors.end() || at->name != expected.name) {
      return error("tensor '{}': not in the model, expected shape {}", file_name(expected.name),
                   shape_text(expected.shape));
    }
    if (at->shape != expected.shape) {
      return error("tensor '{}': found shape {}, expected {}", file_name(expected.name),
                   shape_text(at->shape), shape_text(expected.shape));
    }
    const bool any_format = is_matrix(*at) && !(is_float8(at->format) && at->name == embedding);
    if (!any_format && !is_plain(at->format)) {
      return error("tensor '{}': found format {}, expected F32, F16 or BF16",
                   file_name(expected.name), storage_info(at->format).name);
    }
    known[static_cast<size_t>(at - tensors.begin())] = true;
  }
  const auto unknown = std::ranges::find(known, false);
  if (unknown != known.end()) {
    return error("tensor '{}': not a tensor of a {} model of {} layers",
                 printable(file_name(tensors[static_cast<size_t>(unknown - known.begin())].name)),
                 config.architecture, config.num_layers);
  }
  return {};
}

}  // namespace nereid
