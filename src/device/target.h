// What the name of a pack target ("cpu:znver4", "cuda:90") says of the processor.
#pragma once

#include <string_view>

namespace nereid {

// Matrix products of bf16 values run at more than f32 speed there.
bool target_is_fast_at_bf16(std::string_view target);

// Products of 8-bit codes run at more than bf16 speed there, made one group of columns at a time.
bool target_is_fast_at_codes(std::string_view target);

// Unquantised weights are best left as they lie in their file: matrix instructions take them from
// there.
bool target_wants_rows(std::string_view target);

}  // namespace nereid
