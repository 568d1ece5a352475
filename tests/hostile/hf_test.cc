// Broken Hugging Face directories: configs, contradictions with tensors, shards, links.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "src/weights/source.h"
#include "src/weights/tensor_table.h"
#include "tests/hostile/gguf_writer.h"
#include "tests/hostile/temp_folder.h"

namespace nereid::hostile::hf_test {
namespace {

using nlohmann::json;

// A directory as parts that a test can change before it is written.
struct Directory {
  json config = {{"model_type", "llama"},    {"vocab_size", 4},
                 {"hidden_size", 32},        {"intermediate_size", 64},
                 {"num_hidden_layers", 1},   {"num_attention_heads", 2},
                 {"num_key_value_heads", 1}, {"max_position_embeddings", 128},
                 {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true},
                 {"eos_token_id", 1}};
  std::vector<ExpectedTensor> tensors = [] {
    ModelConfig sizes;
    sizes.vocab_size = 4;
    sizes.hidden_size = 32;
    sizes.intermediate_size = 64;
    sizes.num_layers = sizes.num_kv_heads = 1;
    sizes.num_heads = 2;
    sizes.head_dim = 16;
    sizes.tie_word_embeddings = true;
    return expected_tensors(sizes);
  }();
  std::string dtype = "BF16";

  ExpectedTensor& tensor(std::string_view name) {
    for (ExpectedTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }

  // The safetensors file of tensors [first, last).
  std::string weights(size_t first, size_t last) const {
    json header = json::object();
    uint64_t end = 0;
    for (size_t index = first; index < last; ++index) {
      uint64_t bytes = 2;
      for (const int64_t dim : tensors[index].shape) bytes *= static_cast<uint64_t>(dim);
      header[tensors[index].name] = {
          {"dtype", dtype}, {"shape", tensors[index].shape}, {"data_offsets", {end, end + bytes}}};
      end += bytes;
    }
    const std::string text = header.dump();
    return raw(uint64_t{text.size()}) + text + std::string(end, '\0');
  }

  void write(const TempFolder& folder) const {
    folder.write("config.json", config.dump());
    folder.write("model.safetensors", weights(0, tensors.size()));
  }
};

std::string open_error(const TempFolder& folder) {
  const auto source = open_model(folder.path());
  return source ? "opened" : without(source.error().message, folder.path());
}

struct Case {
  const char* name;
  std::function<void(Directory&)> damage;
  const char* message;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class BrokenDirectory : public ::testing::TestWithParam<Case> {};

TEST_P(BrokenDirectory, IsRefused) {
  Directory directory;
  GetParam().damage(directory);
  const TempFolder folder;
  directory.write(folder);
  EXPECT_EQ(open_error(folder), GetParam().message);
}

const Case kConfigCases[] = {
    {"no_object", [](Directory& d) { d.config = json::array(); },
     "PATH/config.json: found an array, expected an object"},
    {"no_model_type", [](Directory& d) { d.config.erase("model_type"); },
     "PATH/config.json: field 'model_type': found nothing, expected a string"},
    {"unknown_model_type", [](Directory& d) { d.config["model_type"] = "gemma3"; },
     "PATH/config.json: field 'model_type': found 'gemma3', expected one of llama, mistral, qwen2, "
     "qwen3"},
    {"activation_unknown", [](Directory& d) { d.config["hidden_act"] = "foo"; },
     "PATH/config.json: field 'hidden_act': found 'foo', expected silu, gelu or gelu_pytorch_tanh"},
    {"class_unknown", [](Directory& d) { d.config["architectures"] = {"Foo"}; },
     "PATH/config.json: field 'architectures': found 'Foo', expected a list of one name, "
     "LlamaForCausalLM"},
    {"class_of_another_type",
     [](Directory& d) { d.config["architectures"] = {"Qwen2ForCausalLM"}; },
     "PATH/config.json: field 'architectures': found 'Qwen2ForCausalLM', expected a list of one "
     "name, LlamaForCausalLM"},
    {"class_no_list", [](Directory& d) { d.config["architectures"] = "x"; },
     "PATH/config.json: field 'architectures': found 'x', expected a list of one name, "
     "LlamaForCausalLM"},
    {"class_list_empty", [](Directory& d) { d.config["architectures"] = json::array(); },
     "PATH/config.json: field 'architectures': found an empty list, expected a list of one name, "
     "LlamaForCausalLM"},
    {"hidden_size_missing", [](Directory& d) { d.config.erase("hidden_size"); },
     "PATH/config.json: field 'hidden_size': found nothing, expected an integer from 1 to 131072"},
    {"hidden_size_text", [](Directory& d) { d.config["hidden_size"] = "64"; },
     "PATH/config.json: field 'hidden_size': found '64', expected an integer from 1 to 131072"},
    {"hidden_size_fraction", [](Directory& d) { d.config["hidden_size"] = 32.5; },
     "PATH/config.json: field 'hidden_size': found 32.5, expected an integer from 1 to 131072"},
    {"hidden_size_negative", [](Directory& d) { d.config["hidden_size"] = -32; },
     "PATH/config.json: field 'hidden_size': found -32, expected an integer from 1 to 131072"},
    {"hidden_size_huge", [](Directory& d) { d.config["hidden_size"] = 18446744073709551615u; },
     "PATH/config.json: field 'hidden_size': found 18446744073709551615, expected an integer from "
     "1 to 131072"},
    {"heads_do_not_divide", [](Directory& d) { d.config["num_attention_heads"] = 3; },
     "PATH/config.json: field 'num_attention_heads': found 3, expected a divisor of hidden_size 32 "
     "with a quotient up to 1024"},
    {"heads_no_multiple", [](Directory& d) { d.config["num_key_value_heads"] = 3; },
     "PATH/config.json: attention heads: found 2, expected a multiple of the 3 key/value heads"},
    {"head_dim_huge", [](Directory& d) { d.config["head_dim"] = 1 << 20; },
     "PATH/config.json: field 'head_dim': found 1048576, expected an integer from 1 to 1024"},
    {"rotary_fraction", [](Directory& d) { d.config["partial_rotary_factor"] = 0.01; },
     "PATH/config.json: rotary dimensions: found 0, expected an even number from 2 to head_dim "
     "(16)"},
    {"eps_negative", [](Directory& d) { d.config["rms_norm_eps"] = -1; },
     "PATH/config.json: field 'rms_norm_eps': found -1, expected a number from 0 to 1"},
    {"tie_a_number", [](Directory& d) { d.config["tie_word_embeddings"] = 1; },
     "PATH/config.json: field 'tie_word_embeddings': found 1, expected true or false"},
    {"theta_0", [](Directory& d) { d.config["rope_theta"] = 0; },
     "PATH/config.json: field 'rope_theta': found 0, expected a number from 2 to 1000000000000"},
    {"rope_a_list", [](Directory& d) { d.config["rope_scaling"] = json::array(); },
     "PATH/config.json: field 'rope_scaling': found an array, expected an object"},
    {"rope_unknown",
     [](Directory& d) { d.config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2}}; },
     "PATH/config.json: field 'rope_scaling': field 'type': found 'dynamic', expected default, "
     "linear, llama3 or yarn"},
    {"rope_without_factor", [](Directory& d) { d.config["rope_scaling"] = {{"type", "linear"}}; },
     "PATH/config.json: field 'rope_scaling': field 'factor': found nothing, expected a number "
     "from 1e-06 to 1000000"},
    {"rope_factor_0",
     [](Directory& d) { d.config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 0}}; },
     "PATH/config.json: field 'rope_scaling': field 'factor': found 0, expected a number from "
     "1e-06 to 1000000"},
    {"rope_llama3_reversed",
     [](Directory& d) {
       d.config["rope_parameters"] = {{"rope_type", "llama3"},
                                      {"factor", 8},
                                      {"low_freq_factor", 4},
                                      {"high_freq_factor", 1},
                                      {"original_max_position_embeddings", 64}};
     },
     "PATH/config.json: rope scaling: high_freq_factor: found 1, expected more than "
     "low_freq_factor (4)"},
    {"rope_yarn_reversed",
     [](Directory& d) {
       d.config["rope_parameters"] = {
           {"rope_type", "yarn"}, {"factor", 8}, {"beta_fast", 1}, {"beta_slow", 32}};
     },
     "PATH/config.json: rope scaling: beta_fast: found 1, expected at least beta_slow (32)"},
    {"layer_types_too_short",
     [](Directory& d) {
       d.config["model_type"] = "qwen3";
       d.config["layer_types"] = json::array();
     },
     "PATH/config.json: field 'layer_types': found an array, expected 1 times 'full_attention' or "
     "'sliding_attention', full attention first"},
    {"layer_types_unknown", [](Directory& d) { d.config["layer_types"] = {"linear_attention"}; },
     "PATH/config.json: field 'layer_types': found an array, expected 1 times 'full_attention' or "
     "'sliding_attention', full attention first"},
    {"sliding_without_window",
     [](Directory& d) { d.config["layer_types"] = {"sliding_attention"}; },
     "PATH/config.json: field 'sliding_window': found nothing, expected a window, since "
     "layer_types asks for one"},
    {"window_negative",
     [](Directory& d) {
       d.config["model_type"] = "mistral";
       d.config["sliding_window"] = -1;
     },
     "PATH/config.json: field 'sliding_window': found -1, expected an integer from 1 to 268435456"},
    {"eos_out_of_range", [](Directory& d) { d.config["eos_token_id"] = 4; },
     "PATH/config.json: field 'eos_token_id': found 4, expected an integer from 0 to 3"},
    {"eos_list_with_text", [](Directory& d) { d.config["eos_token_id"] = {1, "2"}; },
     "PATH/config.json: field 'eos_token_id': found '2', expected an integer from 0 to 3"},
    {"layers_contradict_tensors", [](Directory& d) { d.config["num_hidden_layers"] = 2; },
     "PATH: tensor 'model.layers.1.input_layernorm.weight': not in the model, expected shape [32]"},
    {"vocabulary_contradicts_tensors", [](Directory& d) { d.config["vocab_size"] = 5; },
     "PATH: tensor 'model.embed_tokens.weight': found shape [4, 32], expected [5, 32]"},
    {"untied_without_head", [](Directory& d) { d.config["tie_word_embeddings"] = false; },
     "PATH: tensor 'lm_head.weight': not in the model, expected shape [4, 32]"},
    {"bias_without_tensor", [](Directory& d) { d.config["attention_bias"] = true; },
     "PATH: tensor 'model.layers.0.self_attn.q_proj.bias': not in the model, expected shape [32]"},
    {"qwen2_without_bias", [](Directory& d) { d.config["model_type"] = "qwen2"; },
     "PATH: tensor 'model.layers.0.self_attn.q_proj.bias': not in the model, expected shape [32]"},
    {"qwen3_without_norms", [](Directory& d) { d.config["model_type"] = "qwen3"; },
     "PATH: tensor 'model.layers.0.self_attn.q_norm.weight': not in the model, expected shape "
     "[16]"},
    {"tensor_missing", [](Directory& d) { d.tensors.erase(d.tensors.begin() + 2); },
     "PATH: tensor 'model.layers.0.self_attn.q_proj.weight': not in the model, expected shape [32, "
     "32]"},
    {"tensor_unknown", [](Directory& d) { d.tensors.push_back({"model.extra", {1}}); },
     "PATH: tensor 'model.extra': not a tensor of a llama model of 1 layers"},
    {"tensor_of_another_shape",
     [](Directory& d) { d.tensor("model.layers.0.mlp.down_proj.weight").shape = {64, 32}; },
     "PATH: tensor 'model.layers.0.mlp.down_proj.weight': found shape [64, 32], expected [32, 64]"},
    {"int8_weights", [](Directory& d) { d.dtype = "I8"; },
     "PATH/model.safetensors: tensor 'model.embed_tokens.weight': dtype: found 'I8', expected F32, "
     "F16, BF16 or F8_E4M3"},
};
INSTANTIATE_TEST_SUITE_P(Config, BrokenDirectory, ::testing::ValuesIn(kConfigCases),
                         [](const auto& info) { return info.param.name; });

TEST(BrokenDirectory, TheUndamagedOneOpens) {
  const TempFolder folder;
  Directory().write(folder);
  EXPECT_EQ(open_error(folder), "opened");
}

TEST(BrokenDirectory, FilesThatAreNotThere) {
  const TempFolder folder;
  EXPECT_EQ(open_error(folder),
            "PATH: found no config.json, expected a .gguf file or a Hugging Face model directory");
  folder.write("config.json", Directory().config.dump());
  EXPECT_EQ(open_error(folder),
            "PATH: found neither model.safetensors nor model.safetensors.index.json, expected one "
            "of them");
  EXPECT_EQ(without(open_model(folder.file("none")).error().message, folder.path()),
            "PATH/none: no such file or directory, expected a .gguf file or a model directory");
}

TEST(BrokenDirectory, JsonThatIsNone) {
  const TempFolder folder;
  Directory().write(folder);
  folder.write("config.json", "");
  EXPECT_EQ(open_error(folder), "PATH/config.json: not valid JSON at byte 1");
  folder.write("config.json", "{\"model_type\": \"llama\",");
  EXPECT_EQ(open_error(folder), "PATH/config.json: not valid JSON at byte 24");
  folder.write("config.json", std::string(1 << 20, '['));
  EXPECT_EQ(open_error(folder),
            "PATH/config.json: JSON: found nesting of depth 1048576, expected at most 64");
  folder.write("config.json", R"({"model_type": "llama", "model_type": "qwen2"})");
  EXPECT_EQ(open_error(folder),
            "PATH/config.json: JSON: key 'model_type' occurs twice in one object");
  folder.write("config.json", "{\"model_type\": \"\xff\"}");
  EXPECT_EQ(open_error(folder), "PATH/config.json: not valid JSON at byte 17");
}

TEST(BrokenDirectory, GenerationConfig) {
  const TempFolder folder;
  Directory().write(folder);
  folder.write("generation_config.json", R"({"do_sample": true, "temperature": -1})");
  EXPECT_EQ(open_error(folder),
            "PATH/generation_config.json: field 'temperature': found -1, expected a number from 0 "
            "to 100");
  folder.write("generation_config.json", "[]");
  EXPECT_EQ(open_error(folder), "PATH/generation_config.json: found an array, expected an object");
}

TEST(BrokenDirectory, LinksAndSpecialFiles) {
  const TempFolder folder;
  Directory directory;
  directory.write(folder);
  const auto link = [&](const std::string& to, const char* name) {
    std::filesystem::remove(folder.file(name));
    std::filesystem::create_symlink(to, folder.file(name));
  };
  // A link to a file elsewhere is how model caches store weights.
  std::filesystem::rename(folder.file("model.safetensors"), folder.file("blob"));
  link("blob", "model.safetensors");
  EXPECT_EQ(open_error(folder), "opened");
  link("nowhere", "model.safetensors");
  EXPECT_EQ(open_error(folder), "PATH/model.safetensors: cannot open: No such file or directory");
  link("model.safetensors", "model.safetensors");
  EXPECT_EQ(open_error(folder),
            "PATH/model.safetensors: cannot open: Too many levels of symbolic links");
  link(".", "model.safetensors");
  EXPECT_EQ(open_error(folder), "PATH/model.safetensors: is a directory, expected a regular file");
  std::filesystem::remove(folder.file("model.safetensors"));
  ASSERT_EQ(::mkfifo(folder.file("model.safetensors").c_str(), 0600), 0);
  EXPECT_EQ(open_error(folder),
            "PATH/model.safetensors: is a device, pipe or socket, expected a regular file");
}

// Two shards and their index; `index` may be changed before it is written.
std::string open_sharded(const std::function<void(json& index)>& damage) {
  const TempFolder folder;
  const Directory directory;
  folder.write("config.json", directory.config.dump());
  const size_t half = directory.tensors.size() / 2;
  folder.write("a.safetensors", directory.weights(0, half));
  folder.write("b.safetensors", directory.weights(half, directory.tensors.size()));
  json index = {{"weight_map", json::object()}};
  for (size_t at = 0; at < directory.tensors.size(); ++at) {
    index["weight_map"][directory.tensors[at].name] = at < half ? "a.safetensors" : "b.safetensors";
  }
  damage(index);
  folder.write("model.safetensors.index.json", index.dump());
  return open_error(folder);
}

TEST(BrokenDirectory, Shards) {
  EXPECT_EQ(open_sharded([](json&) {}), "opened");
  EXPECT_EQ(open_sharded([](json& index) { index = json::object(); }),
            "PATH/model.safetensors.index.json: field 'weight_map': found nothing, expected an "
            "object of tensor names and file names");
  EXPECT_EQ(open_sharded([](json& index) { index["weight_map"] = 3; }),
            "PATH/model.safetensors.index.json: field 'weight_map': found 3, expected an object of "
            "tensor names and file names");
  const std::string norm = "model.norm.weight";
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"][norm] = 3; }),
            "PATH/model.safetensors.index.json: field 'weight_map': tensor 'model.norm.weight': "
            "found 3, expected the name of a .safetensors file beside the index");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"][norm] = "../b.safetensors"; }),
            "PATH/model.safetensors.index.json: field 'weight_map': tensor 'model.norm.weight': "
            "found '../b.safetensors', expected the name of a .safetensors file beside the index");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"][norm] = "/etc/passwd"; }),
            "PATH/model.safetensors.index.json: field 'weight_map': tensor 'model.norm.weight': "
            "found '/etc/passwd', expected the name of a .safetensors file beside the index");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"][norm] = "c.safetensors"; }),
            "PATH/b.safetensors: tensor 'model.norm.weight': found in this file, but the index "
            "puts it into c.safetensors");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"][norm] = "a.safetensors"; }),
            "PATH/a.safetensors: found 5 tensors, expected 6 as the index says");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"].erase(norm); }),
            "PATH/b.safetensors: tensor 'model.norm.weight': found in this file, but the index "
            "puts it nowhere");
  EXPECT_EQ(open_sharded([&](json& index) { index["weight_map"]["more"] = "b.safetensors"; }),
            "PATH/b.safetensors: found 6 tensors, expected 7 as the index says");
}

TEST(BrokenDirectory, ChatTemplates) {
  const auto template_error = [](const std::string& tokenizer_config) {
    const TempFolder folder;
    Directory().write(folder);
    folder.write("tokenizer_config.json", tokenizer_config);
    const auto source = open_model(folder.path());
    if (!source) return source.error().message;
    const auto parsed = (*source)->chat_template();
    if (!parsed) return without(parsed.error().message, folder.path());
    return std::string(*parsed == nullptr ? "none" : "parsed");
  };
  EXPECT_EQ(template_error("{}"), "none");
  EXPECT_EQ(template_error(R"({"chat_template": "{{ messages }}", "bos_token": 3})"), "parsed");
  EXPECT_EQ(template_error(R"({"chat_template": [{"name": "default", "template": "x"}]})"),
            "parsed");
  EXPECT_EQ(template_error(R"({"chat_template": 3})"),
            "PATH/tokenizer_config.json: field 'chat_template': found 3, expected a string or a "
            "list with a 'default' entry");
  EXPECT_EQ(template_error(R"({"chat_template": [{"name": "rag"}, 3]})"),
            "PATH/tokenizer_config.json: field 'chat_template': found an array, expected a string "
            "or a list with a 'default' entry");
  EXPECT_EQ(template_error("[1]"),
            "PATH/tokenizer_config.json: found an array, expected an object");
  EXPECT_EQ(template_error(R"({"chat_template": "a\n{% if %}"})"),
            "PATH/tokenizer_config.json: field 'chat_template': line 2: syntax error: unexpected "
            "end of block");
}

// Of tokenizer.json and chat_template.jinja; each message names the file once.
TEST(BrokenDirectory, TextFiles) {
  const TempFolder folder;
  Directory().write(folder);
  const auto source = open_model(folder.path());
  ASSERT_TRUE(source) << source.error().message;
  const auto tokenizer_error = [&](const std::string& content, uintmax_t bytes) {
    std::filesystem::resize_file(folder.write("tokenizer.json", content), bytes);
    const auto tokenizer = (*source)->tokenizer();
    return tokenizer ? "read" : without(tokenizer.error().message, folder.path());
  };
  EXPECT_EQ(tokenizer_error("{]", 2),
            "PATH/tokenizer.json: key must be a string at line 1 column 2");
  EXPECT_EQ(tokenizer_error("", (uintmax_t{256} << 20) + 1),
            "PATH/tokenizer.json: found 268435457 bytes, expected at most 268435456");
  const auto template_error = [&](const std::string& content) {
    folder.write("chat_template.jinja", content);
    const auto parsed = (*source)->chat_template();
    return parsed ? "read" : without(parsed.error().message, folder.path());
  };
  EXPECT_EQ(template_error("{% if %}"),
            "PATH/chat_template.jinja: line 1: syntax error: unexpected end of block");
  EXPECT_EQ(template_error("\xff"), "PATH/chat_template.jinja: source: invalid UTF-8 at byte 0");
  EXPECT_EQ(template_error(std::string((1 << 20) + 1, 'x')),
            "PATH/chat_template.jinja: source: found 1048577 bytes, expected at most 1048576");
}

}  // namespace
}  // namespace nereid::hostile::hf_test
