// Every field is looked up with its type and range; the first that is wrong is named in the error.
#include "src/pack/manifest.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/json.h"

namespace nereid {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "NEREIDPK";
constexpr uint64_t kHeaderBytes = 16;
constexpr uint64_t kMaxManifestBytes = uint64_t{16} << 20;
constexpr uint64_t kBlobAlign = 4096;
constexpr int64_t kFormatVersion = 1;
constexpr int64_t kKernelAbi = 1;
constexpr int64_t kMaxScratchBytes = int64_t{1} << 32;
constexpr size_t kMaxNameBytes = 512;

Result<const json*> field(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return error("field '{}' is missing", name);
  return &*found;
}

Result<int64_t> int_field(const json& object, const char* name, int64_t min, int64_t max) {
  NEREID_TRY(const json* value, field(object, name));
  // Numbers above int64 parse as unsigned; get<int64_t> would wrap them.
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() ||
                     value->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits || value->get<int64_t>() < min || value->get<int64_t>() > max) {
    return error("field '{}': expected an integer from {} to {}", printable(name), min, max);
  }
  return value->get<int64_t>();
}

Result<std::string> string_field(const json& object, const char* name) {
  NEREID_TRY(const json* value, field(object, name));
  if (!value->is_string() || value->get_ref<const std::string&>().size() > kMaxNameBytes) {
    return error("field '{}': expected a string of at most {} bytes", name, kMaxNameBytes);
  }
  return value->get<std::string>();
}

Result<const json*> array_field(const json& object, const char* name) {
  NEREID_TRY(const json* value, field(object, name));
  if (!value->is_array()) return error("field '{}': expected an array", name);
  return value;
}

Result<const json*> object_field(const json& object, const char* name) {
  NEREID_TRY(const json* value, field(object, name));
  if (!value->is_object()) return error("field '{}': expected an object", name);
  return value;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Result<std::vector<PackKeyField>> parse_key(const json& key) {
  std::vector<PackKeyField> fields;
  for (const auto& [name, value] : key.items()) {  // nlohmann::json keeps names sorted
    if (value.is_string()) {
      fields.push_back({name, value.get<std::string>()});
    } else if (value.is_number_integer()) {
      fields.push_back({name, value.dump()});
    } else if (value.is_boolean()) {
      fields.push_back({name, value.get<bool>() ? "1" : "0"});
    } else {
      return error("key field '{}': expected an integer or a string", printable(name));
    }
  }
  return fields;
}

Result<std::vector<std::pair<std::string, int64_t>>> parse_tiles(const json& tiles) {
  std::vector<std::pair<std::string, int64_t>> values;
  for (const auto& entry : tiles.items()) {
    NEREID_TRY_CONTEXT(const int64_t value,
                       int_field(tiles, entry.key().c_str(), 0, int64_t{1} << 40), "tiles");
    values.emplace_back(entry.key(), value);
  }
  return values;
}

Result<BlobClaim> parse_blob(const json& blob, uint64_t file_bytes) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  BlobClaim claim;
  NEREID_TRY(claim.offset, int_field(blob, "offset", 0, kMax));
  NEREID_TRY(claim.size, int_field(blob, "size", 1, kMax));
  NEREID_TRY(claim.sha256, string_field(blob, "sha256"));
  if (!is_sha256(claim.sha256)) return error("field 'sha256': expected 64 hexadecimal digits");
  if (claim.offset % kBlobAlign != 0) {
    return error("offset {} is no multiple of {}", claim.offset, kBlobAlign);
  }
  if (claim.offset > file_bytes || claim.size > file_bytes - claim.offset) {
    return error("{} bytes at {} end after the file, which has {} bytes", claim.size, claim.offset,
                 file_bytes);
  }
  return claim;
}

Result<PackChoice> parse_choice(const json& choice, std::span<const std::byte> file,
                                std::vector<BlobClaim>& blobs) {
  constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
  if (!choice.is_object()) return error("expected an object");
  PackChoice parsed;
  NEREID_TRY(const json* max, field(choice, "max"));
  if (!max->is_null()) {
    NEREID_TRY(parsed.max, int_field(choice, "max", 0, std::numeric_limits<int64_t>::max()));
  }
  NEREID_TRY(const json* tiles, object_field(choice, "tiles"));
  NEREID_TRY(parsed.tiles, parse_tiles(*tiles));
  NEREID_TRY(parsed.entry, string_field(choice, "entry"));
  if (parsed.entry.empty() || parsed.entry.find('\0') != std::string::npos) {
    return error("field 'entry': expected a symbol name");
  }
  NEREID_TRY(parsed.num_args, int_field(choice, "num_args", 0, 1024));
  NEREID_TRY(parsed.scratch_bytes, int_field(choice, "scratch_bytes", 0, kMaxScratchBytes));
  NEREID_TRY(parsed.num_warps, int_field(choice, "num_warps", 0, 1024));
  NEREID_TRY(parsed.shared_bytes, int_field(choice, "shared_bytes", 0, kMax32));
  if (choice.contains("num_ctas")) {
    NEREID_TRY(parsed.num_ctas, int_field(choice, "num_ctas", 1, 1024));
  }
  if (choice.contains("launch_pdl")) {
    if (!choice["launch_pdl"].is_boolean()) return error("field 'launch_pdl': expected a boolean");
    parsed.launch_pdl = choice["launch_pdl"].get<bool>();
  }
  NEREID_TRY(const json* blob, object_field(choice, "blob"));
  NEREID_TRY_CONTEXT(BlobClaim claim, parse_blob(*blob, file.size()), "blob");
  parsed.blob = file.subspan(claim.offset, claim.size);
  blobs.push_back(std::move(claim));
  return parsed;
}

Status check_order(std::span<const PackChoice> choices) {
  if (choices.empty()) return error("no choices");
  if (choices.back().max) return error("the last choice has a bound, expected \"max\": null");
  int64_t before = -1;
  for (size_t at = 0; at + 1 < choices.size(); ++at) {
    const PackChoice& choice = choices[at];
    if (!choice.max) return error("choice {} has no bound and is not the last", at);
    if (*choice.max <= before) return error("choice {}: max {} does not ascend", at, *choice.max);
    before = *choice.max;
  }
  return {};
}

Result<PackVariant> parse_variant(const json& entry, std::span<const std::byte> file,
                                  std::vector<BlobClaim>& blobs) {
  if (!entry.is_object()) return error("expected an object");
  PackVariant variant;
  NEREID_TRY(variant.kernel, string_field(entry, "kernel"));
  NEREID_TRY(const json* key, object_field(entry, "key"));
  NEREID_TRY(variant.key, parse_key(*key));
  const std::string name = printable(variant_name(variant.kernel, variant.key), 512);
  NEREID_TRY_CONTEXT(const json* choices, array_field(entry, "choices"), name);
  for (const json& choice : *choices) {
    const std::string what = fmt::format("{} choice {}", name, variant.choices.size());
    NEREID_TRY_CONTEXT(PackChoice parsed, parse_choice(choice, file, blobs), what);
    blobs.back().what = what;
    variant.choices.push_back(std::move(parsed));
  }
  if (auto ordered = check_order(variant.choices); !ordered) {
    return with_context(ordered.error(), name);
  }
  return variant;
}

// The manifest's text, after the frame has been checked.
Result<std::string_view> manifest_text(std::span<const std::byte> file) {
  static_assert(std::endian::native == std::endian::little);
  if (file.size() < kHeaderBytes) {
    return error("{} bytes, expected a pack (at least {} bytes)", file.size(), kHeaderBytes);
  }
  if (std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return error("does not begin with {}: no pack", kMagic);
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data() + kMagic.size(), sizeof(length));
  if (length > kMaxManifestBytes) {
    return error("manifest of {} bytes, expected at most {}", length, kMaxManifestBytes);
  }
  if (length > file.size() - kHeaderBytes) {
    return error("manifest of {} bytes ends after the file, which has {} bytes", length,
                 file.size());
  }
  return std::string_view(reinterpret_cast<const char*>(file.data()) + kHeaderBytes, length);
}

Status check_version(const json& root) {
  NEREID_TRY(const std::string format, string_field(root, "format"));
  if (format != "nereid-pack")
    return error("format '{}', expected 'nereid-pack'", printable(format));
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  NEREID_TRY(const int64_t version, int_field(root, "version", 0, kMax));
  if (version != kFormatVersion) {
    return error("pack version {}, expected {}", version, kFormatVersion);
  }
  NEREID_TRY(const int64_t abi, int_field(root, "kernel_abi", 0, kMax));
  if (abi != kKernelAbi) return error("kernel ABI {}, expected {}", abi, kKernelAbi);
  return {};
}

Status check_overlaps(std::vector<BlobClaim> blobs, uint64_t manifest_end) {
  std::ranges::sort(blobs, {}, &BlobClaim::offset);
  for (size_t at = 0; at < blobs.size(); ++at) {
    const BlobClaim& blob = blobs[at];
    if (blob.offset < manifest_end) return error("{}: blob overlaps the manifest", blob.what);
    if (at > 0 && blobs[at - 1].offset + blobs[at - 1].size > blob.offset) {
      return error("{}: blob overlaps that of {}", blob.what, blobs[at - 1].what);
    }
  }
  return {};
}

}  // namespace

Result<Manifest> parse_manifest(std::span<const std::byte> file) {
  NEREID_TRY(const std::string_view text, manifest_text(file));
  NEREID_TRY_CONTEXT(const json root,
                     parse_json(text, {.max_bytes = kMaxManifestBytes, .max_depth = 8}),
                     "manifest");
  if (!root.is_object()) return error("manifest: expected an object");
  if (auto version = check_version(root); !version) {
    return with_context(version.error(), "manifest");
  }
  Manifest manifest;
  NEREID_TRY_CONTEXT(manifest.target, string_field(root, "target"), "manifest");
  NEREID_TRY_CONTEXT(manifest.triton_version, string_field(root, "triton"), "manifest");
  NEREID_TRY_CONTEXT(manifest.sources_sha256, string_field(root, "sources_sha256"), "manifest");
  NEREID_TRY_CONTEXT(manifest.toolchain, string_field(root, "toolchain"), "manifest");
  NEREID_TRY_CONTEXT(const json* kernels, array_field(root, "kernels"), "manifest");
  for (const json& entry : *kernels) {
    NEREID_TRY_CONTEXT(PackVariant variant, parse_variant(entry, file, manifest.blobs),
                       fmt::format("manifest: kernel {}", manifest.variants.size()));
    manifest.variants.push_back(std::move(variant));
  }
  NEREID_RETURN_IF_ERROR(check_overlaps(manifest.blobs, kHeaderBytes + text.size()));
  return manifest;
}

}  // namespace nereid
