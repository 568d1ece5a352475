// What the values of flags may be, checked while the command line is read: wrong usage, exit code
// 2, "--flag: found ..., expected ...".
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "src/base/result.h"
#include "src/engine/sampling_ranges.h"

namespace nereid::commands {

// For CLI::Option::check: the message of a value that will not do, else nothing.
using FlagCheck = std::function<std::string(const std::string& text)>;

// Decimal digits only.
FlagCheck whole_number(int64_t min, int64_t max = std::numeric_limits<int32_t>::max());
FlagCheck seed_number();  // all of uint64_t
FlagCheck number_in(const SamplingRange& range);
FlagCheck number_in(double min, double max);
FlagCheck byte_count();  // "8GiB", see parse_bytes
FlagCheck token_bias();

// "42:-5.5": a token id and what is added to its logit.
Result<std::pair<int32_t, float>> parse_token_bias(const std::string& text);

}  // namespace nereid::commands
