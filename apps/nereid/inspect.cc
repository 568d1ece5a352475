// nereid inspect: what is in a model or in a pack, without running either.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/default_model.h"
#include "apps/nereid/options.h"
#include "src/base/json.h"
#include "src/base/numbers.h"
#include "src/pack/pack.h"
#include "src/weights/source.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMaxShownName = 256;
constexpr size_t kMaxShownValue = 100;

struct InspectOptions {
  ModelOptions model;
  std::string file;
  bool json = false, tensors = false;
};

constexpr const char* kInspectFooter = R"(
A model shows its hyper-parameters, formats and metadata (--tensors lists every tensor); a pack shows
its target and kernels, after every checksum was verified.)";

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Json config_json(const ModelConfig& config) {
  return {{"architecture", config.architecture},
          {"name", config.name},
          {"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_layers", config.num_layers},
          {"num_heads", config.num_heads},
          {"num_kv_heads", config.num_kv_heads},
          {"head_dim", config.head_dim},
          {"rotary_dim", config.rotary_dim},
          {"max_position", config.max_position},
          {"sliding_window", config.sliding_window},
          {"rms_norm_eps", config.rms_norm_eps},
          {"rope_theta", config.rope_theta},
          {"hidden_act", config.hidden_act},
          {"qk_norm", config.qk_norm},
          {"attention_bias", config.attention_bias},
          {"tie_word_embeddings", config.tie_word_embeddings}};
}

Json tensors_json(const ModelSource& source) {
  Json list = Json::array();
  for (const StoredTensor& tensor : source.tensors()) {
    list.push_back({{"name", tensor.name},
                    {"format", storage_info(tensor.format).name},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes.size()}});
  }
  return list;
}

struct FormatTotal {
  size_t tensors = 0;
  uint64_t bytes = 0;
};

std::map<std::string, FormatTotal> totals_by_format(const ModelSource& source) {
  std::map<std::string, FormatTotal> totals;
  for (const StoredTensor& tensor : source.tensors()) {
    FormatTotal& total = totals[std::string(storage_info(tensor.format).name)];
    ++total.tensors;
    total.bytes += tensor.bytes.size();
  }
  return totals;
}

Json model_json(const ModelSource& source, const InspectOptions& options) {
  Json formats = Json::object();
  for (const auto& [name, total] : totals_by_format(source)) {
    formats[name] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
  }
  Json metadata = Json::object();
  for (const auto& [key, value] : source.metadata()) metadata[key] = value;
  Json object = {{"kind", "model"},
                 {"file_bytes", source.file_bytes()},
                 {"config", config_json(source.config())},
                 {"eos_ids", source.generation().eos_ids},
                 {"formats", std::move(formats)},
                 {"metadata", std::move(metadata)}};
  if (options.tensors) object["tensors"] = tensors_json(source);
  return object;
}

// What a file says goes to a terminal: no control bytes.
std::string shown(std::string_view name) {
  return printable(name, kMaxShownName);
}

// The first line of a value.
std::string cut(std::string_view value) {
  const std::string_view line = value.substr(0, value.find('\n'));
  const bool has_more = line.size() < value.size() && line.size() <= kMaxShownValue;
  return printable(line, kMaxShownValue) + (has_more ? "..." : "");
}

void print_model(const ModelSource& source, const InspectOptions& options, Output& out) {
  out.line(fmt::format("model, {}", format_bytes(source.file_bytes())));
  const Json config = config_json(source.config());
  for (const auto& [key, value] : config.items()) {
    out.line(fmt::format("  {:<22} {}", key,
                         value.is_string() ? shown(value.get<std::string>()) : value.dump()));
  }
  out.line("formats");
  for (const auto& [name, total] : totals_by_format(source)) {
    out.line(fmt::format("  {:<12} {:>5} tensors {:>12}", name, total.tensors,
                         format_bytes(total.bytes)));
  }
  out.line("metadata");
  for (const auto& [key, value] : source.metadata()) {
    out.line(fmt::format("  {} = {}", shown(key), cut(value)));
  }
  if (!options.tensors) return;
  out.line("tensors");
  for (const StoredTensor& tensor : source.tensors()) {
    out.line(fmt::format("  {:<52} {:<12} {:<18} {:>12}", shown(tensor.name),
                         storage_info(tensor.format).name, shape_text(tensor.shape),
                         format_bytes(tensor.bytes.size())));
  }
}

Json pack_json(const Pack& pack) {
  Json variants = Json::array();
  for (const PackVariant& variant : pack.variants()) {
    Json choices = Json::array();
    for (const PackChoice& choice : variant.choices) {
      Json tiles = Json::object();
      for (const auto& [name, value] : choice.tiles) tiles[name] = value;
      const std::optional<int64_t> max = choice.max;
      choices.push_back({{"max", max ? Json(*max) : Json(nullptr)},
                         {"tiles", std::move(tiles)},
                         {"scratch_bytes", choice.scratch_bytes},
                         {"bytes", choice.blob.size()}});
    }
    variants.push_back(
        {{"variant", variant_name(variant.kernel, variant.key)}, {"choices", std::move(choices)}});
  }
  return {{"kind", "pack"},
          {"file_bytes", pack.file_bytes()},
          {"target", pack.target()},
          {"triton", pack.triton_version()},
          {"sources_sha256", pack.sources_sha256()},
          {"toolchain", pack.toolchain()},
          {"variants", std::move(variants)}};
}

void print_pack(const Pack& pack, Output& out) {
  out.line(fmt::format("pack, {}, target {}, {} variants, checksums verified",
                       format_bytes(pack.file_bytes()), shown(pack.target()),
                       pack.variants().size()));
  out.line(fmt::format("triton {}, kernel sources {}", shown(pack.triton_version()),
                       shown(pack.sources_sha256())));
  for (const PackVariant& variant : pack.variants()) {
    out.line(shown(variant_name(variant.kernel, variant.key)));
    for (const PackChoice& choice : variant.choices) {
      std::string tiles;
      for (const auto& [name, value] : choice.tiles)
        tiles += fmt::format(" {}={}", shown(name), value);
      const std::optional<int64_t> max = choice.max;
      out.line(fmt::format("  {:>10}{}, {}", max ? fmt::format("<= {}", *max) : "any", tiles,
                           format_bytes(choice.blob.size())));
    }
  }
}

bool is_pack(const std::string& path) {
  char magic[8] = {};
  std::ifstream file(path, std::ios::binary);
  return file.read(magic, sizeof magic) && std::memcmp(magic, "NEREIDPK", sizeof magic) == 0;
}

std::string json_text(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace);
}

Result<int> inspect(const InspectOptions& options, Environment& environment) {
  NEREID_TRY(const std::string path,
             resolve_model(options.file.empty() ? options.model.model : options.file));
  if (is_pack(path)) {
    NEREID_TRY(const Pack pack, Pack::open(path, {}));
    if (options.json) {
      environment.out.line(json_text(pack_json(pack)));
    } else {
      print_pack(pack, environment.out);
    }
    return 0;
  }
  NEREID_TRY(const auto source, open_model(path));
  if (options.json) {
    environment.out.line(json_text(model_json(*source, options)));
  } else {
    print_model(*source, options, environment.out);
  }
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Show what is in a model or a pack");
  CLI::Option* file = command->add_option("FILE", options->file, "Model or pack, the same as -m");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_flag("--tensors", options->tensors, "List every tensor of a model");
  add_model_option(*command, options->model);
  file->excludes(command->get_option("--model"));
  command->footer(kInspectFooter);
  command->callback([options, &environment] {
    environment.action = [options, &environment] { return inspect(*options, environment); };
  });
}

}  // namespace nereid::commands
