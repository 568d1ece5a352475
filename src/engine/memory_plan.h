// How a device's memory is divided among weights, activations and KV cache, decided before anything
// large is allocated, and the account of it where it does not suffice. Pure arithmetic.
//
//   free on the device ....................................................
//   | weights | activations | KV cache: what is left, in pages | kept free |
//   `---------------- at most the share that may be taken -----'
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"

namespace nereid {

// What the user says of memory (flags of the same names).
struct MemoryOptions {
  double memory_utilization = 0;  // share of the free memory that is taken at most; 0: 0.9
  uint64_t kv_cache_memory = 0;   // bytes of the KV cache, exactly; 0: what the plan gives it
};

// What a model takes, found by building it on the null device with a KV cache of one page.
struct MemoryNeeds {
  uint64_t weights = 0;      // bytes, in their run-time layout
  uint64_t activations = 0;  // bytes: activations, RoPE tables, sampling, staging
  uint64_t page_bytes = 0;   // of one page in one buffer of the KV cache
  int32_t num_buffers = 0;   // of the KV cache: keys and values of each layer
  int32_t page_tokens = 0;
};

// Tokens that the KV cache should hold.
struct CacheDemand {
  int64_t exact = 0;      // just so many; 0: as the rest says
  int64_t least = 0;      // fewer are of no use
  int64_t usual = 0;      // more are of use only to `fills`
  bool fills = false;     // what requests shared and ended stays for later ones: takes all it may
  int32_t sequences = 1;  // that `least` is for, for messages
};

struct DeviceMemory {
  std::string name;
  uint64_t total = 0, free = 0;  // bytes
  uint64_t allocation_unit = 1;  // what large allocations are rounded up to
  bool gpu = false;              // memory that nobody else waits for
};

struct MemoryPlan {
  uint64_t total = 0, free = 0;  // of the device, before the weights
  double share = 0;              // of `free` that may be taken
  uint64_t weights = 0, activations = 0, kv_cache = 0;
  uint64_t token_bytes = 0;  // of a token in the KV cache
  int32_t num_pages = 0, page_tokens = 0;

  int64_t cache_tokens() const { return int64_t{num_pages} * page_tokens; }
  // "weights 98.0 MiB, activations 60.1 MiB, KV cache 1.5 GiB for 65536 tokens (22.5 KiB each);
  // 0.90 of 12.0 GiB free may be taken"
  std::string text() const;
};

// Errors: an account of what is needed for what, how much is free, and which flag to change.
Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, const CacheDemand& demand,
                               const MemoryOptions& options, const DeviceMemory& device);

}  // namespace nereid
