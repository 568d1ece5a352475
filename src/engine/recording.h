// Which kernels a model needs: the model is built and exercised on the null device, and what it
// launches there is the list.
#pragma once

#include <vector>

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/engine/engine.h"
#include "src/engine/runner.h"
#include "src/pack/pack_cache.h"
#include "src/weights/source.h"

namespace nereid {

struct KernelRequest {
  PackRequest pack;
  std::vector<KernelVariant> variants;
  MemoryNeeds memory;
};

// Dtypes and sizes from the options, the model and the device. Errors name the option.
Result<RunnerOptions> runner_options_for(const ModelSource& source, const LoadOptions& options,
                                         const DeviceInfo& device);

// What the KV cache of such a runner should hold.
CacheDemand cache_demand(const LoadOptions& options, const RunnerOptions& runner);

// `device`: what the pack is for (target, number of workers).
Result<KernelRequest> record_kernels(const ModelSource& source, const LoadOptions& options,
                                     const DeviceInfo& device);

}  // namespace nereid
