// Writes GGUF files of which every byte can be made wrong. Starts from a model that is right.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nereid::hostile {

template <typename T>
std::string raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

inline std::string counted(std::string_view text) {
  return raw(uint64_t{text.size()}) + std::string(text);
}

struct GgufEntry {
  std::string key;
  uint32_t type;        // 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array, ...
  std::string payload;  // encoded value
};

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;  // innermost first, as in the file
  uint32_t type = 0;           // F32
  uint64_t offset = 0;
};

class GgufWriter {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<GgufEntry> metadata;
  std::vector<GgufTensor> tensors;
  std::optional<uint64_t> tensor_count, metadata_count;  // instead of the true ones
  uint64_t data_alignment = 32;
  uint64_t data_bytes = 0;

  void set(const std::string& key, uint32_t type, std::string payload) {
    erase(key);
    metadata.push_back({key, type, std::move(payload)});
  }
  void set_u32(const std::string& key, uint32_t value) { set(key, 4, raw(value)); }
  void set_f32(const std::string& key, float value) { set(key, 6, raw(value)); }
  void set_string(const std::string& key, std::string_view value) { set(key, 8, counted(value)); }
  void erase(const std::string& key) {
    std::erase_if(metadata, [&](const GgufEntry& entry) { return entry.key == key; });
  }
  GgufTensor& tensor(std::string_view name) {
    for (GgufTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }
  // Behind the tensors so far.
  void add_f32(const std::string& name, std::vector<uint64_t> dims) {
    uint64_t bytes = sizeof(float);
    for (const uint64_t dim : dims) bytes *= dim;
    tensors.push_back({name, std::move(dims), 0, data_bytes});
    data_bytes += (bytes + data_alignment - 1) / data_alignment * data_alignment;
  }

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(tensor_count.value_or(tensors.size())) +
                      raw(metadata_count.value_or(metadata.size()));
    for (const GgufEntry& entry : metadata) {
      out += counted(entry.key) + raw(entry.type) + entry.payload;
    }
    for (const GgufTensor& tensor : tensors) {
      out += counted(tensor.name) + raw(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t dim : tensor.dims) out += raw(dim);
      out += raw(tensor.type) + raw(tensor.offset);
    }
    out.resize((out.size() + data_alignment - 1) / data_alignment * data_alignment, '\0');
    out.resize(out.size() + data_bytes, '\0');
    return out;
  }
};

// A llama with one layer: vocab 4, hidden 32, two heads of 16, one key/value head, intermediate 64.
inline GgufWriter small_llama() {
  GgufWriter file;
  file.set_string("general.architecture", "llama");
  file.set_u32("llama.block_count", 1);
  file.set_u32("llama.context_length", 128);
  file.set_u32("llama.embedding_length", 32);
  file.set_u32("llama.feed_forward_length", 64);
  file.set_u32("llama.attention.head_count", 2);
  file.set_u32("llama.attention.head_count_kv", 1);
  file.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.set_string("tokenizer.ggml.model", "gpt2");
  file.set_u32("tokenizer.ggml.eos_token_id", 1);
  std::string tokens = raw(uint32_t{8}) + raw(uint64_t{4});
  for (const char* token : {"a", "b", "c", "d"}) tokens += counted(token);
  file.set("tokenizer.ggml.tokens", 9, tokens);
  file.add_f32("token_embd.weight", {32, 4});
  file.add_f32("blk.0.attn_norm.weight", {32});
  file.add_f32("blk.0.attn_q.weight", {32, 32});
  file.add_f32("blk.0.attn_k.weight", {32, 16});
  file.add_f32("blk.0.attn_v.weight", {32, 16});
  file.add_f32("blk.0.attn_output.weight", {32, 32});
  file.add_f32("blk.0.ffn_norm.weight", {32});
  file.add_f32("blk.0.ffn_gate.weight", {32, 64});
  file.add_f32("blk.0.ffn_up.weight", {32, 64});
  file.add_f32("blk.0.ffn_down.weight", {64, 32});
  file.add_f32("output_norm.weight", {32});
  return file;
}

}  // namespace nereid::hostile
