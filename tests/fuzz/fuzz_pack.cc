// Pack reader: any bytes give a pack or an error, and blobs lie inside the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "src/pack/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  auto manifest = nereid::parse_manifest(file);
  if (!manifest) return 0;
  size_t sum = 0;
  for (const nereid::PackVariant& variant : manifest->variants) {
    if (variant.choices.empty() || variant.choices.back().max) std::abort();
    for (const nereid::PackChoice& choice : variant.choices) {
      sum += static_cast<size_t>(choice.blob.front()) + static_cast<size_t>(choice.blob.back());
    }
  }
  return sum == SIZE_MAX ? 1 : 0;
}
