// The table behind target.h.
#include "src/device/target.h"

#include <algorithm>
#include <array>

namespace nereid {

namespace {

// A processor by its name in nereid-cc.
struct CpuTarget {
  std::string_view name;
  bool has_bf16_dot = false;        // of pairs: AVX-512 BF16, Arm BF16
  bool wants_unsigned_dot = false;  // vpdpbusd on 512 bits
  bool has_tiles = false;           // AMX
};

// What cpu_targets (cpu/topology.h) can find, here or on another machine.
constexpr CpuTarget kCpus[] = {
    {.name = "cpu:znver4", .has_bf16_dot = true, .wants_unsigned_dot = true},
    {.name = "cpu:sapphirerapids",
     .has_bf16_dot = true,
     .wants_unsigned_dot = true,
     .has_tiles = true},
    {.name = "cpu:cooperlake", .has_bf16_dot = true, .wants_unsigned_dot = true},
    {.name = "cpu:cascadelake", .wants_unsigned_dot = true},
    {.name = "cpu:x86-64-v4"},
    {.name = "cpu:x86-64-v3"},
    {.name = "cpu:neoverse-v2", .has_bf16_dot = true},
    {.name = "cpu:neoverse-v1", .has_bf16_dot = true},
    {.name = "cpu:neoverse-n1"},
    {.name = "cpu:generic"}};

// Nothing special: a name that is not in the table.
CpuTarget cpu_of(std::string_view target) {
  const auto* found = std::ranges::find(kCpus, target, &CpuTarget::name);
  return found == std::end(kCpus) ? CpuTarget() : *found;
}

}  // namespace

std::vector<std::string_view> all_cpu_targets() {
  std::vector<std::string_view> names;
  for (const CpuTarget& cpu : kCpus) names.push_back(cpu.name);
  return names;
}

bool target_is_fast_at_bf16(std::string_view target) {
  return !target.starts_with("cpu:") || cpu_of(target).has_bf16_dot;
}

// Matrix instructions of GPUs want longer sums than a group has.
bool target_is_fast_at_codes(std::string_view target) {
  return target.starts_with("cpu:");
}

bool target_wants_unsigned_codes(std::string_view target) {
  return cpu_of(target).wants_unsigned_dot;
}

bool target_multiplies_tiles(std::string_view target) {
  return cpu_of(target).has_tiles;
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
