// The per-operator table of `nereid bench --operators`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/nereid/output.h"
#include "src/engine/limits.h"
#include "src/engine/step_profile.h"

namespace nereid::commands {

// `title` says which step it is.
void print_operators(const std::string& title, const StepProfile& profile,
                     const MachineLimits& limits, Output& out);
nlohmann::ordered_json operators_json(const StepProfile& profile, const MachineLimits& limits);

}  // namespace nereid::commands
