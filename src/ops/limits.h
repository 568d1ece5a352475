// Kernels that reach a machine's limits, to measure these (src/engine/limits.h).
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

constexpr int64_t kReadWords = 16384;  // that one program of read_words reads

// 1 in every element of a dense tensor, so that its memory is there and not all zeros.
Status fill_ones(Launcher& launcher, const Tensor& tensor);

// Programs that do nothing.
Status nothing(Launcher& launcher, int32_t programs);

// sums[p] = the sum of the words of program p, modulo 2^32.
struct ReadWordsArgs {
  Tensor words;  // i32 [programs * kReadWords]
  Tensor sums;   // i32 [programs]
};
Status read_words(Launcher& launcher, const ReadWordsArgs& args);

// out[p] = rounds * x w, by `rounds` products one after the other, for each program p.
struct RepeatedDotArgs {
  Tensor x;            // f32, bf16 or i8 [m, k]
  Tensor w;            // the same type [k / part, n, part], 4 bytes of neighbours in k together
  Tensor out;          // f32, or i32 for i8 [programs, m, n]
  int32_t mask = 127;  // i8: bits of w that count, and none is negative
  int32_t rounds = 1;
};
Status repeated_dot(Launcher& launcher, const RepeatedDotArgs& args);

}  // namespace nereid::ops
