// The machine's limits in what `nereid bench` prints, and the shares of them that a step reaches.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "src/base/result.h"
#include "src/engine/engine.h"

namespace nereid::commands {

// Measured once the model is loaded; where that is not possible a warning says why, and all are 0.
MachineLimits limits_of(Engine& engine);

// Measured again, after what they are put beside: the better of both. Not where they were not
// measured before.
MachineLimits limits_again(Engine& engine, const MachineLimits& before);

// "52.1%"; "-" where the share is not known.
std::string share_text(double share);

std::string limits_text(const MachineLimits& limits);
nlohmann::ordered_json limits_json(const MachineLimits& limits);

// What a step takes at least.
struct StepNeeds {
  double bytes = 0, operations = 0;
  double memory_seconds = 0;     // to move the bytes; 0: the limit is not known
  double operation_seconds = 0;  // of all products, each in its type
};
StepNeeds needs_of(const StepProfile& profile, const MachineLimits& limits);

}  // namespace nereid::commands
