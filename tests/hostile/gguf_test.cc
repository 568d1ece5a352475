// Broken GGUF files: each is refused with a message that says where and why.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "src/weights/source.h"
#include "tests/hostile/gguf_writer.h"
#include "tests/hostile/temp_folder.h"

namespace nereid::hostile::gguf_test {
namespace {

std::string open_error(const std::string& bytes) {
  const TempFolder folder;
  const std::string path = folder.write("m.gguf", bytes);
  const auto source = open_model(path);
  return source ? "opened" : without(source.error().message, path);
}

struct Case {
  const char* name;
  std::function<void(GgufWriter&)> damage;
  const char* message;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class BrokenGguf : public ::testing::TestWithParam<Case> {};

TEST_P(BrokenGguf, IsRefused) {
  GgufWriter file = small_llama();
  GetParam().damage(file);
  EXPECT_EQ(open_error(file.bytes()), GetParam().message);
}

std::string nested_arrays(int depth) {
  std::string out;
  for (int level = 0; level < depth; ++level) out += raw(uint32_t{9}) + raw(uint64_t{1});
  return out + raw(uint32_t{0}) + raw(uint64_t{0});
}

const Case kContainerCases[] = {
    {"magic", [](GgufWriter& f) { f.magic = "GG\nF"; },
     "PATH: magic: found 'GG\\x0aF', expected 'GGUF'"},
    {"version_1", [](GgufWriter& f) { f.version = 1; }, "PATH: version: found 1, expected 2 or 3"},
    {"version_4", [](GgufWriter& f) { f.version = 4; }, "PATH: version: found 4, expected 2 or 3"},
    {"big_endian", [](GgufWriter& f) { f.version = 0x03000000; },
     "PATH: version: found a big-endian file, expected a little-endian one"},
    {"too_many_tensors", [](GgufWriter& f) { f.tensor_count = uint64_t{1} << 60; },
     "PATH: tensor count: found 1152921504606846976, expected at most 262144"},
    {"too_many_keys", [](GgufWriter& f) { f.metadata_count = ~uint64_t{0}; },
     "PATH: metadata count: found 18446744073709551615, expected at most 65536"},
    {"key_count_lies", [](GgufWriter& f) { f.metadata_count = 2; },
     "PATH: tensor 'llama.context_length': found storage type 288884, "
     "expected one of 0 (F32), 1 (F16), 30 (BF16), 2 (Q4_0), 3 (Q4_1), 6 (Q5_0), 7 (Q5_1), 8 "
     "(Q8_0), 12 (Q4_K), 13 (Q5_K), 14 (Q6_K)"},
    {"duplicate_key", [](GgufWriter& f) { f.metadata.push_back(f.metadata[1]); },
     "PATH: key 'llama.block_count' occurs twice"},
    {"empty_key", [](GgufWriter& f) { f.set_u32("", 1); },
     "PATH: metadata entry 12 of 12: key: found 0 bytes, expected 1 to 65535"},
    {"unknown_value_type", [](GgufWriter& f) { f.set("x", 13, raw(uint32_t{0})); },
     "PATH: key 'x': value type: found 13, expected 0 to 12"},
    {"bool_of_2", [](GgufWriter& f) { f.set("x", 7, "\2"); },
     "PATH: key 'x': bool: found 2, expected 0 or 1"},
    {"string_length_lies",
     [](GgufWriter& f) { f.set("x", 8, raw(std::numeric_limits<uint64_t>::max())); },
     "PATH: key 'x': string: found 38397 bytes at byte 547, expected 18446744073709551615: the "
     "file is truncated or damaged"},
    {"array_length_lies",
     [](GgufWriter& f) { f.set("x", 9, raw(uint32_t{10}) + raw(uint64_t{1} << 61)); },
     "PATH: key 'x': array: found 2305843009213693952 elements of type u64, but only 38425 bytes "
     "follow"},
    {"string_array_length_lies",
     [](GgufWriter& f) { f.set("x", 9, raw(uint32_t{8}) + raw(uint64_t{1} << 40)); },
     "PATH: key 'x': array: found 1099511627776 elements of type string, but only 38425 bytes "
     "follow"},
    {"arrays_nested_deeply", [](GgufWriter& f) { f.set("x", 9, nested_arrays(100000)); },
     "PATH: key 'x': arrays nested deeper than 4"},
    {"alignment_0", [](GgufWriter& f) { f.set_u32("general.alignment", 0); },
     "PATH: key 'general.alignment': found 0, expected a power of two from 8 to 65536"},
    {"alignment_no_power_of_2", [](GgufWriter& f) { f.set_u32("general.alignment", 48); },
     "PATH: key 'general.alignment': found 48, expected a power of two from 8 to 65536"},
    {"alignment_huge", [](GgufWriter& f) { f.set_u32("general.alignment", 1u << 31); },
     "PATH: key 'general.alignment': found 2147483648, expected a power of two from 8 to 65536"},
    {"alignment_of_wrong_type", [](GgufWriter& f) { f.set_string("general.alignment", "32"); },
     "PATH: key 'general.alignment': found type string, expected u32"},
    {"duplicate_tensor", [](GgufWriter& f) { f.tensors.push_back(f.tensors[1]); },
     "PATH: tensor 'blk.0.attn_norm.weight' occurs twice"},
    {"tensor_without_dimensions", [](GgufWriter& f) { f.tensors[1].dims = {}; },
     "PATH: tensor 'blk.0.attn_norm.weight': found 0 dimensions, expected 1 "
     "to 4"},
    {"tensor_with_five_dimensions", [](GgufWriter& f) { f.tensors[1].dims = {1, 1, 1, 1, 1}; },
     "PATH: tensor 'blk.0.attn_norm.weight': found 5 dimensions, expected 1 "
     "to 4"},
    {"dimension_0", [](GgufWriter& f) { f.tensors[1].dims = {0}; },
     "PATH: tensor 'blk.0.attn_norm.weight': dimension 0: found 0, expected "
     "1 to 2^63 - 1"},
    {"dimension_past_2_63", [](GgufWriter& f) { f.tensors[1].dims = {~uint64_t{0}}; },
     "PATH: tensor 'blk.0.attn_norm.weight': dimension 0: found "
     "18446744073709551615, expected 1 to 2^63 - 1"},
    {"dimensions_overflow",
     [](GgufWriter& f) { f.tensors[1].dims = {uint64_t{1} << 32, uint64_t{1} << 32}; },
     "PATH: tensor 'blk.0.attn_norm.weight': dimensions multiply past 2^62 "
     "elements"},
    {"bytes_overflow", [](GgufWriter& f) { f.tensors[1].dims = {uint64_t{1} << 62}; },
     "PATH: tensor 'blk.0.attn_norm.weight': tensor is larger than 2^62 "
     "bytes"},
    {"unknown_storage_type", [](GgufWriter& f) { f.tensors[1].type = 99; },
     "PATH: tensor 'blk.0.attn_norm.weight': found storage type 99, expected "
     "one of 0 (F32), 1 (F16), 30 (BF16), 2 (Q4_0), 3 (Q4_1), 6 (Q5_0), 7 (Q5_1), 8 (Q8_0), 12 "
     "(Q4_K), 13 (Q5_K), 14 (Q6_K)"},
    {"unsupported_storage_type", [](GgufWriter& f) { f.tensors[1].type = 10; },
     "PATH: tensor 'blk.0.attn_norm.weight': found storage type 10, expected "
     "one of 0 (F32), 1 (F16), 30 (BF16), 2 (Q4_0), 3 (Q4_1), 6 (Q5_0), 7 (Q5_1), 8 (Q8_0), 12 "
     "(Q4_K), 13 (Q5_K), 14 (Q6_K)"},
    {"row_no_multiple_of_a_block",
     [](GgufWriter& f) {
       f.tensor("token_embd.weight").type = 12;  // Q4_K
     },
     "PATH: tensor 'token_embd.weight': row length: found 32, expected a "
     "multiple of 256 (Q4_K blocks)"},
    {"offset_past_the_end", [](GgufWriter& f) { f.tensors[1].offset = uint64_t{1} << 40; },
     "PATH: tensor 'blk.0.attn_norm.weight': found 128 bytes at offset 1099511627776, but the file "
     "holds 37760 bytes of data"},
    {"offset_overflows", [](GgufWriter& f) { f.tensors[1].offset = ~uint64_t{31}; },
     "PATH: tensor 'blk.0.attn_norm.weight': found 128 bytes at offset 18446744073709551584, but "
     "the file holds 37760 bytes of data"},
    {"offset_not_aligned", [](GgufWriter& f) { f.tensors[1].offset += 8; },
     "PATH: tensor 'blk.0.attn_norm.weight': offset: found 520, expected a "
     "multiple of 32"},
    {"tensors_overlap", [](GgufWriter& f) { f.tensors[2].offset = f.tensors[1].offset; },
     "PATH: tensors 'blk.0.attn_norm.weight' and 'blk.0.attn_q.weight' overlap in the file"},
    {"name_with_control_bytes", [](GgufWriter& f) { f.add_f32("\x1b[2J\xff", {1}); },
     "PATH: tensor '\\x1b[2J\\xff': not a tensor of a llama model"},
    {"name_of_1000_bytes", [](GgufWriter& f) { f.add_f32(std::string(1000, 'x'), {1}); },
     "PATH: tensor 12 of 12: name: found 1000 bytes, expected 1 to 255"},
};
INSTANTIATE_TEST_SUITE_P(Container, BrokenGguf, ::testing::ValuesIn(kContainerCases),
                         [](const auto& info) { return info.param.name; });

const Case kModelCases[] = {
    {"no_architecture", [](GgufWriter& f) { f.erase("general.architecture"); },
     "PATH: field 'general.architecture': found nothing, expected a string"},
    {"unknown_architecture", [](GgufWriter& f) { f.set_string("general.architecture", "mamba"); },
     "PATH: field 'general.architecture': found 'mamba', expected one of llama, qwen2, qwen3"},
    {"architecture_of_wrong_type", [](GgufWriter& f) { f.set_u32("general.architecture", 7); },
     "PATH: field 'general.architecture': found 7, expected a string"},
    {"no_block_count", [](GgufWriter& f) { f.erase("llama.block_count"); },
     "PATH: field 'llama.block_count': found nothing, expected an integer from 1 to 1024"},
    {"block_count_0", [](GgufWriter& f) { f.set_u32("llama.block_count", 0); },
     "PATH: field 'llama.block_count': found 0, expected an integer from 1 to 1024"},
    {"block_count_2", [](GgufWriter& f) { f.set_u32("llama.block_count", 2); },
     "PATH: tensor 'blk.1.attn_norm.weight': not in the model, expected shape [32]"},
    {"block_count_huge", [](GgufWriter& f) { f.set_u32("llama.block_count", ~0u); },
     "PATH: field 'llama.block_count': found 4294967295, expected an integer from 1 to 1024"},
    {"block_count_negative", [](GgufWriter& f) { f.set("llama.block_count", 5, raw(int32_t{-1})); },
     "PATH: field 'llama.block_count': found -1, expected an integer from 1 to 1024"},
    {"block_count_past_2_63",
     [](GgufWriter& f) { f.set("llama.block_count", 10, raw(~uint64_t{0})); },
     "PATH: field 'llama.block_count': found 18446744073709551615, expected an integer from 1 to "
     "1024"},
    {"block_count_text", [](GgufWriter& f) { f.set_string("llama.block_count", "1\n2"); },
     "PATH: field 'llama.block_count': found '1\\x0a2', expected an integer from 1 to 1024"},
    {"heads_as_array",
     [](GgufWriter& f) {
       f.set("llama.attention.head_count", 9, raw(uint32_t{4}) + raw(uint64_t{1}) + raw(2u));
     },
     "PATH: field 'llama.attention.head_count': found an array, expected an integer from 1 to "
     "1024"},
    {"heads_do_not_divide", [](GgufWriter& f) { f.set_u32("llama.attention.head_count", 3); },
     "PATH: field 'llama.attention.head_count': found 3, expected a divisor of the embedding "
     "length 32 with a quotient up to 1024"},
    {"heads_no_multiple_of_kv_heads",
     [](GgufWriter& f) {
       f.set_u32("llama.attention.head_count", 2);
       f.set_u32("llama.attention.head_count_kv", 4);
     },
     "PATH: attention heads: found 2, expected a multiple of the 4 key/value heads"},
    {"heads_contradict_tensors",
     [](GgufWriter& f) { f.set_u32("llama.attention.head_count_kv", 2); },
     "PATH: tensor 'blk.0.attn_k.weight': found shape [16, 32], expected [32, 32]"},
    {"head_size_contradicts_tensors",
     [](GgufWriter& f) { f.set_u32("llama.attention.key_length", 32); },
     "PATH: tensor 'blk.0.attn_q.weight': found shape [32, 32], expected [64, 32]"},
    {"value_length_differs", [](GgufWriter& f) { f.set_u32("llama.attention.value_length", 8); },
     "PATH: field 'llama.attention.value_length': found 8, expected 16, the key length"},
    {"rotary_odd", [](GgufWriter& f) { f.set_u32("llama.rope.dimension_count", 15); },
     "PATH: rotary dimensions: found 15, expected an even number from 2 to head_dim (16)"},
    {"rotary_too_large", [](GgufWriter& f) { f.set_u32("llama.rope.dimension_count", 18); },
     "PATH: rotary dimensions: found 18, expected an even number from 2 to head_dim (16)"},
    {"hidden_contradicts_tensors", [](GgufWriter& f) { f.set_u32("llama.embedding_length", 64); },
     "PATH: tensor 'token_embd.weight': found shape [4, 32], expected [4, 64]"},
    {"intermediate_contradicts_tensors",
     [](GgufWriter& f) { f.set_u32("llama.feed_forward_length", 96); },
     "PATH: tensor 'blk.0.ffn_gate.weight': found shape [64, 32], expected [96, 32]"},
    {"vocabulary_contradicts_tensors", [](GgufWriter& f) { f.set_u32("llama.vocab_size", 5); },
     "PATH: field 'llama.vocab_size': found 5, expected 4, the rows of tensor 'token_embd.weight'"},
    {"eps_nan",
     [](GgufWriter& f) {
       f.set_f32("llama.attention.layer_norm_rms_epsilon", std::numeric_limits<float>::quiet_NaN());
     },
     "PATH: field 'llama.attention.layer_norm_rms_epsilon': found nan, expected a number from 0 to "
     "1"},
    {"theta_0", [](GgufWriter& f) { f.set_f32("llama.rope.freq_base", 0); },
     "PATH: field 'llama.rope.freq_base': found 0, expected a number from 2 to 1000000000000"},
    {"experts", [](GgufWriter& f) { f.set_u32("llama.expert_count", 8); },
     "PATH: field 'llama.expert_count': found 8, expected 0: mixture-of-experts models are not "
     "supported"},
    {"unknown_rope_scaling",
     [](GgufWriter& f) { f.set_string("llama.rope.scaling.type", "longrope"); },
     "PATH: field 'llama.rope.scaling.type': found 'longrope', expected none, linear or yarn"},
    {"yarn_without_length",
     [](GgufWriter& f) {
       f.set_string("llama.rope.scaling.type", "yarn");
       f.set_f32("llama.rope.scaling.factor", 4);
     },
     "PATH: field 'llama.rope.scaling.original_context_length': found nothing, expected an integer "
     "from 1 to 268435456"},
    {"rope_frequencies_of_wrong_length", [](GgufWriter& f) { f.add_f32("rope_freqs.weight", {5}); },
     "PATH: rope frequency divisors (rope_freqs.weight): found 5, expected 8 (rotary_dim / 2)"},
    {"rope_frequencies_0", [](GgufWriter& f) { f.add_f32("rope_freqs.weight", {8}); },
     "PATH: rope frequency divisors (rope_freqs.weight): found 0, expected a positive number"},
    {"unknown_out_of_range", [](GgufWriter& f) { f.set_u32("tokenizer.ggml.unknown_token_id", 4); },
     "PATH: field 'tokenizer.ggml.unknown_token_id': found 4, expected an integer from 0 to 3"},
    {"padding_out_of_range", [](GgufWriter& f) { f.set_u32("tokenizer.ggml.padding_token_id", 4); },
     "PATH: field 'tokenizer.ggml.padding_token_id': found 4, expected an integer from 0 to 3"},
    {"eos_out_of_range", [](GgufWriter& f) { f.set_u32("tokenizer.ggml.eos_token_id", 4); },
     "PATH: field 'tokenizer.ggml.eos_token_id': found 4, expected an integer from 0 to 3"},
    {"tensor_missing", [](GgufWriter& f) { f.tensors.erase(f.tensors.begin() + 3); },
     "PATH: tensor 'blk.0.attn_k.weight': not in the model, expected shape [16, 32]"},
    {"no_embedding", [](GgufWriter& f) { f.tensors.erase(f.tensors.begin()); },
     "PATH: tensor 'token_embd.weight': found nothing, expected a matrix"},
    {"no_tensors", [](GgufWriter& f) { f.tensors.clear(); },
     "PATH: tensor 'token_embd.weight': found nothing, expected a matrix"},
    {"embedding_is_a_vector", [](GgufWriter& f) { f.tensors[0].dims = {128}; },
     "PATH: tensor 'token_embd.weight': found [128], expected a matrix"},
    {"tensor_unknown", [](GgufWriter& f) { f.add_f32("blk.0.ffn_gate_inp.weight", {32}); },
     "PATH: tensor 'blk.0.ffn_gate_inp.weight': not a tensor of a llama model"},
    {"tensor_of_another_layer", [](GgufWriter& f) { f.add_f32("blk.1.attn_norm.weight", {32}); },
     "PATH: tensor 'blk.1.attn_norm.weight': not a tensor of a llama model of 1 layers"},
    {"layer_number_with_leading_zero",
     [](GgufWriter& f) { f.tensor("blk.0.attn_norm.weight").name = "blk.00.attn_norm.weight"; },
     "PATH: tensor 'blk.00.attn_norm.weight': not a tensor of a llama model"},
    {"tensor_transposed", [](GgufWriter& f) { f.tensor("blk.0.attn_k.weight").dims = {16, 32}; },
     "PATH: tensor 'blk.0.attn_k.weight': found shape [32, 16], expected [16, 32]"},
    {"norm_quantised", [](GgufWriter& f) { f.tensor("output_norm.weight").type = 8; },
     "PATH: tensor 'output_norm.weight': found format Q8_0, expected F32, F16 or BF16"},
    {"qwen2_without_biases",
     [](GgufWriter& f) {
       for (GgufEntry& entry : f.metadata) {
         if (entry.key.starts_with("llama.")) entry.key.replace(0, 5, "qwen2");
       }
       f.set_string("general.architecture", "qwen2");
     },
     "PATH: tensor 'blk.0.attn_q.bias': not in the model, expected shape [32]"},
    {"bias_of_one_projection_only", [](GgufWriter& f) { f.add_f32("blk.0.attn_q.bias", {32}); },
     "PATH: tensor 'blk.0.attn_k.bias': not in the model, expected shape [16]"},
};
INSTANTIATE_TEST_SUITE_P(Model, BrokenGguf, ::testing::ValuesIn(kModelCases),
                         [](const auto& info) { return info.param.name; });

TEST(BrokenGguf, TheUndamagedFileOpens) {
  const TempFolder folder;
  const auto source = open_model(folder.write("m.gguf", small_llama().bytes()));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ((*source)->config().head_dim, 16);
  EXPECT_EQ((*source)->tensors().size(), 11u);
}

TEST(BrokenGguf, TruncatedAnywhereIsRefused) {
  const std::string whole = small_llama().bytes();
  for (size_t length = 0; length < whole.size(); length += length < 2048 ? 1 : 61) {
    const std::string message = open_error(whole.substr(0, length));
    EXPECT_TRUE(message.starts_with("PATH: ")) << "at " << length << ": " << message;
  }
  EXPECT_EQ(open_error(""),
            "PATH: magic: found 0 bytes at byte 0, expected 4: the file is truncated or damaged");
  EXPECT_EQ(open_error(whole.substr(0, 20)),
            "PATH: metadata count: found 4 bytes at byte 16, expected 8: the file is truncated or "
            "damaged");
  EXPECT_EQ(open_error(whole.substr(0, whole.size() - 1)),
            "PATH: tensor 'output_norm.weight': found 128 bytes at offset 37632, but the file "
            "holds 37759 bytes of data");
}

// No flipped byte may crash; what still opens must have a config that passed its checks.
TEST(BrokenGguf, FlippedBytesNeverCrash) {
  const std::string whole = small_llama().bytes();
  const TempFolder folder;
  int opened = 0;
  for (size_t at = 0; at < 2048 && at < whole.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      const auto source = open_model(folder.write("m.gguf", damaged));
      if (!source) continue;
      ++opened;
      EXPECT_EQ((*source)->config().num_layers, 1);
      EXPECT_EQ((*source)->config().hidden_size, 32);
    }
  }
  EXPECT_GT(opened, 0);  // unused metadata and padding may change
}

std::string tokenizer_error(const std::function<void(GgufWriter&)>& damage) {
  GgufWriter file = small_llama();
  damage(file);
  const TempFolder folder;
  const std::string path = folder.write("m.gguf", file.bytes());
  const auto source = open_model(path);
  if (!source) return source.error().message;
  const auto tokenizer = (*source)->tokenizer();
  return tokenizer ? "opened" : without(tokenizer.error().message, path);
}

TEST(BrokenGguf, Vocabulary) {
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) { f.erase("tokenizer.ggml.tokens"); }),
            "PATH: key 'tokenizer.ggml.tokens': found 0 tokens, expected 1 to 4194304");
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) { f.set_u32("tokenizer.ggml.tokens", 3); }),
            "PATH: key 'tokenizer.ggml.tokens': found type u32, expected an array");
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) {
              f.set("tokenizer.ggml.tokens", 9, raw(uint32_t{4}) + raw(uint64_t{1}) + raw(2u));
            }),
            "PATH: key 'tokenizer.ggml.tokens': found an array of u32, expected one of string");
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) {
              f.set("tokenizer.ggml.scores", 9, raw(uint32_t{6}) + raw(uint64_t{1}) + raw(2.0f));
            }),
            "PATH: key 'tokenizer.ggml.scores': found 1 elements, expected 4, one for each token");
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) {
              std::string tokens = raw(uint32_t{8}) + raw(uint64_t{5});
              for (const char* token : {"a", "b", "c", "d", "e"}) tokens += counted(token);
              f.set("tokenizer.ggml.tokens", 9, tokens);
            }),
            "PATH: key 'tokenizer.ggml.tokens': found 5 tokens, expected at most 4, the rows of "
            "the embedding table");
  EXPECT_EQ(tokenizer_error([](GgufWriter& f) { f.erase("tokenizer.ggml.model"); }),
            "PATH: field 'tokenizer.ggml.model': found nothing, expected a string");
}

TEST(BrokenGguf, ChatTemplateOfWrongType) {
  GgufWriter file = small_llama();
  file.set_u32("tokenizer.chat_template", 3);
  const TempFolder folder;
  const std::string path = folder.write("m.gguf", file.bytes());
  const auto source = open_model(path);
  ASSERT_TRUE(source) << source.error().message;
  const auto parsed = (*source)->chat_template();
  ASSERT_FALSE(parsed);
  EXPECT_EQ(without(parsed.error().message, path),
            "PATH: key 'tokenizer.chat_template': found type u32, expected string");
}

TEST(BrokenGguf, ChatTemplateOfWrongSyntax) {
  GgufWriter file = small_llama();
  file.set_string("tokenizer.chat_template", "{% if %}");
  const TempFolder folder;
  const std::string path = folder.write("m.gguf", file.bytes());
  const auto source = open_model(path);
  ASSERT_TRUE(source) << source.error().message;
  const auto parsed = (*source)->chat_template();
  ASSERT_FALSE(parsed);
  EXPECT_EQ(without(parsed.error().message, path),
            "PATH: key 'tokenizer.chat_template': line 1: syntax error: unexpected end of block");
}

}  // namespace
}  // namespace nereid::hostile::gguf_test
