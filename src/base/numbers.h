// Numbers written as text by people: the whole text must be one number in range.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Decimal, optional '-', no spaces. `what` names the flag or field in the error.
Result<int64_t> parse_int(std::string_view text, std::string_view what, int64_t min, int64_t max);

// "90.2 MiB": for messages.
std::string format_bytes(uint64_t bytes);

}  // namespace nereid
