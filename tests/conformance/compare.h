// Comparison of a kernel's output with what its NumPy reference says.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "src/device/dtype.h"
#include "tests/conformance/case_file.h"

namespace nereid::testing {

// Element `at`, widened; integers above 2^53 lose bits (exact comparison looks at the bytes).
double widen(DType dtype, std::span<const std::byte> values, size_t at);

// "" if `got` agrees with `expected`, else what differs. NaN equals NaN, infinities must agree;
// integers without a tolerance are compared exactly.
std::string compare(DType dtype, std::span<const std::byte> got,
                    std::span<const std::byte> expected, const CaseTolerance& tolerance);

}  // namespace nereid::testing
