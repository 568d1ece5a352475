// See hf_quantization.h.
#include "src/weights/hf_quantization.h"

#include <array>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/quant/format.h"
#include "src/weights/field_reader.h"

namespace nereid::hf {
namespace {

using nlohmann::json;

bool is_block_shape(const json& value) {
  return value.is_array() && value.size() == 2 && value[0] == quant::kScaleBlock &&
         value[1] == quant::kScaleBlock;
}

std::string block_shape_text() {
  return fmt::format("[{0}, {0}]", quant::kScaleBlock);
}

// quant_method "fp8".
Status read_fp8(FieldReader& fields, WeightQuantization& result) {
  if (fields.string_or("fmt", "e4m3") != "e4m3") fields.fail("fmt", "e4m3");
  const std::string scheme = fields.string_or("activation_scheme", "dynamic");
  if (scheme != "dynamic" && scheme != "static") {
    fields.fail("activation_scheme", "dynamic or static");
  }
  const json* block = fields.find("weight_block_size");
  if (block != nullptr && !is_block_shape(*block)) {
    fields.fail("weight_block_size", block_shape_text());
  }
  result.format = block != nullptr ? StorageFormat::kF8E4M3Block : StorageFormat::kF8E4M3;
  return fields.status();
}

void check_float8(FieldReader& fields) {
  if (fields.integer("num_bits", {1, 64}) != 8) fields.fail("num_bits", "8");
  if (fields.string_or("type", "float") != "float") fields.fail("type", "float");
}

Status read_group_weights(const json& weights, WeightQuantization& result) {
  FieldReader fields(weights);
  check_float8(fields);
  if (!fields.boolean_or("symmetric", true)) fields.fail("symmetric", "true");
  if (fields.boolean_or("dynamic", false)) fields.fail("dynamic", "false");
  const std::string strategy = fields.string_or("strategy", "tensor");
  if (strategy == "block") {
    const json* shape = fields.find("block_structure");
    if (shape == nullptr || !is_block_shape(*shape)) {
      fields.fail("block_structure", block_shape_text());
    }
    result.format = StorageFormat::kF8E4M3Block;
  } else if (strategy != "tensor" && strategy != "channel") {
    fields.fail("strategy", "tensor, channel or block");
  }
  return fields.status();
}

Status read_group(const json& group, WeightQuantization& result) {
  FieldReader fields(group);
  const json* targets = fields.find("targets");
  if (targets == nullptr || *targets != json::array({"Linear"})) {
    fields.fail("targets", "a list of one name, Linear");
  }
  const json* weights = fields.find("weights");
  if (weights == nullptr) fields.fail("weights", "an object");
  NEREID_RETURN_IF_ERROR(fields.status());
  const Status read = read_group_weights(*weights, result);
  if (!read) return with_context(read.error(), "field 'weights'");
  const json* activations = fields.find("input_activations");
  result.float8_activations = activations != nullptr;
  if (activations == nullptr) return {};
  FieldReader inputs(*activations);
  check_float8(inputs);
  const Status checked = inputs.status();
  if (!checked) return with_context(checked.error(), "field 'input_activations'");
  return {};
}

// quant_method "compressed-tensors".
Status read_compressed(FieldReader& fields, WeightQuantization& result) {
  if (fields.string("format") != "float-quantized") fields.fail("format", "float-quantized");
  const json* groups = fields.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->size() != 1) {
    fields.fail("config_groups", "an object of one group");
  }
  NEREID_RETURN_IF_ERROR(fields.status());
  const auto group = groups->begin();
  const Status read = read_group(*group, result);
  if (read) return {};
  return with_context(read.error(),
                      fmt::format("field 'config_groups': field '{}'", printable(group.key())));
}

}  // namespace

Result<WeightQuantization> read_quantization(const json& value) {
  FieldReader fields(value);
  WeightQuantization result{.format = StorageFormat::kF8E4M3};
  const std::string method = fields.string("quant_method");
  NEREID_RETURN_IF_ERROR(fields.status());
  if (method == "fp8") {
    NEREID_RETURN_IF_ERROR(read_fp8(fields, result));
  } else if (method == "compressed-tensors") {
    NEREID_RETURN_IF_ERROR(read_compressed(fields, result));
  } else {
    fields.fail("quant_method", "fp8 or compressed-tensors");
    NEREID_RETURN_IF_ERROR(fields.status());
  }
  return result;
}

}  // namespace nereid::hf
