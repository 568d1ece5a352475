// See float8_scales.h.
#include "src/weights/float8_scales.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "src/base/json.h"
#include "src/quant/format.h"
#include "src/weights/config_check.h"

namespace nereid {
namespace {

constexpr std::array<std::string_view, 2> kScaleSuffixes = {".weight_scale_inv", ".weight_scale"};
constexpr std::array<std::string_view, 5> kUnusedSuffixes = {".input_scale", ".output_scale",
                                                             ".q_scale", ".k_scale", ".v_scale"};

bool ends_with_any(std::string_view name, std::span<const std::string_view> suffixes) {
  return std::ranges::any_of(suffixes, [&](auto suffix) { return name.ends_with(suffix); });
}

std::string weight_of(const std::string& scale_name) {
  return scale_name.substr(0, scale_name.rfind('.')) + ".weight";
}

// Rows and columns that scales of this shape have for their weight; an error says what is expected.
Result<std::pair<int64_t, int64_t>> scale_shape(const StoredTensor& weight,
                                                std::span<const int64_t> shape) {
  const int64_t n = weight.shape[0], k = weight.shape[1];
  if (weight.format == StorageFormat::kF8E4M3Block) {
    const std::array<int64_t, 2> blocks = {(n + quant::kScaleBlock - 1) / quant::kScaleBlock,
                                           (k + quant::kScaleBlock - 1) / quant::kScaleBlock};
    if (std::ranges::equal(shape, blocks)) return std::pair{blocks[0], blocks[1]};
    return error("found shape {}, expected {}: one for each {} rows and columns of {}",
                 shape_text(shape), shape_text(blocks), quant::kScaleBlock,
                 shape_text(weight.shape));
  }
  if (shape.empty() || (shape.size() == 1 && shape[0] == 1))
    return std::pair{int64_t{1}, int64_t{1}};
  const bool vector = shape.size() == 1 || (shape.size() == 2 && shape[1] == 1);
  if (vector && shape[0] == n) return std::pair{n, int64_t{1}};
  return error("found shape {}, expected [], [1], [{}] or [{}, 1]", shape_text(shape), n, n);
}

Status attach(StoredTensor& weight, const StoredTensor& scale) {
  if (!is_float8(weight.format) || weight.shape.size() != 2) {
    return error("it belongs to {}: found {} {} there, expected a matrix in F8_E4M3", weight.text(),
                 storage_info(weight.format).name, shape_text(weight.shape));
  }
  if (!is_plain(scale.format)) {
    return error("found format {}, expected F32, F16 or BF16", storage_info(scale.format).name);
  }
  if (weight.scales.rows > 0) return error("found a second tensor of scales for {}", weight.text());
  NEREID_TRY(const auto shape, scale_shape(weight, scale.shape));
  weight.scales = {
      .format = scale.format, .rows = shape.first, .columns = shape.second, .bytes = scale.bytes};
  return {};
}

}  // namespace

Status attach_float8_scales(const ModelConfig& config, std::vector<StoredTensor>& tensors) {
  std::unordered_map<std::string, StoredTensor*> weights;
  for (StoredTensor& tensor : tensors) {
    if (!is_float8(tensor.format)) continue;
    if (!config.quantization) {
      return error(
          "tensor '{}': found format {}, expected F32, F16 or BF16: config.json has no "
          "quantization_config",
          printable(tensor.name), storage_info(tensor.format).name);
    }
    tensor.format = config.quantization->format;
  }
  if (!config.quantization) return {};
  for (StoredTensor& tensor : tensors) weights[tensor.name] = &tensor;
  for (const StoredTensor& scale : tensors) {
    if (!ends_with_any(scale.name, kScaleSuffixes)) continue;
    const auto weight = weights.find(weight_of(scale.name));
    Status attached = error("expected a tensor '{}' beside it", printable(weight_of(scale.name)));
    if (weight != weights.end()) attached = attach(*weight->second, scale);
    if (!attached) {
      return with_context(attached.error(), fmt::format("tensor '{}'", printable(scale.name)));
    }
  }
  for (const StoredTensor& tensor : tensors) {
    if (is_float8(tensor.format) && tensor.scales.rows == 0) {
      return error(
          "tensor '{0}': found no scales, expected a tensor '{0}_scale' or '{0}_scale_inv'",
          printable(tensor.name));
    }
  }
  std::erase_if(tensors, [](const StoredTensor& tensor) {
    return ends_with_any(tensor.name, kScaleSuffixes) ||
           ends_with_any(tensor.name, kUnusedSuffixes);
  });
  return {};
}

}  // namespace nereid
