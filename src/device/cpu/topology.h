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

// Pack targets this processor can run, best first, each of them a superset of what follows:
// "cpu:znver4", "cpu:cooperlake", "cpu:cascadelake", "cpu:x86-64-v4", "cpu:x86-64-v3". Names as
// nereid-cc's --cpu knows them. cooperlake stands for AVX-512 with VNNI and BF16 dot products of
// any maker, cascadelake for that without BF16.
std::vector<std::string> cpu_targets();

}  // namespace nereid
