// Affinity, sibling threads, cgroup quota; instruction sets.
#include "src/device/cpu/topology.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "src/base/check.h"

namespace nereid {
namespace {

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// The lowest logical processor of the core: "0,64" or "0-1" begins with it. Itself if unknown.
int first_sibling(int cpu) {
  std::ifstream file(
      fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  int first = cpu;
  if (!(file >> first)) return cpu;
  return first;
}

// Processors' worth of time that the cgroup grants; infinity without a limit.
double cgroup_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period && quota > 0 && period > 0) return quota / period;
  return INFINITY;  // "max 100000" does not parse as a number
}

#if defined(__x86_64__)
struct Features {
  bool znver4 = false, sapphire_rapids = false, cooper_lake = false, cascade_lake = false;
  bool v4 = false, v3 = false;
};

// Asks the kernel for the state of AMX's tile registers, for all threads of the process; kernels
// before Linux 5.16 and some sandboxes refuse (Linux, Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// The operating system's part (saved registers) is covered by __builtin_cpu_supports.
Features detect() {
  __builtin_cpu_init();
  Features found;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ((ecx >> 29) & 1);
  found.v3 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  found.v4 = found.v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return found;
  const bool vnni = (ecx >> 11) & 1;
  const bool vbmi2 = (ecx >> 6) & 1;
  const bool vpopcnt = (ecx >> 14) & 1;
  const bool ifma = (ebx >> 21) & 1;
  const bool gfni = (ecx >> 8) & 1;
  const bool fp16 = (edx >> 23) & 1;
  constexpr uint32_t kTiles = 1U << 22 | 1U << 24 | 1U << 25;  // with bf16, at all, with bytes
  const bool amx = (edx & kTiles) == kTiles;
  uint32_t eax1 = 0;
  bool bf16 = false;
  if (__get_cpuid_count(7, 1, &eax1, &ebx, &ecx, &edx)) bf16 = (eax1 >> 5) & 1;
  found.cascade_lake = found.v4 && vnni;
  found.cooper_lake = found.cascade_lake && bf16;
  const bool common = found.cooper_lake && vbmi2 && vpopcnt && ifma && gfni;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  found.znver4 = common && ebx == signature_AMD_ebx;
  found.sapphire_rapids = common && ebx == signature_INTEL_ebx && fp16 && amx && may_use_tiles();
  return found;
}
#elif defined(__aarch64__)
struct Features {
  bool neoverse_v2 = false, neoverse_v1 = false, neoverse_n1 = false;
};

// What compiled code for these processors may use; the kernel reports what it saves and enables.
Features detect() {
  constexpr unsigned long kN1 = HWCAP_ASIMDDP | HWCAP_ASIMDHP | HWCAP_FPHP | HWCAP_ASIMDRDM |
                                HWCAP_ATOMICS | HWCAP_CRC32 | HWCAP_LRCPC | HWCAP_DCPOP;
  constexpr unsigned long kV1 =
      kN1 | HWCAP_SVE | HWCAP_FCMA | HWCAP_JSCVT | HWCAP_ILRCPC | HWCAP_FLAGM | HWCAP_ASIMDFHM;
  constexpr unsigned long kV1Second = HWCAP2_BF16 | HWCAP2_I8MM | HWCAP2_SVEBF16 | HWCAP2_SVEI8MM;
  constexpr unsigned long kV2Second =
      kV1Second | HWCAP2_SVE2 | HWCAP2_SVEBITPERM | HWCAP2_FLAGM2 | HWCAP2_FRINT;
  const unsigned long first = ::getauxval(AT_HWCAP);
  const unsigned long second = ::getauxval(AT_HWCAP2);
  const auto all = [](unsigned long found, unsigned long wanted) {
    return (found & wanted) == wanted;
  };
  return {.neoverse_v2 = all(first, kV1) && all(second, kV2Second),
          .neoverse_v1 = all(first, kV1) && all(second, kV1Second),
          .neoverse_n1 = all(first, kN1)};
}
#endif

}  // namespace

std::vector<int> usable_cores() {
  const std::vector<int> cpus = allowed_cpus();
  std::vector<int> cores;
  std::vector<int> seen;
  for (const int cpu : cpus) {
    const int core = first_sibling(cpu);
    if (std::ranges::find(seen, core) != seen.end()) continue;
    seen.push_back(core);
    cores.push_back(cpu);
  }
  const double granted = std::max(1.0, std::ceil(cgroup_cpus()));
  if (granted < static_cast<double>(cores.size())) cores.resize(static_cast<size_t>(granted));
  return cores;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "cpu";
}

std::vector<std::string> cpu_targets() {
  std::vector<std::string> targets;
#if defined(__x86_64__)
  const Features found = detect();
  if (found.znver4) targets.emplace_back("cpu:znver4");
  if (found.sapphire_rapids) targets.emplace_back("cpu:sapphirerapids");
  if (found.cooper_lake) targets.emplace_back("cpu:cooperlake");
  if (found.cascade_lake) targets.emplace_back("cpu:cascadelake");
  if (found.v4) targets.emplace_back("cpu:x86-64-v4");
  if (found.v3) targets.emplace_back("cpu:x86-64-v3");
#elif defined(__aarch64__)
  const Features found = detect();
  if (found.neoverse_v2) targets.emplace_back("cpu:neoverse-v2");
  if (found.neoverse_v1) targets.emplace_back("cpu:neoverse-v1");
  if (found.neoverse_n1) targets.emplace_back("cpu:neoverse-n1");
  targets.emplace_back("cpu:generic");
#endif
  return targets;
}

}  // namespace nereid
