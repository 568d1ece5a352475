// Hash table of loaded variants; choice, grid and argument checks of a launch.
#include "src/device/launcher.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/check.h"

namespace nereid {
namespace {

constexpr size_t kFirstTableSize = 256;
constexpr uint64_t kWorkspaceFlagBytes = uint64_t{64} << 10;  // as kernels/spec.py has them
constexpr uint64_t kMaxWorkspaceBytes = uint64_t{64} << 20;
constexpr size_t kMaxWorkspaceArgs = 32;

uint64_t hash_of(const KernelDecl& decl, std::span<const int64_t> key) {
  auto hash = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&decl));
  for (const int64_t value : key) {
    hash = (hash ^ static_cast<uint64_t>(value)) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 29;
  }
  return hash;
}

std::string key_value_text(const KeyFieldDecl& field, int64_t value) {
  if (field.kind == KeyKind::kDType) return std::string(dtype_name(static_cast<DType>(value)));
  return std::to_string(value);
}

// Bugs of the caller, cheap enough to look for on every launch.
void check_args(const KernelDecl& decl, std::span<const uint64_t> args) {
  NEREID_CHECK(args.size() == decl.args.size(), "{}: {} arguments, expected {}", decl.name,
               args.size(), decl.args.size());
  for (size_t at = 0; at < args.size(); ++at) {
    const ArgDecl& arg = decl.args[at];
    if (arg.divisible <= 1) continue;
    NEREID_CHECK(args[at] % arg.divisible == 0, "{}: '{}' = {:#x} is no multiple of {}", decl.name,
                 arg.name, args[at], arg.divisible);
    NEREID_CHECK(args[at] != 0 || arg.nullable || arg.kind != ArgKind::kPtr, "{}: '{}' is null",
                 decl.name, arg.name);
  }
}

Result<std::vector<int64_t>> tiles_in_order(const KernelDecl& decl, const PackChoice& choice) {
  std::vector<int64_t> values;
  for (const char* name : decl.tile_names) {
    const auto found =
        std::ranges::find(choice.tiles, name, &std::pair<std::string, int64_t>::first);
    if (found == choice.tiles.end()) return error("tile constant '{}' is missing", name);
    values.push_back(found->second);
  }
  return values;
}

}  // namespace

struct Launcher::Choice {
  int64_t max = std::numeric_limits<int64_t>::max();
  const LoadedKernel* kernel = nullptr;
  std::vector<int64_t> tiles;
  std::string label;
  bool takes_workspace = false;
};

struct Launcher::Variant {
  const KernelDecl* decl = nullptr;
  std::vector<int64_t> key;
  std::vector<Choice> choices;

  const Choice& choose(std::span<const uint64_t> args) const {
    if (decl->select_arg < 0) return choices.front();
    const auto value = static_cast<int64_t>(args[static_cast<size_t>(decl->select_arg)]);
    for (const Choice& choice : choices) {
      if (value <= choice.max) return choice;
    }
    return choices.back();
  }
};

std::string variant_text(const KernelDecl& decl, std::span<const int64_t> key) {
  NEREID_CHECK(key.size() == decl.key_fields.size(), "{}: {} key values, expected {}", decl.name,
               key.size(), decl.key_fields.size());
  std::string text = decl.name;
  text += '(';
  for (size_t at = 0; at < key.size(); ++at) {
    if (at > 0) text += ',';
    text += fmt::format("{}={}", decl.key_fields[at].name,
                        key_value_text(decl.key_fields[at], key[at]));
  }
  return text + ')';
}

std::string pack_request_json(std::span<const KernelVariant> variants) {
  std::vector<std::pair<std::string, nlohmann::ordered_json>> entries;
  for (const KernelVariant& variant : variants) {
    const KernelDecl& decl = *variant.decl;
    nlohmann::ordered_json key = nlohmann::ordered_json::object();
    for (size_t at = 0; at < variant.key.size(); ++at) {
      const KeyFieldDecl& field = decl.key_fields[at];
      if (field.kind == KeyKind::kDType) {
        key[field.name] = key_value_text(field, variant.key[at]);
      } else {
        key[field.name] = variant.key[at];
      }
    }
    nlohmann::ordered_json entry;
    entry["kernel"] = decl.name;
    entry["key"] = std::move(key);
    entries.emplace_back(variant_text(decl, variant.key), std::move(entry));
  }
  const auto text_of = [](const auto& entry) -> const std::string& { return entry.first; };
  std::ranges::sort(entries, {}, text_of);
  const auto repeated = std::ranges::unique(entries, {}, text_of);
  entries.erase(repeated.begin(), repeated.end());
  nlohmann::ordered_json request;
  request["variants"] = nlohmann::ordered_json::array();
  for (auto& [text, entry] : entries) request["variants"].push_back(std::move(entry));
  return request.dump();
}

Launcher::Launcher(Device& device, const Pack* pack)
    : device_(device), pack_(pack), table_(kFirstTableSize) {}

Launcher::~Launcher() {
  for (const DevicePtr workspace : workspaces_) device_.free(workspace);
}

Status Launcher::launch_slots(const KernelDecl& decl, std::span<const int64_t> key,
                              std::span<const uint64_t> args) {
  check_args(decl, args);
  NEREID_TRY(const Variant* variant, find_or_load(decl, key));
  const Choice& choice = variant->choose(args);
  LaunchParams params{.kernel = choice.kernel,
                      .args = args,
                      .label = choice.label.c_str(),
                      .decl = &decl,
                      .key = variant->key,
                      .role = role_};
  if (pack_ != nullptr) params.grid = decl.grid(key.data(), args.data(), choice.tiles.data());
  if (!choice.takes_workspace) return device_.launch(params);
  std::array<uint64_t, kMaxWorkspaceArgs> with_workspace;
  std::ranges::copy(args, with_workspace.begin());
  with_workspace[static_cast<size_t>(decl.workspace_arg)] = workspaces_.back();
  params.args = std::span(with_workspace).first(args.size());
  return device_.launch(params);
}

// Enough for the largest launch that runs this choice.
Status Launcher::add_workspace(const Variant& variant, Choice& choice) {
  const KernelDecl& decl = *variant.decl;
  if (decl.workspace == nullptr) return {};
  const bool bounded = choice.max != std::numeric_limits<int64_t>::max();
  std::vector<uint64_t> args(decl.args.size(), 0);
  args[static_cast<size_t>(decl.select_arg)] = bounded ? static_cast<uint64_t>(choice.max) : 1;
  const int64_t wanted = decl.workspace(variant.key.data(), args.data(), choice.tiles.data());
  if (wanted == 0) return {};
  if (!bounded || wanted < 0 || static_cast<uint64_t>(wanted) > kMaxWorkspaceBytes) {
    return error("{} bytes of workspace for {} {}, expected up to {}", wanted,
                 bounded ? fmt::format("at most {}", choice.max) : "any number of",
                 decl.args[static_cast<size_t>(decl.select_arg)].name, kMaxWorkspaceBytes);
  }
  NEREID_CHECK(decl.args.size() <= kMaxWorkspaceArgs, "{}: {} arguments", decl.name,
               decl.args.size());
  choice.takes_workspace = true;
  const uint64_t bytes = kWorkspaceFlagBytes + static_cast<uint64_t>(wanted);
  if (bytes <= workspace_bytes_) return {};
  NEREID_TRY_CONTEXT(const DevicePtr workspace, device_.alloc(bytes), "workspace of kernels");
  workspaces_.push_back(workspace);
  workspace_bytes_ = bytes;
  return device_.upload(workspace, std::vector<std::byte>(kWorkspaceFlagBytes));
}

Result<const Launcher::Variant*> Launcher::find_or_load(const KernelDecl& decl,
                                                        std::span<const int64_t> key) {
  const uint64_t hash = hash_of(decl, key);
  for (size_t at = hash & (table_.size() - 1);; at = (at + 1) & (table_.size() - 1)) {
    const Slot& slot = table_[at];
    if (slot.variant == nullptr) break;
    if (slot.hash == hash && slot.variant->decl == &decl &&
        std::ranges::equal(slot.variant->key, key)) {
      return slot.variant;
    }
  }
  NEREID_TRY_CONTEXT(std::unique_ptr<Variant> loaded, load(decl, key), variant_text(decl, key));
  variants_.push_back(std::move(loaded));
  if (variants_.size() * 2 > table_.size()) {
    table_.assign(table_.size() * 2, {});
    for (const auto& variant : variants_)
      insert(variant.get(), hash_of(*variant->decl, variant->key));
  } else {
    insert(variants_.back().get(), hash);
  }
  return variants_.back().get();
}

void Launcher::insert(const Variant* variant, uint64_t hash) {
  size_t at = hash & (table_.size() - 1);
  while (table_[at].variant != nullptr) at = (at + 1) & (table_.size() - 1);
  table_[at] = {hash, variant};
}

Result<std::unique_ptr<Launcher::Variant>> Launcher::load(const KernelDecl& decl,
                                                          std::span<const int64_t> key) {
  auto variant = std::make_unique<Variant>();
  variant->decl = &decl;
  variant->key.assign(key.begin(), key.end());
  if (pack_ != nullptr) {
    NEREID_RETURN_IF_ERROR(load_choices(*variant));
    return variant;
  }
  Choice choice;
  choice.label = variant_text(decl, key);
  const KernelImage image{.entry = decl.name, .num_args = static_cast<uint32_t>(decl.args.size())};
  NEREID_TRY(choice.kernel, device_.load(image));
  variant->choices.push_back(std::move(choice));
  return variant;
}

Status Launcher::load_choices(Variant& variant) {
  const KernelDecl& decl = *variant.decl;
  std::vector<PackKeyField> fields;
  for (size_t at = 0; at < variant.key.size(); ++at) {
    const KeyFieldDecl& field = decl.key_fields[at];
    fields.push_back({field.name, key_value_text(field, variant.key[at])});
  }
  const PackVariant* packed = pack_->find(decl.name, std::move(fields));
  if (packed == nullptr) return error("not in the pack {}", pack_->path());
  for (const PackChoice& from : packed->choices) {
    if (from.num_args != decl.args.size()) {
      return error("{}: packed with {} arguments, declared with {}", pack_->path(), from.num_args,
                   decl.args.size());
    }
    Choice choice;
    if (from.max) choice.max = *from.max;
    NEREID_TRY_CONTEXT(choice.tiles, tiles_in_order(decl, from), pack_->path());
    choice.label = fmt::format("{}#{}", variant_text(decl, variant.key), variant.choices.size());
    const KernelImage image{.blob = from.blob,
                            .entry = from.entry,
                            .num_args = from.num_args,
                            .scratch_bytes = from.scratch_bytes,
                            .shared_bytes = from.shared_bytes,
                            .num_warps = from.num_warps,
                            .num_ctas = from.num_ctas,
                            .launch_pdl = from.launch_pdl};
    NEREID_TRY_CONTEXT(choice.kernel, device_.load(image), pack_->path());
    NEREID_RETURN_IF_ERROR(add_workspace(variant, choice));
    variant.choices.push_back(std::move(choice));
  }
  return {};
}

Status Launcher::prepare(std::span<const KernelVariant> variants) {
  for (const KernelVariant& variant : variants) {
    NEREID_TRY([[maybe_unused]] const Variant* loaded, find_or_load(*variant.decl, variant.key));
  }
  return {};
}

const std::string& Launcher::target() const {
  return pack_ ? pack_->target() : device_.info().target;
}

std::vector<KernelVariant> Launcher::variants() const {
  std::vector<KernelVariant> list;
  for (const auto& variant : variants_) list.push_back({variant->decl, variant->key});
  return list;
}

}  // namespace nereid
