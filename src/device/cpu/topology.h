// What the processor is and which parts of it this process may use.
#pragma once

#include <string>
#include <vector>

namespace nereid {

// One logical processor for each core this process may run on (affinity), fewer if a cgroup grants
// less time than that. Never empty.
std::vector<int> usable_cores();

// "AMD EPYC 9R14", else "cpu".
std::string cpu_name();

// Pack targets this processor can run, best first, each of them a superset of what follows. On
// x86-64 those of "cpu:znver4", "cpu:sapphirerapids", "cpu:cooperlake", "cpu:cascadelake",
// "cpu:x86-64-v4", "cpu:x86-64-v3", on Arm of "cpu:neoverse-v2", "cpu:neoverse-v1",
// "cpu:neoverse-n1", "cpu:generic". Names as nereid-cc's --cpu knows them; all are in
// all_cpu_targets (target.h). cooperlake stands for AVX-512 with VNNI and BF16 dot products of any
// maker, cascadelake for that without BF16; znver4 also for later processors of AMD, sapphirerapids
// for later ones of Intel. Where there are AMX's tile registers this asks the kernel for them, for
// all of the process; without them such a processor is a cooperlake.
std::vector<std::string> cpu_targets();

}  // namespace nereid
