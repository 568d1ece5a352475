// Maps a GGUF file and presents it under canonical tensor names.
#include "src/weights/gguf_source.h"

#include <algorithm>

#include "src/base/json.h"
#include "src/base/mapped_file.h"
#include "src/weights/config_check.h"
#include "src/weights/gguf_config.h"
#include "src/weights/gguf_reader.h"
#include "src/weights/tensor_table.h"

namespace nereid {
namespace {

constexpr std::string_view kTemplateKey = "tokenizer.chat_template";
constexpr std::string_view kRopeFrequencies = "rope_freqs.weight";  // in the config, not a weight

std::string value_text(const gguf::Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, gguf::Array>) {
          return fmt::format("{} of {}", held.count, gguf::value_type_name(held.element));
        } else {
          return fmt::format("{}", held);
        }
      },
      value.value);
}

Result<std::vector<StoredTensor>> canonical_tensors(const gguf::File& file,
                                                    const ModelConfig& config) {
  std::vector<StoredTensor> tensors;
  tensors.reserve(file.tensors.size());
  for (const gguf::Tensor& tensor : file.tensors) {
    if (tensor.name == kRopeFrequencies) continue;
    std::optional<std::string> name = canonical_from_gguf(tensor.name);
    if (!name) {
      return error("tensor '{}': not a tensor of a {} model", printable(tensor.name),
                   config.architecture);
    }
    tensors.push_back({.name = std::move(*name),
                       .format = tensor.format,
                       .shape = tensor.shape,
                       .bytes = tensor.bytes,
                       .file_name = std::string(tensor.name)});
  }
  std::ranges::sort(tensors, {}, &StoredTensor::name);
  return tensors;
}

class GgufSource final : public ModelSource {
 public:
  GgufSource(MappedFile mapped, gguf::File file)
      : mapped_(std::move(mapped)), file_(std::move(file)) {}

  Status read() {
    NEREID_TRY(config_, gguf::read_config(file_));
    NEREID_RETURN_IF_ERROR(check_config(config_));
    NEREID_TRY(generation_, gguf::read_generation_defaults(file_, config_.vocab_size));
    NEREID_TRY(tensors_, canonical_tensors(file_, config_));
    return check_tensors(config_, tensors_, gguf_from_canonical);
  }

  const ModelConfig& config() const override { return config_; }
  const GenerationDefaults& generation() const override { return generation_; }
  std::span<const StoredTensor> tensors() const override { return tensors_; }
  uint64_t file_bytes() const override { return mapped_.size(); }

  Result<std::shared_ptr<text::Tokenizer>> tokenizer() const override {
    NEREID_TRY_CONTEXT(const auto vocabulary, vocabulary_checked(), mapped_.path());
    auto tokenizer = text::Tokenizer::from_gguf(vocabulary);
    if (!tokenizer) return with_context(tokenizer.error(), mapped_.path());
    return tokenizer;
  }

  Result<std::shared_ptr<text::ChatTemplate>> chat_template() const override {
    const gguf::Value* value = file_.find(kTemplateKey);
    if (value == nullptr) return nullptr;
    const auto* source = std::get_if<std::string_view>(&value->value);
    const std::string context = fmt::format("{}: key '{}'", mapped_.path(), kTemplateKey);
    if (source == nullptr) {
      return error("{}: found type {}, expected string", context,
                   gguf::value_type_name(value->type));
    }
    NEREID_TRY_CONTEXT(const auto vocabulary, vocabulary_checked(), mapped_.path());
    const auto token = [&](int32_t id) {
      return id < 0 ? std::string() : vocabulary.tokens[static_cast<size_t>(id)];
    };
    auto parsed = text::ChatTemplate::parse(
        *source, {.bos_token = token(vocabulary.bos_id), .eos_token = token(vocabulary.eos_id)});
    if (!parsed) return with_context(parsed.error(), context);
    return parsed;
  }

  std::vector<std::pair<std::string, std::string>> metadata() const override {
    std::vector<std::pair<std::string, std::string>> out;
    for (const gguf::KeyValue& entry : file_.metadata) {
      out.emplace_back(entry.key, value_text(entry.value));
    }
    return out;
  }

  void release(const StoredTensor& tensor) const override {
    mapped_.release(static_cast<uint64_t>(tensor.bytes.data() - mapped_.bytes().data()),
                    tensor.bytes.size());
  }

 private:
  // A vocabulary larger than the embedding table could produce ids without a row.
  Result<text::GgufVocabulary> vocabulary_checked() const {
    NEREID_TRY(auto vocabulary, gguf::read_vocabulary(file_));
    if (vocabulary.tokens.size() > static_cast<size_t>(config_.vocab_size)) {
      return error(
          "key 'tokenizer.ggml.tokens': found {} tokens, expected at most {}, the rows of "
          "the embedding table",
          vocabulary.tokens.size(), config_.vocab_size);
    }
    return vocabulary;
  }

  MappedFile mapped_;
  gguf::File file_;
  ModelConfig config_;
  GenerationDefaults generation_;
  std::vector<StoredTensor> tensors_;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path) {
  NEREID_TRY(auto mapped, MappedFile::open(path));
  NEREID_TRY_CONTEXT(auto file, gguf::parse(mapped.bytes()), path);
  auto source = std::make_unique<GgufSource>(std::move(mapped), std::move(file));
  const Status status = source->read();
  if (!status) return with_context(status.error(), path);
  return source;
}

}  // namespace nereid
