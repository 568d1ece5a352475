// A .gguf file as a ModelSource.
#pragma once

#include <memory>
#include <string>

#include "src/weights/source.h"

namespace nereid {

Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path);

}  // namespace nereid
