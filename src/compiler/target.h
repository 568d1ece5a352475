// TargetInfo: what the code generator may assume about a CPU. Made from a name once, then
// read-only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace nereid {

enum class Arch { kX86_64, kAArch64 };

struct TargetInfo {
  std::string name;      // as the user wrote it: "native", "znver4", "x86-64-v3"
  std::string triple;    // "x86_64-unknown-linux-gnu"
  std::string cpu;       // LLVM's CPU name: "znver4", "x86-64-v3"
  std::string features;  // LLVM's feature string: "+avx512f,+avx512bf16,..."
  Arch arch = Arch::kX86_64;
  int vector_bytes = 32;  // widest vector that is worth using: 64 (AVX-512), 32 (AVX2), 16 (NEON)
  int vector_registers = 16;  // architectural vector registers of that width
  bool has_avx512f = false;   // with BW, DQ, VL: masks in registers, masked loads and stores
  bool has_avx2 = false;      // vpmaddubsw and vpmaddwd on 256-bit vectors
  bool has_bf16_dot = false;  // vdpbf16ps and vcvtneps2bf16 on 512-bit vectors; bfdot and bfcvtn
  bool has_int8_dot = false;  // vpdpbusd on 512-bit vectors; sdot
  // AMX, beside AVX-512. Who calls such code has asked the kernel for the registers' state before.
  bool has_bf16_tiles = false;  // tdpbf16ps
  bool has_int8_tiles = false;  // tdpbssd, tdpbsud

  int lanes(int element_bytes) const { return vector_bytes / element_bytes; }
  // Does its dot product take bytes of one operand as signed only if those of the other are not?
  bool wants_unsigned_operand() const { return arch == Arch::kX86_64 && has_int8_dot; }
};

// "native", a level ("x86-64-v3", "x86-64-v4"), or any CPU name LLVM knows for x86-64 or AArch64.
Result<TargetInfo> make_target(std::string_view name);

// Names worth showing in --help; make_target accepts more.
std::vector<std::string_view> common_target_names();

}  // namespace nereid
