// What kernel_times measures: launches whose arrays are described by their size alone, as
// `kernels/tune` writes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/device/kernel_decl.h"
#include "src/pack/pack.h"

namespace nereid::bench {

struct JobArg {
  enum class Kind : uint8_t { kSlot, kNull, kArray, kWorkspace };
  Kind kind = Kind::kNull;
  uint64_t slot = 0;  // kSlot: of the entry ABI
  DType dtype = DType::kF32;
  uint64_t bytes = 0;    // kArray
  bool rotates = false;  // kArray: as many copies as no cache holds, taken in turn
  bool written = false;  // kArray
  bool counts = false;   // kArray of i32: 0, 1, 2, ..., instead of random numbers
};

// One launch, to be made with every choice that the pack has for it.
struct Job {
  std::string label;
  const KernelDecl* decl = nullptr;
  const PackVariant* variant = nullptr;
  std::vector<int64_t> key;   // declaration order
  std::vector<JobArg> args;   // declaration order
  std::vector<size_t> which;  // choices of the variant that are wanted
};

// {"jobs": [{"label", "kernel", "key": {field: value}, "choices": [index], "args": [
//   {"slot": 64} | {"null": true} | {"workspace": true} |
//   {"dtype": "bf16", "bytes": 4096, "rotates": true, "written": false}]}]}
// `pack` must outlive the jobs. Errors name the job.
Result<std::vector<Job>> read_jobs(const std::string& path, const Pack& pack);

}  // namespace nereid::bench
