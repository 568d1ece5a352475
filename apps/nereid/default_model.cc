// See default_model.h. NEREID_SOURCE_DIR is compiled in; an installed copy elsewhere needs -m.
#include "apps/nereid/default_model.h"

#include <cstdlib>
#include <filesystem>

namespace nereid::commands {
namespace {

constexpr const char* kDefaultModel =
    NEREID_SOURCE_DIR "/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";

}  // namespace

Result<std::string> resolve_model(const std::string& given) {
  if (!given.empty()) return given;
  const char* from_environment = std::getenv("NEREID_MODEL");
  if (from_environment != nullptr && *from_environment != '\0') return from_environment;
  std::error_code ignored;
  if (std::filesystem::exists(kDefaultModel, ignored)) return kDefaultModel;
  return error(
      "no model: use -m MODEL, set NEREID_MODEL, or fetch the small default model with "
      "'{}/dev setup' ({} is missing)",
      NEREID_SOURCE_DIR, kDefaultModel);
}

}  // namespace nereid::commands
