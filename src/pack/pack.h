// A pack: one mapped file with every kernel a model needs for one target (docs/pack-format.md).
//
// Design goals:
//   - a pack is verified as a whole before anything of it is used: hostile bytes give an Error;
//   - what it hands out are views into the mapping: nothing is copied but the manifest.
// Non-goals:
//   - knowing kernels, dtypes or devices: those live above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/mapped_file.h"
#include "src/base/result.h"

namespace nereid {

// One tile choice of a variant, compiled.
struct PackChoice {
  std::optional<int64_t> max;  // of the select argument; nullopt: no bound (the last choice)
  std::vector<std::pair<std::string, int64_t>> tiles;
  std::string entry;
  uint32_t num_args = 0;
  uint64_t scratch_bytes = 0;
  uint32_t num_warps = 0;
  uint32_t shared_bytes = 0;
  uint32_t num_ctas = 1;
  bool launch_pdl = false;
  std::span<const std::byte> blob;  // lives as long as the pack
};

struct PackKeyField {
  std::string name;
  std::string value;  // integers in decimal, dtypes by short name

  auto operator<=>(const PackKeyField&) const = default;
};

struct PackVariant {
  std::string kernel;
  std::vector<PackKeyField> key;    // sorted by name
  std::vector<PackChoice> choices;  // ascending max, unbounded last
};

class Pack {
 public:
  // Reads and verifies all of it. `targets`: what the device can run; empty accepts every target.
  static Result<Pack> open(const std::string& path, std::span<const std::string> targets);

  // Key fields in any order. Null when the pack has no such variant.
  const PackVariant* find(std::string_view kernel, std::vector<PackKeyField> key) const;

  const std::vector<PackVariant>& variants() const { return variants_; }
  const std::string& path() const { return file_.path(); }
  const std::string& target() const { return target_; }
  const std::string& triton_version() const { return triton_version_; }
  const std::string& sources_sha256() const { return sources_sha256_; }
  const std::string& toolchain() const { return toolchain_; }
  uint64_t file_bytes() const { return file_.size(); }

 private:
  explicit Pack(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  std::string target_, triton_version_, sources_sha256_, toolchain_;
  std::vector<PackVariant> variants_;
  std::unordered_map<std::string, size_t> index_;  // variant_name -> position in variants_
};

// "rms_norm(dim=576,out_dtype=bf16)": kernel and key fields, sorted by name.
std::string variant_name(std::string_view kernel, std::span<const PackKeyField> sorted_key);

}  // namespace nereid
