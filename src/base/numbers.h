// Numbers written as text by people: the whole text must be one number in range.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Decimal, optional '-', no spaces. `what` names the flag or field in the error.
Result<int64_t> parse_int(std::string_view text, std::string_view what, int64_t min, int64_t max);

// "1073741824", "1GiB", "1.5 GB": KiB, MiB, GiB and TiB are powers of 1024, kB, MB, GB and TB of
// 1000. Upper or lower case; at least one byte.
Result<uint64_t> parse_bytes(std::string_view text);

// "90.2 MiB": for messages.
std::string format_bytes(uint64_t bytes);

}  // namespace nereid
