// A config.json of any bytes: what passes the checks gives tensors of positive size.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "src/base/check.h"
#include "src/base/json.h"
#include "src/weights/config_check.h"
#include "src/weights/hf_config.h"
#include "src/weights/tensor_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = nereid::parse_json({reinterpret_cast<const char*>(data), size});
  if (!parsed) return 0;
  const auto config = nereid::hf::read_config(*parsed);
  if (!config || !nereid::check_config(*config)) return 0;
  (void)nereid::hf::read_generation_defaults(*parsed, *parsed, config->vocab_size);
  for (const nereid::ExpectedTensor& tensor : nereid::expected_tensors(*config)) {
    for (const int64_t dim : tensor.shape)
      NEREID_CHECK(dim > 0, "{} has a dimension {}", tensor.name, dim);
  }
  return 0;
}
