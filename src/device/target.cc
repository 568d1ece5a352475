// The table behind target.h.
#include "src/device/target.h"

#include <algorithm>
#include <array>

namespace nereid {

namespace {

// Names of processors as nereid-cc takes them, with a dot product of bf16 pairs (AVX-512 BF16, Arm
// BF16).
constexpr std::array<std::string_view, 7> kFastCpus = {
    "cpu:znver4",        "cpu:znver5",      "cpu:cooperlake", "cpu:sapphirerapids",
    "cpu:graniterapids", "cpu:neoverse-v1", "cpu:neoverse-v2"};

// With vpdpbusd on 512 bits.
constexpr std::array<std::string_view, 7> kVnniCpus = {
    "cpu:znver4",     "cpu:znver5",         "cpu:cascadelake",  "cpu:icelake-server",
    "cpu:cooperlake", "cpu:sapphirerapids", "cpu:graniterapids"};

}  // namespace

bool target_is_fast_at_bf16(std::string_view target) {
  return !target.starts_with("cpu:") || std::ranges::find(kFastCpus, target) != kFastCpus.end();
}

// Matrix instructions of GPUs want longer sums than a group has.
bool target_is_fast_at_codes(std::string_view target) {
  return target.starts_with("cpu:");
}

bool target_wants_unsigned_codes(std::string_view target) {
  return std::ranges::find(kVnniCpus, target) != kVnniCpus.end();
}

bool target_multiplies_float8(std::string_view target) {
  constexpr std::array<std::string_view, 6> kTargets = {"cuda:89",  "cuda:90",    "cuda:100",
                                                        "cuda:120", "hip:gfx950", "hip:gfx1201"};
  return std::ranges::find(kTargets, target) != kTargets.end();
}

bool target_is_gpu(std::string_view target) {
  return target.starts_with("cuda:") || target.starts_with("hip:");
}

}  // namespace nereid
