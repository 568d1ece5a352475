// The manifest of a pack: JSON of a fixed shape into plain structs. Internal to src/pack.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/pack/pack.h"

namespace nereid {

// A blob as the manifest claims it, checked against the file's size only.
struct BlobClaim {
  uint64_t offset = 0, size = 0;
  std::string sha256;
  std::string what;  // "rms_norm(...) choice 0", for errors
};

struct Manifest {
  std::string target, triton_version, sources_sha256, toolchain;
  std::vector<PackVariant> variants;  // `blob` set to the claimed range of the file
  std::vector<BlobClaim> blobs;       // in the order of variants and choices
};

// `file` is the whole pack. Checks the frame, the shape of the manifest and every bound in it.
Result<Manifest> parse_manifest(std::span<const std::byte> file);

}  // namespace nereid
