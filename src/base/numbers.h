// Numbers written as text by people: the whole text must be one number in range.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/result.h"

namespace nereid {

// Decimal, optional '-', no spaces. `what` names the flag or field in the error.
Result<int64_t> parse_int(std::string_view text, std::string_view what, int64_t min, int64_t max);

// Decimal or scientific, finite.
Result<double> parse_double(std::string_view text, std::string_view what, double min, double max);

// "512", "64K", "1.5G" (powers of 1024), optional "iB" or "B" after it.
Result<uint64_t> parse_byte_size(std::string_view text, std::string_view what);

// "90.2 MiB": for messages.
std::string format_bytes(uint64_t bytes);

}  // namespace nereid
