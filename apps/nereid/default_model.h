// Which model is meant when nobody names one.
#pragma once

#include <string>

#include "src/base/result.h"

namespace nereid::commands {

// `given` (the -m flag) when not empty, else $NEREID_MODEL, else the small model that `./dev setup`
// puts into .cache/models of the source tree this program was built from. The error names all
// three.
Result<std::string> resolve_model(const std::string& given);

}  // namespace nereid::commands
