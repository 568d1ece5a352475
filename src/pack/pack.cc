// Opening a pack: manifest, digests of the blobs, index of the variants.
#include "src/pack/pack.h"

#include <algorithm>

#include "src/base/json.h"
#include "src/base/sha256.h"
#include "src/pack/manifest.h"

namespace nereid {
namespace {

Status check_digests(const Manifest& manifest, std::span<const std::byte> file) {
  for (const BlobClaim& blob : manifest.blobs) {
    if (sha256_hex(file.subspan(blob.offset, blob.size)) != blob.sha256) {
      return error("{}: SHA-256 of the blob differs from the manifest's", blob.what);
    }
  }
  return {};
}

Status check_target(const std::string& target, std::span<const std::string> targets) {
  if (targets.empty() || std::ranges::find(targets, target) != targets.end()) return {};
  return error("made for {}, this device runs {}", printable(target), fmt::join(targets, ", "));
}

}  // namespace

std::string variant_name(std::string_view kernel, std::span<const PackKeyField> sorted_key) {
  std::string name(kernel);
  name += '(';
  for (const PackKeyField& field : sorted_key) {
    if (name.back() != '(') name += ',';
    name += field.name + '=' + field.value;
  }
  return name + ')';
}

Result<Pack> Pack::open(const std::string& path, std::span<const std::string> targets) {
  NEREID_TRY(MappedFile file, MappedFile::open(path));
  Pack pack(std::move(file));
  NEREID_TRY_CONTEXT(Manifest manifest, parse_manifest(pack.file_.bytes()), path);
  if (auto ok = check_target(manifest.target, targets); !ok) return with_context(ok.error(), path);
  if (auto ok = check_digests(manifest, pack.file_.bytes()); !ok) {
    return with_context(ok.error(), path);
  }
  for (size_t at = 0; at < manifest.variants.size(); ++at) {
    const PackVariant& variant = manifest.variants[at];
    std::string name = variant_name(variant.kernel, variant.key);
    if (!pack.index_.emplace(name, at).second)
      return error("{}: {} twice", path, printable(name, 512));
  }
  pack.target_ = std::move(manifest.target);
  pack.triton_version_ = std::move(manifest.triton_version);
  pack.sources_sha256_ = std::move(manifest.sources_sha256);
  pack.toolchain_ = std::move(manifest.toolchain);
  pack.variants_ = std::move(manifest.variants);
  return pack;
}

const PackVariant* Pack::find(std::string_view kernel, std::vector<PackKeyField> key) const {
  std::sort(key.begin(), key.end());
  const auto found = index_.find(variant_name(kernel, key));
  return found == index_.end() ? nullptr : &variants_[found->second];
}

}  // namespace nereid
