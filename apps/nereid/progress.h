// Progress on standard error while a model is loaded or its pack is built.
#pragma once

#include "src/engine/engine.h"

namespace nereid::commands {

// Sets the progress callbacks of `load`. Silent for what is done in an instant.
void show_progress(LoadOptions& load);

}  // namespace nereid::commands
