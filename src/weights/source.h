// One view of a model on disk, whatever its container: hyper-parameters, tensors, tokenizer,
// template. GGUF files and Hugging Face directories (config.json + *.safetensors) both become a
// ModelSource.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/quant/storage.h"
#include "src/text/chat_template.h"
#include "src/text/tokenizer.h"

namespace nereid {

struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kLlama3, kYarn } kind = Kind::kNone;
  float factor = 1;
  float low_freq_factor = 1, high_freq_factor = 4;  // llama3
  float beta_fast = 32, beta_slow = 1;              // yarn
  float attention_factor = 0;                       // yarn: 0 = derive from factor
  int32_t original_max_position = 0;
  std::vector<float>
      freq_divisors;  // when the file gives them outright (rope_freqs.weight), [rotary_dim / 2]
};

// Which 8-bit floats the linear layers of a folder are stored in.
struct WeightQuantization {
  StorageFormat format = StorageFormat::kF8E4M3;  // is_float8
  bool float8_activations = true;  // made for layers that take their input in 8-bit floats too
};

// Hyper-parameters in the field's terms; the source has checked ranges and divisibility.
struct ModelConfig {
  std::string architecture;  // "llama", "mistral", "qwen2", "qwen3"
  std::string name;
  int32_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  int32_t num_heads = 0, num_kv_heads = 0, head_dim = 0, rotary_dim = 0;
  int32_t max_position = 0;
  int32_t sliding_window = 0;  // 0 = none
  int32_t sliding_window_first_layer =
      0;  // layers before it attend to everything (Qwen max_window_layers)
  float rms_norm_eps = 1e-5f, rope_theta = 10000.0f;
  bool rope_interleaved =
      false;  // GPT-J pairs (x[2i], x[2i+1]); q/k of GGUF llama files are stored so
  bool attention_bias = false;  // q/k/v biases
  bool attention_out_bias = false, mlp_bias = false;
  bool qk_norm = false;
  bool tie_word_embeddings = false;
  std::string hidden_act = "silu";
  RopeScaling rope_scaling;
  std::optional<WeightQuantization> quantization;  // Hugging Face folders only
};

struct GenerationDefaults {
  std::vector<int32_t> eos_ids;
  int32_t bos_id = -1;
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k;
};

class ModelSource : public TensorPages {
 public:
  virtual const ModelConfig& config() const = 0;
  virtual const GenerationDefaults& generation() const = 0;
  // Sorted by name.
  virtual std::span<const StoredTensor> tensors() const = 0;
  const StoredTensor* find(std::string_view name) const;  // nullptr when absent
  virtual Result<std::shared_ptr<text::Tokenizer>> tokenizer() const = 0;
  // nullptr when the model has no chat template.
  virtual Result<std::shared_ptr<text::ChatTemplate>> chat_template() const = 0;
  virtual uint64_t file_bytes() const = 0;
  // Key/value metadata for `nereid inspect`, in file order.
  virtual std::vector<std::pair<std::string, std::string>> metadata() const = 0;
};

struct OpenOptions {
  // Matrices of this format with made-up numbers, of the shapes that config.json says: no file of
  // weights is read. Hugging Face directories only.
  std::optional<StorageFormat> dummy_format;
};

// A .gguf file or a Hugging Face directory. Hostile input is expected: everything is
// bounds-checked.
Result<std::unique_ptr<ModelSource>> open_model(const std::string& path,
                                                const OpenOptions& options = {});

}  // namespace nereid
