// What the name of a pack target ("cpu:znver4", "cuda:90") says of the processor.
#pragma once

#include <string_view>
#include <vector>

namespace nereid {

// All that the cpu driver of some machine runs. Code for other processors can be compiled, but no
// device takes a pack of it: each takes one of these for its own.
std::vector<std::string_view> all_cpu_targets();

// Matrix products of bf16 values run at more than f32 speed there.
bool target_is_fast_at_bf16(std::string_view target);

// Products of 8-bit codes run at more than the speed of floats there, made one group of columns at
// a time.
bool target_is_fast_at_codes(std::string_view target);

// Its dot product of bytes is of signed by unsigned ones: codes of weights are better without
// signs.
bool target_wants_unsigned_codes(std::string_view target);

// A CPU with tile registers (AMX), which nereid-cc uses for bf16 and for bytes.
bool target_multiplies_tiles(std::string_view target);

// Has matrix instructions for 8-bit floats of the kind that model files hold (OCP e4m3; gfx942 has
// those of another kind).
bool target_multiplies_float8(std::string_view target);

bool target_is_gpu(std::string_view target);

}  // namespace nereid
