// A safetensors file of any bytes: what parses lies inside the file.
#include <cstdint>
#include <span>

#include "src/base/check.h"
#include "src/weights/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto tensors = nereid::safetensors::parse(file);
  if (!tensors) return 0;
  for (const nereid::StoredTensor& tensor : *tensors) {
    NEREID_CHECK(tensor.bytes.data() >= file.data() &&
                     tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size(),
                 "{} lies outside the file", tensor.name);
  }
  return 0;
}
