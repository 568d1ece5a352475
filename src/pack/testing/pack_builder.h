// Packs made by tests: well-formed ones, and ones that lie.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace nereid::testing {

// Holds the parts of a pack; whoever wants a broken one changes them before bytes().
struct PackBuilder {
  nlohmann::ordered_json manifest;
  std::string blobs;            // follows the manifest at `blob_start`
  uint64_t blob_start = 65536;  // room for the manifest; a multiple of 4096

  explicit PackBuilder(const std::string& target = "cpu:x86-64-v3");

  // Appends an empty variant; its choices go to add_choice.
  void add_variant(const std::string& kernel, const nlohmann::ordered_json& key);

  struct Choice {
    std::string entry = "kernel";
    uint32_t num_args = 0;
    uint64_t scratch_bytes = 0;
    nlohmann::ordered_json max = nullptr;
    nlohmann::ordered_json tiles = nlohmann::ordered_json::object();
    std::string blob = "code";
  };
  // Appends to the last variant.
  void add_choice(const Choice& choice);

  nlohmann::ordered_json& choice(size_t kernel, size_t at) {
    return manifest["kernels"][kernel]["choices"][at];
  }

  std::string bytes() const;
};

}  // namespace nereid::testing
