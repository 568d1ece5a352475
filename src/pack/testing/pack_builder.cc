// Writes what docs/pack-format.md says, independently of the reader.
#include "src/pack/testing/pack_builder.h"

#include "src/base/check.h"
#include "src/base/sha256.h"

namespace nereid::testing {

PackBuilder::PackBuilder(const std::string& target) {
  manifest["format"] = "nereid-pack";
  manifest["version"] = 1;
  manifest["target"] = target;
  manifest["kernel_abi"] = 1;
  manifest["triton"] = "3.9.0";
  manifest["sources_sha256"] = std::string(64, 'a');
  manifest["toolchain"] = "test";
  manifest["kernels"] = nlohmann::ordered_json::array();
}

void PackBuilder::add_variant(const std::string& kernel, const nlohmann::ordered_json& key) {
  nlohmann::ordered_json variant;
  variant["kernel"] = kernel;
  variant["key"] = key;
  variant["choices"] = nlohmann::ordered_json::array();
  manifest["kernels"].push_back(std::move(variant));
}

void PackBuilder::add_choice(const Choice& choice) {
  const uint64_t offset = blob_start + blobs.size();
  nlohmann::ordered_json entry;
  entry["max"] = choice.max;
  entry["tiles"] = choice.tiles;
  entry["entry"] = choice.entry;
  entry["num_args"] = choice.num_args;
  entry["scratch_bytes"] = choice.scratch_bytes;
  entry["num_warps"] = 4;
  entry["shared_bytes"] = 0;
  entry["blob"] = {
      {"offset", offset}, {"size", choice.blob.size()}, {"sha256", sha256_hex(choice.blob)}};
  manifest["kernels"].back()["choices"].push_back(std::move(entry));
  blobs += choice.blob;
  blobs.resize((blobs.size() + 4095) / 4096 * 4096, '\0');
}

std::string PackBuilder::bytes() const {
  const std::string text = manifest.dump();
  NEREID_CHECK(16 + text.size() <= blob_start, "manifest of {} bytes", text.size());
  std::string file = "NEREIDPK";
  for (int shift = 0; shift < 64; shift += 8) {
    file += static_cast<char>(text.size() >> shift & 0xFF);
  }
  file += text;
  file.resize(blob_start, '\0');
  return file + blobs;
}

}  // namespace nereid::testing
