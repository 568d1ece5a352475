// Maps the shards of a Hugging Face directory and reads its small JSON files.
#include "src/weights/hf_source.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/json.h"
#include "src/base/mapped_file.h"
#include "src/weights/config_check.h"
#include "src/weights/float8_scales.h"
#include "src/weights/hf_config.h"
#include "src/weights/safetensors_reader.h"
#include "src/weights/tensor_table.h"

namespace nereid {
namespace {

using nlohmann::json;

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kGeneration = "generation_config.json";
constexpr std::string_view kTokenizer = "tokenizer.json";
constexpr std::string_view kTokenizerConfig = "tokenizer_config.json";
constexpr std::string_view kTemplate = "chat_template.jinja";
constexpr std::string_view kWeights = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr size_t kMaxShards = 4096;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Files of one directory, by name.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}

  std::string file(std::string_view name) const { return fmt::format("{}/{}", path_, name); }
  bool has(std::string_view name) const {
    std::error_code code;
    // A dangling link counts as there, so that opening it says what is wrong.
    return std::filesystem::symlink_status(file(name), code).type() !=
           std::filesystem::file_type::not_found;
  }
  Result<json> read_json(std::string_view name) const {
    NEREID_TRY(const auto mapped, MappedFile::open(file(name)));
    auto parsed = parse_json(as_text(mapped.bytes()));
    if (!parsed) return with_context(parsed.error(), file(name));
    return parsed;
  }
  Result<json> read_json_if_there(std::string_view name) const {
    if (!has(name)) return json::object();
    return read_json(name);
  }
  const std::string& path() const { return path_; }
  // Its last part, also of "models/tiny/" and ".".
  std::string name() const {
    std::error_code code;
    const auto whole = std::filesystem::weakly_canonical(path_, code);
    return code ? path_ : whole.filename().string();
  }

 private:
  std::string path_;
};

// Rotary frequencies that old checkpoints carry along, and the head of a model that ties it.
bool is_ignored(const StoredTensor& tensor, const ModelConfig& config) {
  if (tensor.name.ends_with(".rotary_emb.inv_freq")) return true;
  return config.tie_word_embeddings && tensor.name == tensor_name(TensorRole::kLmHead);
}

// Tensor -> file, as the index says; the names of files are names, not paths.
Result<std::map<std::string, std::string>> read_weight_map(const json& index) {
  const auto at = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || at == index.end() || !at->is_object() || at->empty()) {
    return error("field 'weight_map': found {}, expected an object of tensor names and file names",
                 index.is_object() && at != index.end() ? describe_json(*at) : "nothing");
  }
  std::map<std::string, std::string> out;
  for (const auto& [tensor, file] : at->items()) {
    const bool named = file.is_string() &&
                       file.get_ref<const std::string&>().ends_with(".safetensors") &&
                       file.get_ref<const std::string&>().find('/') == std::string::npos;
    if (!named) {
      return error(
          "field 'weight_map': tensor '{}': found {}, expected the name of a .safetensors "
          "file beside the index",
          printable(tensor), describe_json(file));
    }
    out[tensor] = file.get<std::string>();
  }
  return out;
}

// A token is a string or an object with its text under "content".
std::string token_text(const json& config, const char* key) {
  const auto at = config.find(key);
  if (at == config.end()) return "";
  if (at->is_string()) return at->get<std::string>();
  if (!at->is_object() || !at->contains("content") || !(*at)["content"].is_string()) return "";
  return (*at)["content"].get<std::string>();
}

// tokenizer_config.json: one template, or several with names of which one is "default".
Result<std::string> template_of(const json& config) {
  const auto at = config.find("chat_template");
  if (at == config.end() || at->is_null()) return std::string();
  if (at->is_string()) return at->get<std::string>();
  if (at->is_array()) {
    for (const json& entry : *at) {
      if (entry.is_object() && entry.value("name", json()) == "default" &&
          entry.contains("template") && entry["template"].is_string()) {
        return entry["template"].get<std::string>();
      }
    }
  }
  return error(
      "field 'chat_template': found {}, expected a string or a list with a 'default' entry",
      describe_json(*at));
}

class HfSource final : public ModelSource {
 public:
  HfSource(std::string path, const OpenOptions& options)
      : folder_(std::move(path)), options_(options) {}

  Status read() {
    if (!folder_.has(kConfig)) {
      return error("{}: found no {}, expected a .gguf file or a Hugging Face model directory",
                   folder_.path(), kConfig);
    }
    NEREID_TRY(const json config, folder_.read_json(kConfig));
    NEREID_TRY_CONTEXT(config_, hf::read_config(config), folder_.file(kConfig));
    if (config_.name.empty()) config_.name = folder_.name();
    const Status checked = check_config(config_);
    if (!checked) return with_context(checked.error(), folder_.file(kConfig));
    NEREID_TRY(const json generation, folder_.read_json_if_there(kGeneration));
    auto defaults = hf::read_generation_defaults(config, generation, config_.vocab_size);
    if (!defaults) return error("{}", folder_.file(defaults.error().message));
    generation_ = std::move(*defaults);
    for (const auto& [key, value] : config.items()) metadata_.emplace_back(key, value.dump());
    if (options_.dummy_format) return make_dummies(*options_.dummy_format);
    NEREID_RETURN_IF_ERROR(folder_.has(kWeights) || !folder_.has(kIndex) ? read_single()
                                                                         : read_shards());
    std::erase_if(tensors_,
                  [&](const StoredTensor& tensor) { return is_ignored(tensor, config_); });
    const Status scaled = attach_float8_scales(config_, tensors_);
    if (!scaled) return with_context(scaled.error(), folder_.path());
    std::ranges::sort(tensors_, {}, &StoredTensor::name);
    const Status complete = check_tensors(config_, tensors_, std::identity{});
    if (!complete) return with_context(complete.error(), folder_.path());
    return {};
  }

  const ModelConfig& config() const override { return config_; }
  const GenerationDefaults& generation() const override { return generation_; }
  std::span<const StoredTensor> tensors() const override { return tensors_; }
  uint64_t file_bytes() const override { return file_bytes_; }

  Result<std::shared_ptr<text::Tokenizer>> tokenizer() const override {
    NEREID_TRY(const auto mapped, MappedFile::open(folder_.file(kTokenizer)));
    auto tokenizer = text::Tokenizer::from_json(as_text(mapped.bytes()));
    if (!tokenizer) return with_context(tokenizer.error(), mapped.path());
    return tokenizer;
  }

  Result<std::shared_ptr<text::ChatTemplate>> chat_template() const override {
    NEREID_TRY(const json config, folder_.read_json_if_there(kTokenizerConfig));
    if (!config.is_object()) {
      return error("{}: found {}, expected an object", folder_.file(kTokenizerConfig),
                   describe_json(config));
    }
    const text::ChatTemplateOptions tokens = {.bos_token = token_text(config, "bos_token"),
                                              .eos_token = token_text(config, "eos_token")};
    if (folder_.has(kTemplate)) {
      NEREID_TRY(const auto mapped, MappedFile::open(folder_.file(kTemplate)));
      auto parsed = text::ChatTemplate::parse(as_text(mapped.bytes()), tokens);
      if (!parsed) return with_context(parsed.error(), mapped.path());
      return parsed;
    }
    const std::string file = folder_.file(kTokenizerConfig);
    NEREID_TRY_CONTEXT(const std::string source, template_of(config), file);
    if (source.empty()) return nullptr;
    auto parsed = text::ChatTemplate::parse(source, tokens);
    if (!parsed) return with_context(parsed.error(), file + ": field 'chat_template'");
    return parsed;
  }

  std::vector<std::pair<std::string, std::string>> metadata() const override { return metadata_; }

  void release(const StoredTensor& tensor) const override {
    for (const MappedFile& shard : shards_) {
      const std::byte* begin = shard.bytes().data();
      if (tensor.bytes.data() < begin || tensor.bytes.data() >= begin + shard.size()) continue;
      shard.release(static_cast<uint64_t>(tensor.bytes.data() - begin), tensor.bytes.size());
    }
  }

 private:
  // Vectors are F32 whatever the format of matrices; with 8-bit floats the embedding and the head
  // are BF16, as in the folders that are about.
  Status make_dummies(StorageFormat of_matrices) {
    for (ExpectedTensor& expected : expected_tensors(config_)) {
      const bool matrix = expected.shape.size() > 1;
      const bool linear = expected.name != tensor_name(TensorRole::kEmbedding) &&
                          expected.name != tensor_name(TensorRole::kLmHead);
      const StorageFormat format = !matrix                             ? StorageFormat::kF32
                                   : is_float8(of_matrices) && !linear ? StorageFormat::kBF16
                                                                       : of_matrices;
      const auto bytes = storage_bytes(format, expected.shape);
      if (!bytes) {
        return error("{}: tensor '{}': {}", folder_.path(), expected.name, bytes.error().message);
      }
      tensors_.push_back({.name = std::move(expected.name),
                          .format = format,
                          .shape = std::move(expected.shape),
                          .dummy = true});
    }
    std::ranges::sort(tensors_, {}, &StoredTensor::name);
    return {};
  }

  Result<std::vector<StoredTensor>> map_shard(const std::string& path) {
    NEREID_TRY(auto mapped, MappedFile::open(path));
    NEREID_TRY_CONTEXT(auto tensors, safetensors::parse(mapped.bytes()), path);
    file_bytes_ += mapped.size();
    shards_.push_back(std::move(mapped));
    return tensors;
  }

  Status read_single() {
    if (!folder_.has(kWeights)) {
      return error("{}: found neither {} nor {}, expected one of them", folder_.path(), kWeights,
                   kIndex);
    }
    NEREID_TRY(tensors_, map_shard(folder_.file(kWeights)));
    return {};
  }

  Status read_shards() {
    NEREID_TRY(const json index, folder_.read_json(kIndex));
    NEREID_TRY_CONTEXT(const auto weight_map, read_weight_map(index), folder_.file(kIndex));
    std::map<std::string, size_t> files;  // -> number of tensors the index puts there
    for (const auto& [tensor, file] : weight_map) ++files[file];
    if (files.size() > kMaxShards) {
      return error("{}: found {} files, expected at most {}", folder_.file(kIndex), files.size(),
                   kMaxShards);
    }
    for (const auto& [file, count] : files) {
      NEREID_TRY(auto tensors, map_shard(folder_.file(file)));
      for (StoredTensor& tensor : tensors) {
        const auto at = weight_map.find(tensor.name);
        if (at == weight_map.end() || at->second != file) {
          return error("{}: tensor '{}': found in this file, but the index puts it {}",
                       folder_.file(file), printable(tensor.name),
                       at == weight_map.end() ? "nowhere" : "into " + at->second);
        }
        tensors_.push_back(std::move(tensor));
      }
      if (tensors.size() != count) {
        return error("{}: found {} tensors, expected {} as the index says", folder_.file(file),
                     tensors.size(), count);
      }
    }
    return {};
  }

  Folder folder_;
  OpenOptions options_;
  ModelConfig config_;
  GenerationDefaults generation_;
  std::vector<MappedFile> shards_;
  std::vector<StoredTensor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  uint64_t file_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_hf(const std::string& directory,
                                             const OpenOptions& options) {
  auto source = std::make_unique<HfSource>(directory, options);
  const Status status = source->read();
  if (!status) return std::unexpected(status.error());
  return source;
}

}  // namespace nereid
