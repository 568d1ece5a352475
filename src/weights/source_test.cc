// Models of every architecture as files that other programs wrote: configs, names, values.
#include "src/weights/source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "src/quant/format.h"
#include "src/weights/tensor_table.h"

namespace nereid {
namespace {

using ::testing::ElementsAre;

std::string data(const std::string& name) {
  return std::string(NEREID_SOURCE_DIR "/tests/models/data/") + name;
}

std::unique_ptr<ModelSource> open(const std::string& name) {
  auto source = open_model(data(name));
  EXPECT_TRUE(source) << source.error().message;
  return source ? std::move(*source) : nullptr;
}

std::vector<float> values(const ModelSource& source, TensorRole role, int32_t layer = 0) {
  const StoredTensor* tensor = source.find(tensor_name(role, layer));
  EXPECT_NE(tensor, nullptr) << tensor_name(role, layer);
  int64_t count = 1;
  for (const int64_t dim : tensor->shape) count *= dim;
  std::vector<float> out(static_cast<size_t>(count));
  quant::dequantise(*tensor, out);
  return out;
}

TEST(OpenModel, Llama) {
  const auto source = open("tiny_llama");
  const ModelConfig& config = source->config();
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rotary_dim, 16);
  EXPECT_EQ(config.max_position, 256);
  EXPECT_FALSE(config.rope_interleaved);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_FLOAT_EQ(config.rope_theta, 500);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_FLOAT_EQ(config.rope_scaling.factor, 8);
  EXPECT_EQ(config.rope_scaling.original_max_position, 32);
  EXPECT_THAT(source->generation().eos_ids, ElementsAre(1));
  EXPECT_EQ(source->generation().bos_id, 0);
}

TEST(OpenModel, Yarn) {
  for (const char* name : {"tiny_llama_yarn", "tiny_llama_yarn_f32.gguf"}) {
    const auto source = open(name);
    const RopeScaling& scaling = source->config().rope_scaling;
    EXPECT_EQ(scaling.kind, RopeScaling::Kind::kYarn) << name;
    EXPECT_FLOAT_EQ(scaling.factor, 4) << name;
    EXPECT_FLOAT_EQ(scaling.beta_fast, 8) << name;
    EXPECT_EQ(scaling.original_max_position, 64) << name;
    EXPECT_TRUE(source->config().tie_word_embeddings) << name;
  }
}

TEST(OpenModel, MistralInTwoShards) {
  const auto source = open("tiny_mistral");
  EXPECT_EQ(source->config().architecture, "mistral");
  EXPECT_EQ(source->config().sliding_window, 8);
  EXPECT_EQ(source->config().sliding_window_first_layer, 0);
  EXPECT_EQ(source->tensors().size(), expected_tensors(source->config()).size());
  EXPECT_GT(source->file_bytes(), 200000u);
}

TEST(OpenModel, Qwen2) {
  const auto source = open("tiny_qwen2");
  EXPECT_TRUE(source->config().attention_bias);
  EXPECT_FALSE(source->config().attention_out_bias);
  EXPECT_EQ(source->config().sliding_window, 12);
  EXPECT_EQ(source->config().sliding_window_first_layer, 1);
  EXPECT_NE(source->find(tensor_name(TensorRole::kValueBias, 1)), nullptr);
}

TEST(OpenModel, Qwen3) {
  for (const char* name : {"tiny_qwen3", "tiny_qwen3_f16.gguf"}) {
    const auto source = open(name);
    EXPECT_EQ(source->config().architecture, "qwen3") << name;
    EXPECT_TRUE(source->config().qk_norm) << name;
    EXPECT_FALSE(source->config().rope_interleaved) << name;
    EXPECT_EQ(source->config().head_dim, 24) << name;
    EXPECT_EQ(source->config().rope_scaling.kind, RopeScaling::Kind::kLinear) << name;
    EXPECT_FLOAT_EQ(source->config().rope_scaling.factor, 2) << name;
  }
}

// The same weights in both containers; llama GGUF files hold the rows of q and k in pair order.
TEST(OpenModel, ContainersAgree) {
  const auto directory = open("tiny_llama");
  const auto file = open("tiny_llama_bf16.gguf");
  EXPECT_TRUE(file->config().rope_interleaved);
  EXPECT_EQ(file->config().rope_scaling.freq_divisors.size(), 8u);
  EXPECT_EQ(file->tensors().size(), directory->tensors().size());
  for (const TensorRole role : {TensorRole::kEmbedding, TensorRole::kLmHead, TensorRole::kFinalNorm,
                                TensorRole::kValue, TensorRole::kOutput, TensorRole::kDown,
                                TensorRole::kInputNorm, TensorRole::kPostAttentionNorm}) {
    EXPECT_EQ(values(*directory, role, 1), values(*file, role, 1)) << tensor_name(role, 1);
  }
  constexpr size_t kHeads = 4, kHeadDim = 16, kHidden = 64;
  const auto halves = values(*directory, TensorRole::kQuery),
             pairs = values(*file, TensorRole::kQuery);
  for (size_t head = 0; head < kHeads; ++head) {
    for (size_t row = 0; row < kHeadDim; ++row) {
      const size_t pair_row = row % (kHeadDim / 2) * 2 + row / (kHeadDim / 2);
      const size_t from = (head * kHeadDim + row) * kHidden;
      const size_t to = (head * kHeadDim + pair_row) * kHidden;
      EXPECT_TRUE(std::ranges::equal(std::span(halves).subspan(from, kHidden),
                                     std::span(pairs).subspan(to, kHidden)))
          << "head " << head << " row " << row;
    }
  }
}

TEST(OpenModel, EveryQuantisedFormatOpens) {
  for (const char* format : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1"}) {
    const auto source = open("tiny_llama_" + std::string(format) + ".gguf");
    const auto exact = open("tiny_llama_bf16.gguf");
    const auto rough = values(*source, TensorRole::kGate),
               wanted = values(*exact, TensorRole::kGate);
    double squared = 0, error = 0;
    for (size_t at = 0; at < wanted.size(); ++at) {
      squared += double{wanted[at]} * wanted[at];
      error += (double{rough[at]} - wanted[at]) * (double{rough[at]} - wanted[at]);
    }
    EXPECT_LT(error / squared, 0.02) << format;
    EXPECT_GT(error, 0) << format;
  }
  for (const char* format : {"q4_k", "q5_k", "q6_k"}) {
    const auto source = open("wide_llama_" + std::string(format) + ".gguf");
    EXPECT_EQ(storage_info(source->find(tensor_name(TensorRole::kGate))->format).block_elements,
              256u);
  }
}

TEST(OpenModel, TokenizersAndTemplates) {
  for (const char* name : {"tiny_llama", "tiny_llama_q8_0.gguf"}) {
    const auto source = open(name);
    const auto tokenizer = source->tokenizer();
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ((*tokenizer)->vocab_size(), 320) << name;
    const auto ids = (*tokenizer)->encode("the cat", {});
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ((*tokenizer)->decode(*ids, true).value(), "the cat") << name;
    const auto chat = source->chat_template();
    ASSERT_TRUE(chat) << chat.error().message;
    ASSERT_NE(*chat, nullptr);
    const auto text = (*chat)->render(
        R"({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true})");
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_EQ(*text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n") << name;
  }
}

TEST(OpenModel, ReleasedTensorsCanBeReadAgain) {
  for (const char* name : {"tiny_mistral", "tiny_llama_f16.gguf"}) {
    const auto source = open(name);
    const auto before = values(*source, TensorRole::kGate);
    for (const StoredTensor& tensor : source->tensors()) source->release(tensor);
    EXPECT_EQ(values(*source, TensorRole::kGate), before);
  }
}

TEST(TensorTable, NamesGoBothWays) {
  EXPECT_EQ(canonical_from_gguf("blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj.weight");
  EXPECT_EQ(canonical_from_gguf("output.weight"), "lm_head.weight");
  for (const char* unknown :
       {"blk.1.x.weight", "blk.01.attn_q.weight", "blk.-1.attn_q.weight",
        "blk.99999999999.attn_q.weight", "blk..attn_q.weight", "blk.", "", "attn_q.weight"}) {
    EXPECT_EQ(canonical_from_gguf(unknown), std::nullopt) << unknown;
  }
  for (int index = 0; index < kNumTensorRoles; ++index) {
    const auto role = static_cast<TensorRole>(index);
    EXPECT_EQ(canonical_from_gguf(gguf_name(role, 7)), tensor_name(role, 7));
    EXPECT_EQ(gguf_from_canonical(tensor_name(role, 7)), gguf_name(role, 7));
  }
}

}  // namespace
}  // namespace nereid
