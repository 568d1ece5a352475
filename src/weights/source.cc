// Which container a path is, and look-up by name.
#include "src/weights/source.h"

#include <algorithm>
#include <filesystem>

#include "src/weights/gguf_source.h"
#include "src/weights/hf_source.h"

namespace nereid {

const StoredTensor* ModelSource::find(std::string_view name) const {
  const auto all = tensors();
  const auto at = std::ranges::lower_bound(all, name, {}, &StoredTensor::name);
  return at == all.end() || at->name != name ? nullptr : &*at;
}

Result<std::unique_ptr<ModelSource>> open_model(const std::string& path,
                                                const OpenOptions& options) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (status.type() == std::filesystem::file_type::not_found) {
    return error("{}: no such file or directory, expected a .gguf file or a model directory", path);
  }
  if (code) return error("{}: {}", path, code.message());
  if (std::filesystem::is_directory(status)) return open_hf(path, options);
  if (options.dummy_format) {
    return error("{}: is no directory, expected one with a config.json (--load-format dummy)",
                 path);
  }
  return open_gguf(path);
}

}  // namespace nereid
