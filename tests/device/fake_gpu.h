// A stand-in for libcuda and libamdhip64: what tests ask of it and tell it.
//
// It has the functions that src/device/cuda and src/device/hip load, over the memory of this
// process. Enqueued work runs only when somebody waits for it, so that a missing wait shows.
// Kernels are the objects of src/device/testing/kernels.c, dressed up as images for a GPU. Misuse
// (a handle that is not live, copies outside allocations, too much shared memory, no current
// context, ...) gets the drivers' error code, and is noted.
#pragma once

#include <cstdint>
#include <string>

#if defined(__GNUC__)
#define FAKE_GPU_EXPORT __attribute__((visibility("default")))
#endif

namespace nereid::testing {

struct FakeGpuConfig {
  int cuda_version = 13000;
  int hip_version = 60'300'000;
  int devices = 2;
  int compute_major = 9, compute_minor = 0;
  std::string hip_architecture = "gfx942:sramecc+:xnack-";
  uint64_t memory_bytes = uint64_t{4} << 30;
};

// What was made and not given back.
struct FakeGpuLive {
  int contexts = 0, streams = 0, events = 0, modules = 0, graphs = 0, allocations = 0,
      host_allocations = 0;
  int total() const {
    return contexts + streams + events + modules + graphs + allocations + host_allocations;
  }
};

// Launches with attributes, since the reset. Dependent ones may begin before the end of the launch
// in front.
struct FakeGpuLaunches {
  int clusters = 0, dependent = 0, captured_dependent = 0;
};

// As new: nothing is live, no failure is planned.
FAKE_GPU_EXPORT void fake_gpu_reset(const FakeGpuConfig& config = {});
// The n-th call (from 1, from now on) of the function returns `code`. "run" stands for the n-th
// kernel that really runs: it leaves its memory alone, and the fault shows afterwards.
FAKE_GPU_EXPORT void fake_gpu_fail(const std::string& call, int nth, int code);
FAKE_GPU_EXPORT int fake_gpu_calls(const std::string& call);  // since the reset
FAKE_GPU_EXPORT FakeGpuLaunches fake_gpu_launches();
FAKE_GPU_EXPORT FakeGpuLive fake_gpu_live();
FAKE_GPU_EXPORT std::string fake_gpu_misuse();  // the first since the reset; "" if there was none

// The object of test kernels as an image for the driver's GPUs ("cuda" or "hip").
FAKE_GPU_EXPORT std::string fake_gpu_image(const std::string& driver, std::string object);

}  // namespace nereid::testing
