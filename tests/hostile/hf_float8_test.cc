// Hugging Face directories with 8-bit float weights: quantization_config and scales that do not
// fit.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "src/weights/source.h"
#include "src/weights/tensor_table.h"
#include "tests/hostile/gguf_writer.h"
#include "tests/hostile/temp_folder.h"

namespace nereid::hostile::hf_float8_test {
namespace {

using nlohmann::json;

struct Entry {
  std::string dtype;
  std::vector<int64_t> shape;
};

const std::string kGate = "model.layers.0.mlp.gate_proj.weight";  // [200, 160]

// A directory of e4m3 weights with a scale for each block; a test changes it before it is written.
struct Directory {
  json config = {
      {"model_type", "llama"},
      {"vocab_size", 4},
      {"hidden_size", 160},
      {"intermediate_size", 200},
      {"num_hidden_layers", 1},
      {"num_attention_heads", 2},
      {"num_key_value_heads", 1},
      {"max_position_embeddings", 128},
      {"tie_word_embeddings", true},
      {"eos_token_id", 1},
      {"quantization_config", {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}}}};
  std::map<std::string, Entry> tensors = blocks();

  static std::map<std::string, Entry> blocks() {
    ModelConfig sizes;
    sizes.vocab_size = 4;
    sizes.hidden_size = 160;
    sizes.intermediate_size = 200;
    sizes.num_layers = sizes.num_kv_heads = 1;
    sizes.num_heads = 2;
    sizes.head_dim = 80;
    sizes.tie_word_embeddings = true;
    std::map<std::string, Entry> out;
    for (const ExpectedTensor& tensor : expected_tensors(sizes)) {
      const bool coded = tensor.name.ends_with("_proj.weight");
      out[tensor.name] = {coded ? "F8_E4M3" : "BF16", tensor.shape};
      if (!coded) continue;
      out[tensor.name + "_scale_inv"] = {
          "F32", {(tensor.shape[0] + 127) / 128, (tensor.shape[1] + 127) / 128}};
    }
    return out;
  }

  json& quantization() { return config["quantization_config"]; }

  // One scale for each row, as compressed-tensors has it.
  void by_channel() {
    quantization() = {
        {"quant_method", "compressed-tensors"},
        {"format", "float-quantized"},
        {"config_groups",
         {{"group_0",
           {{"targets", {"Linear"}},
            {"weights", {{"num_bits", 8}, {"type", "float"}, {"strategy", "channel"}}},
            {"input_activations", nullptr}}}}}};
    std::map<std::string, Entry> renamed;
    for (auto& [name, entry] : tensors) {
      const size_t suffix = name.rfind("_scale_inv");
      if (suffix == std::string::npos) {
        renamed[name] = entry;
      } else {
        const std::string weight = name.substr(0, suffix);
        renamed[weight + "_scale"] = {"BF16", {tensors[weight].shape[0], 1}};
      }
    }
    tensors = std::move(renamed);
  }
  json& group() { return quantization()["config_groups"]["group_0"]; }

  std::string weights() const {
    const std::map<std::string, uint64_t> sizes = {
        {"F8_E4M3", 1}, {"BF16", 2}, {"F16", 2}, {"F32", 4}};
    json header = json::object();
    uint64_t end = 0;
    for (const auto& [name, entry] : tensors) {
      uint64_t bytes = sizes.at(entry.dtype);
      for (const int64_t dim : entry.shape) bytes *= static_cast<uint64_t>(dim);
      header[name] = {
          {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {end, end + bytes}}};
      end += bytes;
    }
    const std::string text = header.dump();
    return raw(uint64_t{text.size()}) + text + std::string(end, '\0');
  }

  void write(const TempFolder& folder) const {
    folder.write("config.json", config.dump());
    folder.write("model.safetensors", weights());
  }
};

std::string open_error(const Directory& directory) {
  const TempFolder folder;
  directory.write(folder);
  const auto source = open_model(folder.path());
  return source ? "opened" : without(source.error().message, folder.path());
}

struct Case {
  const char* name;
  std::function<void(Directory&)> change;
  const char* message;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class Float8Directory : public ::testing::TestWithParam<Case> {};

TEST_P(Float8Directory, OpensOrSaysWhy) {
  Directory directory;
  GetParam().change(directory);
  EXPECT_EQ(open_error(directory), GetParam().message);
}

#define CONFIG "PATH/config.json: field 'quantization_config': "
#define GROUP CONFIG "field 'config_groups': field 'group_0': "
#define GATE "PATH: tensor 'model.layers.0.mlp.gate_proj.weight"

const Case kConfigs[] = {
    {"blocks", [](Directory&) {}, "opened"},
    {"channels", [](Directory& d) { d.by_channel(); }, "opened"},
    {"not_an_object", [](Directory& d) { d.quantization() = 7; },
     CONFIG "found 7, expected an object"},
    {"unknown_method", [](Directory& d) { d.quantization()["quant_method"] = "awq"; },
     CONFIG "field 'quant_method': found 'awq', expected fp8 or compressed-tensors"},
    {"no_method", [](Directory& d) { d.quantization() = json::object(); },
     CONFIG "field 'quant_method': found nothing, expected a string"},
    {"other_floats", [](Directory& d) { d.quantization()["fmt"] = "e5m2"; },
     CONFIG "field 'fmt': found 'e5m2', expected e4m3"},
    {"unknown_scheme", [](Directory& d) { d.quantization()["activation_scheme"] = "x"; },
     CONFIG "field 'activation_scheme': found 'x', expected dynamic or static"},
    {"other_blocks", [](Directory& d) { d.quantization()["weight_block_size"] = {64, 128}; },
     CONFIG "field 'weight_block_size': found an array, expected [128, 128]"},
    {"blocks_of_one_number", [](Directory& d) { d.quantization()["weight_block_size"] = 128; },
     CONFIG "field 'weight_block_size': found 128, expected [128, 128]"},
    {"packed_format",
     [](Directory& d) {
       d.by_channel();
       d.quantization()["format"] = "pack-quantized";
     },
     CONFIG "field 'format': found 'pack-quantized', expected float-quantized"},
    {"two_groups",
     [](Directory& d) {
       d.by_channel();
       d.quantization()["config_groups"]["group_1"] = json::object();
     },
     CONFIG "field 'config_groups': found an object, expected an object of one group"},
    {"other_targets",
     [](Directory& d) {
       d.by_channel();
       d.group()["targets"] = {"Embedding"};
     },
     GROUP "field 'targets': found an array, expected a list of one name, Linear"},
    {"no_weights",
     [](Directory& d) {
       d.by_channel();
       d.group().erase("weights");
     },
     GROUP "field 'weights': found nothing, expected an object"},
    {"four_bits",
     [](Directory& d) {
       d.by_channel();
       d.group()["weights"]["num_bits"] = 4;
     },
     GROUP "field 'weights': field 'num_bits': found 4, expected 8"},
    {"integers",
     [](Directory& d) {
       d.by_channel();
       d.group()["weights"]["type"] = "int";
     },
     GROUP "field 'weights': field 'type': found 'int', expected float"},
    {"groups_of_columns",
     [](Directory& d) {
       d.by_channel();
       d.group()["weights"]["strategy"] = "group";
     },
     GROUP "field 'weights': field 'strategy': found 'group', expected tensor, channel or block"},
    {"blocks_without_structure",
     [](Directory& d) {
       d.by_channel();
       d.group()["weights"]["strategy"] = "block";
     },
     GROUP "field 'weights': field 'block_structure': found nothing, expected [128, 128]"},
    {"activations_of_integers",
     [](Directory& d) {
       d.by_channel();
       d.group()["input_activations"] = {{"num_bits", 8}, {"type", "int"}};
     },
     GROUP "field 'input_activations': field 'type': found 'int', expected float"},
};
INSTANTIATE_TEST_SUITE_P(Config, Float8Directory, ::testing::ValuesIn(kConfigs),
                         [](const auto& info) { return info.param.name; });

const Case kScales[] = {
    {"scales_of_activations_and_cache",
     [](Directory& d) {
       d.tensors["model.layers.0.mlp.gate_proj.input_scale"] = {"F32", {}};
       d.tensors["model.layers.0.self_attn.k_scale"] = {"F32", {1}};
     },
     "opened"},
    {"one_of_a_tensor",
     [](Directory& d) {
       d.by_channel();
       d.tensors[kGate + "_scale"] = {"F32", {}};
     },
     "opened"},
    {"weights_without_config", [](Directory& d) { d.config.erase("quantization_config"); },
     "PATH: tensor 'model.layers.0.mlp.down_proj.weight': found format F8_E4M3, expected F32, F16 "
     "or BF16: config.json has no quantization_config"},
    {"missing", [](Directory& d) { d.tensors.erase(kGate + "_scale_inv"); },
     GATE "': found no scales, expected a tensor 'model.layers.0.mlp.gate_proj.weight_scale' or "
          "'model.layers.0.mlp.gate_proj.weight_scale_inv'"},
    {"twice", [](Directory& d) { d.tensors[kGate + "_scale"] = {"F32", {2, 2}}; },
     GATE "_scale_inv': found a second tensor of scales for tensor "
          "'model.layers.0.mlp.gate_proj.weight'"},
    {"without_weight", [](Directory& d) { d.tensors["model.x.weight_scale"] = {"F32", {}}; },
     "PATH: tensor 'model.x.weight_scale': expected a tensor 'model.x.weight' beside it"},
    {"of_unquantised_weight", [](Directory& d) { d.tensors[kGate].dtype = "BF16"; },
     GATE "_scale_inv': it belongs to tensor 'model.layers.0.mlp.gate_proj.weight': found BF16 "
          "[200, 160] there, expected a matrix in F8_E4M3"},
    {"in_f8", [](Directory& d) { d.tensors[kGate + "_scale_inv"].dtype = "F8_E4M3"; },
     GATE "_scale_inv': found format F8_E4M3_B128, expected F32, F16 or BF16"},
    {"too_few_blocks", [](Directory& d) { d.tensors[kGate + "_scale_inv"].shape = {1, 2}; },
     GATE "_scale_inv': found shape [1, 2], expected [2, 2]: one for each 128 rows and columns of "
          "[200, 160]"},
    {"one_for_blocks", [](Directory& d) { d.tensors[kGate + "_scale_inv"].shape = {}; },
     GATE
     "_scale_inv': found shape [], expected [2, 2]: one for each 128 rows and columns of [200, "
     "160]"},
    {"blocks_for_channels",
     [](Directory& d) {
       d.by_channel();
       d.tensors[kGate + "_scale"].shape = {2, 2};
     },
     GATE "_scale': found shape [2, 2], expected [], [1], [200] or [200, 1]"},
    {"too_many_channels",
     [](Directory& d) {
       d.by_channel();
       d.tensors[kGate + "_scale"].shape = {201, 1};
     },
     GATE "_scale': found shape [201, 1], expected [], [1], [200] or [200, 1]"},
    {"embedding_in_f8",
     [](Directory& d) {
       d.tensors["model.embed_tokens.weight"].dtype = "F8_E4M3";
       d.tensors["model.embed_tokens.weight_scale_inv"] = {"F32", {1, 2}};
     },
     "PATH: tensor 'model.embed_tokens.weight': found format F8_E4M3_B128, expected F32, F16 or "
     "BF16"},
    {"norm_in_f8", [](Directory& d) { d.tensors["model.norm.weight"].dtype = "F8_E4M3"; },
     "PATH: tensor 'model.norm.weight': found no scales, expected a tensor "
     "'model.norm.weight_scale' or 'model.norm.weight_scale_inv'"},
};
INSTANTIATE_TEST_SUITE_P(Scales, Float8Directory, ::testing::ValuesIn(kScales),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace nereid::hostile::hf_float8_test
