// The cuda and hip drivers over a stand-in for their libraries: what they say when something is
// missing or fails, at every call, and that nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "src/device/drivers.h"
#include "src/device/testing/test_kernels.h"
#include "tests/device/fake_gpu.h"

namespace nereid::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kUnknown = 999, kIllegalAddress = 700;

// What differs between the drivers' names.
struct Names {
  const char* driver;
  const char* variable;
  std::vector<const char*> opening, working, closing;  // functions
};

const Names kCuda = {.driver = "cuda",
                     .variable = "NEREID_CUDA_LIBRARY",
                     .opening = {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet",
                                 "cuDeviceGetName", "cuDeviceGetAttribute",
                                 "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuStreamCreate",
                                 "cuMemHostAlloc", "cuEventCreate", "cuMemGetInfo_v2"},
                     .working = {"cuMemAlloc_v2", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2",
                                 "cuStreamSynchronize", "cuEventRecord", "cuEventSynchronize",
                                 "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute",
                                 "cuLaunchKernel", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
                                 "cuGraphInstantiateWithFlags", "cuGraphLaunch"},
                     .closing = {"cuGraphDestroy", "cuGraphExecDestroy", "cuMemFree_v2",
                                 "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2",
                                 "cuModuleUnload", "cuDevicePrimaryCtxRelease_v2"}};
const Names kHip = {
    .driver = "hip",
    .variable = "NEREID_HIP_LIBRARY",
    .opening = {"hipInit", "hipDriverGetVersion", "hipGetDeviceCount", "hipDeviceGet",
                "hipDeviceGetName", "hipGetDevicePropertiesR0600", "hipDevicePrimaryCtxRetain",
                "hipCtxSetCurrent", "hipStreamCreateWithFlags", "hipHostMalloc",
                "hipEventCreateWithFlags", "hipMemGetInfo"},
    .working = {"hipMalloc", "hipMemcpyHtoDAsync", "hipMemcpyDtoHAsync", "hipStreamSynchronize",
                "hipEventRecord", "hipEventSynchronize", "hipModuleLoadData",
                "hipModuleGetFunction", "hipModuleLaunchKernel", "hipStreamBeginCapture",
                "hipStreamEndCapture", "hipGraphInstantiateWithFlags", "hipGraphLaunch"},
    .closing = {"hipGraphDestroy", "hipGraphExecDestroy", "hipFree", "hipHostFree",
                "hipStreamDestroy", "hipEventDestroy", "hipModuleUnload",
                "hipDevicePrimaryCtxRelease"}};

class GpuDriverTest : public ::testing::TestWithParam<const Names*> {
 protected:
  void SetUp() override {
    ::setenv(GetParam()->variable, NEREID_FAKE_GPU, 1);
    fake_gpu_reset();
    object_ = fake_gpu_image(GetParam()->driver, test_object_bytes());
  }
  void TearDown() override {
    EXPECT_EQ(fake_gpu_misuse(), "");
    const FakeGpuLive live = fake_gpu_live();
    EXPECT_EQ(live.total(), 0) << live.contexts << " contexts, " << live.streams << " streams, "
                               << live.events << " events, " << live.modules << " modules, "
                               << live.allocations << " allocations, " << live.host_allocations
                               << " host allocations";
    ::unsetenv(GetParam()->variable);
  }

  static bool is_cuda() { return GetParam() == &kCuda; }
  static Result<std::unique_ptr<Device>> open(int ordinal = 0) {
    return create_device(ordinal == 0 ? std::string(GetParam()->driver)
                                      : fmt::format("{}:{}", GetParam()->driver, ordinal));
  }
  static std::string failure_to_open(const FakeGpuConfig& config, int ordinal = 0) {
    fake_gpu_reset(config);
    auto device = open(ordinal);
    return device ? "" : device.error().message;
  }
  KernelImage image(const std::string& entry, uint32_t num_args, uint32_t shared_bytes = 0) const {
    return {.blob = std::as_bytes(std::span(object_)),
            .entry = entry,
            .num_args = num_args,
            .shared_bytes = shared_bytes,
            .num_warps = 4};
  }
  // A little of everything; the number that comes back when all is well is 1 + 5 * 2 * 5.
  Result<float> work() const;

  std::string object_;
};

Result<float> GpuDriverTest::work() const {
  NEREID_TRY(const auto device, open());
  NEREID_TRY(const LoadedKernel* kernel, device->load(image("axpy", 4, 60'000)));
  const size_t n = 1'100'000;  // two pieces of staging
  NEREID_TRY(const DevicePtr x, device->alloc(n * sizeof(float)));
  NEREID_TRY(const DevicePtr out, device->alloc(n * sizeof(float)));
  for (const DevicePtr pointer : {x, out, x}) {
    const std::vector<float> values(n, pointer == out ? 1.0f : 5.0f);
    NEREID_RETURN_IF_ERROR(device->upload(pointer, std::as_bytes(std::span(values))));
  }
  for (int piece = 0; piece < 10; ++piece) {  // more than the ring has slots
    const std::vector<float> few(100, 5.0f);
    NEREID_RETURN_IF_ERROR(device->upload(x, std::as_bytes(std::span(few))));
  }
  const auto slots = Axpy::pack_args({.x = x, .out = out, .n = static_cast<int32_t>(n), .a = 2});
  for (int round = 0; round < 5; ++round) {  // the third one becomes a graph
    NEREID_RETURN_IF_ERROR(device->begin_sequence());
    NEREID_RETURN_IF_ERROR(device->launch({.kernel = kernel,
                                           .grid = {static_cast<uint32_t>((n + 63) / 64)},
                                           .args = slots,
                                           .label = "axpy(n)"}));
    NEREID_RETURN_IF_ERROR(device->end_sequence());
  }
  std::vector<float> got(n);
  NEREID_RETURN_IF_ERROR(device->download(std::as_writable_bytes(std::span(got)), out));
  device->free(x);
  NEREID_RETURN_IF_ERROR(device->synchronize());
  const bool same = std::ranges::all_of(got, [&](float value) { return value == got[0]; });
  return same ? got[0] : -1.0f;
}

TEST_P(GpuDriverTest, Works) {
  auto result = work();
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(*result, 51.0f);
}

TEST_P(GpuDriverTest, EveryFailureIsAnErrorAndLeavesNothing) {
  for (const auto* functions : {&GetParam()->opening, &GetParam()->working}) {
    for (const char* function : *functions) {
      fake_gpu_reset();
      ASSERT_TRUE(work().has_value());
      // Closing waits once more, and nobody is told what that gives.
      const bool waits = std::string_view(function).ends_with("StreamSynchronize");
      const int calls = fake_gpu_calls(function) - (waits ? 1 : 0);
      ASSERT_GT(calls, 0) << function;
      for (const int nth : {1, 2, calls}) {
        if (nth > calls) continue;
        fake_gpu_reset();
        fake_gpu_fail(function, nth, kUnknown);
        auto result = work();
        ASSERT_FALSE(result.has_value()) << function << " " << nth;
        EXPECT_THAT(result.error().message,
                    HasSubstr(fmt::format("{}: {}UNKNOWN (999), what it means", function,
                                          is_cuda() ? "CUDA_ERROR_" : "hipError_")));
        EXPECT_EQ(fake_gpu_live().total(), 0) << function << " " << nth;
        EXPECT_EQ(fake_gpu_misuse(), "") << function << " " << nth;
      }
    }
  }
}

// Giving something back may fail too: nobody is told, and everything else is given back.
TEST_P(GpuDriverTest, FailuresOfGivingBack) {
  for (const char* function : GetParam()->closing) {
    fake_gpu_reset();
    fake_gpu_fail(function, 1, kUnknown);
    EXPECT_TRUE(work().has_value()) << function;
    EXPECT_GT(fake_gpu_calls(function), 0) << function;
    EXPECT_LE(fake_gpu_live().total(), 1) << function;
    EXPECT_EQ(fake_gpu_misuse(), "") << function;
  }
  fake_gpu_reset();
}

TEST_P(GpuDriverTest, FaultEndsEverything) {
  {
    auto device = *open();
    const LoadedKernel* kernel = *device->load(image("empty", 0));
    const DevicePtr memory = *device->alloc(64);
    fake_gpu_fail("run", 2, kIllegalAddress);
    const auto launch = [&](const char* label) {
      return device->launch({.kernel = kernel, .label = label});
    };
    ASSERT_TRUE(launch("first").has_value());
    ASSERT_TRUE(launch("second").has_value());
    ASSERT_TRUE(launch("third").has_value());
    const Status synchronized = device->synchronize();
    ASSERT_FALSE(synchronized.has_value());
    EXPECT_THAT(synchronized.error().message,
                AllOf(HasSubstr("ILLEGAL_ADDRESS (700)"), HasSubstr("enqueued last: third"),
                      HasSubstr("nothing more runs on this GPU")));
    EXPECT_EQ(launch("fourth").error().message, synchronized.error().message);
    EXPECT_EQ(device->alloc(64).error().message, synchronized.error().message);
    device->free(memory);
  }
  EXPECT_EQ(fake_gpu_misuse(), "");
}

TEST_P(GpuDriverTest, FaultIsFoundWithoutAsynchrony) {
  ::setenv("NEREID_GPU_SYNC", "1", 1);
  auto device = *open();
  ::unsetenv("NEREID_GPU_SYNC");
  const LoadedKernel* kernel = *device->load(image("empty", 0));
  fake_gpu_fail("run", 2, kIllegalAddress);
  EXPECT_TRUE(device->launch({.kernel = kernel, .label = "first"}).has_value());
  const Status failed = device->launch({.kernel = kernel, .label = "second"});
  EXPECT_THAT(failed.error().message, HasSubstr("second: "));
}

TEST_P(GpuDriverTest, WhatMakesAGpuUnusable) {
  const std::string name = GetParam()->driver;
  EXPECT_EQ(failure_to_open({.devices = 0}), name + ": the driver finds no GPU");
  EXPECT_EQ(failure_to_open({}, 2), name + ":2: expected a GPU from 0 to 1");
  EXPECT_EQ(failure_to_open({}, 1), "");
  EXPECT_THAT(failure_to_open({.cuda_version = 11080, .hip_version = 50'700'000}),
              HasSubstr(is_cuda() ? "driver for CUDA 11.8, at least for CUDA 12.0 is needed"
                                  : "driver HIP 5.7, at least HIP 6.0 is needed"));
  EXPECT_EQ(failure_to_open({.compute_major = 7, .compute_minor = 5, .hip_architecture = "gfx906"}),
            name + (is_cuda() ? ":0: Fake GPU (compute capability 7.5) is not supported, expected "
                                "one of compute capability 8.x, 9.0, 10.0, 12.0"
                              : ":0: Fake GPU (gfx906) is not supported, expected one of gfx90a, "
                                "gfx942, gfx950, gfx1100, gfx1201"));
  ::setenv(GetParam()->variable, "/nowhere/lib.so", 1);
  EXPECT_THAT(open().error().message, HasSubstr(name + ": no driver: /nowhere/lib.so: "));
  ::setenv(GetParam()->variable, "libm.so.6", 1);
  EXPECT_THAT(open().error().message, HasSubstr("libm.so.6: no symbol "));
}

TEST_P(GpuDriverTest, TargetsOfArchitectures) {
  if (!is_cuda()) {
    EXPECT_EQ((*open())->info().targets, std::vector<std::string>{"hip:gfx942"});
    return;
  }
  const auto targets = [](int major, int minor) {
    fake_gpu_reset({.compute_major = major, .compute_minor = minor});
    return (*open())->info().targets;
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(targets(8, 0), (List{"cuda:80"}));
  EXPECT_EQ(targets(8, 9), (List{"cuda:89", "cuda:86", "cuda:80"}));
  EXPECT_EQ(targets(8, 7), (List{"cuda:86", "cuda:80"}));
  EXPECT_EQ(targets(9, 0), (List{"cuda:90"}));
  EXPECT_EQ(targets(12, 0), (List{"cuda:120"}));
}

TEST_P(GpuDriverTest, OutOfMemory) {
  fake_gpu_reset({.memory_bytes = 1 << 20});
  auto device = *open();
  const DevicePtr kept = *device->alloc(600'000);
  EXPECT_EQ(device->alloc(1'000'000).error().message,
            "out of memory: 976.6 KiB wanted, 438.1 KiB of 1.0 MiB free on Fake GPU");
  device->free(kept);
  EXPECT_TRUE(device->alloc(1'000'000).has_value());
}

TEST_P(GpuDriverTest, FreeMemory) {
  auto device = *open();
  const uint64_t before = *device->free_bytes();
  const DevicePtr block = *device->alloc(1 << 20);
  EXPECT_EQ(*device->free_bytes(), before - (1 << 20));
  device->free(block);
  fake_gpu_fail(is_cuda() ? "cuMemGetInfo_v2" : "hipMemGetInfo", 1, kUnknown);
  EXPECT_THAT(device->free_bytes().error().message, HasSubstr("UNKNOWN (999)"));
}

TEST_P(GpuDriverTest, SharedMemory) {
  auto device = *open();
  const LoadedKernel* kernel = *device->load(image("empty", 0, 60'000));
  EXPECT_TRUE(device->launch({.kernel = kernel}).has_value());
  EXPECT_TRUE(device->synchronize().has_value());
  EXPECT_THAT(device->load(image("empty", 0, 300'000)).error().message,
              HasSubstr("300000 bytes of shared memory, this GPU has"));
}

// A cluster runs one program, so the result is that of a launch without them.
TEST_P(GpuDriverTest, Clusters) {
  auto device = *open();
  KernelImage clustered = image("axpy", 4);
  clustered.num_ctas = 2;
  auto kernel = device->load(clustered);
  if (!is_cuda()) {
    EXPECT_EQ(kernel.error().message, "clusters of 2 blocks, gfx942 has none");
    return;
  }
  ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
  const DevicePtr x = *device->alloc(1000 * sizeof(float)),
                  out = *device->alloc(1000 * sizeof(float));
  const std::vector<float> ones(1000, 1.0f);
  for (const DevicePtr pointer : {x, out}) {
    ASSERT_TRUE(device->upload(pointer, std::as_bytes(std::span(ones))));
  }
  const auto args = Axpy::pack_args({.x = x, .out = out, .n = 1000, .a = 2});
  ASSERT_TRUE(device->launch({.kernel = *kernel, .grid = {16}, .args = args}));
  std::vector<float> got(1000);
  ASSERT_TRUE(device->download(std::as_writable_bytes(std::span(got)), out));
  EXPECT_EQ(got, std::vector<float>(1000, 3.0f));
  EXPECT_EQ(fake_gpu_launches().clusters, 1);
  EXPECT_EQ(fake_gpu_launches().dependent, 0);
  EXPECT_EQ(fake_gpu_calls("cuLaunchKernel"), 0);
  EXPECT_THAT(device->launch({.kernel = *kernel, .grid = {1 << 30}, .args = args, .label = "k"})
                  .error()
                  .message,
              HasSubstr("in clusters of 2 has more than 2147483647 blocks"));
  for (const uint32_t count : {0, 3, 16}) {
    clustered.num_ctas = count;
    EXPECT_THAT(device->load(clustered).error().message,
                HasSubstr(fmt::format("clusters of {} blocks, expected", count)));
  }
  fake_gpu_fail("cuLaunchKernelEx", 1, kUnknown);
  EXPECT_THAT(
      device->launch({.kernel = *kernel, .grid = {16}, .args = args, .label = "k"}).error().message,
      HasSubstr("k: cuLaunchKernelEx: CUDA_ERROR_UNKNOWN"));
}

// A dependent launch keeps its attribute within a graph where the driver can capture it, and loses
// it where it cannot.
TEST_P(GpuDriverTest, DependentLaunches) {
  KernelImage dependent = image("empty", 0);
  dependent.launch_pdl = true;
  if (!is_cuda()) {
    EXPECT_EQ((*open())->load(dependent).error().message,
              "launch_pdl, gfx942 has no launches that overlap");
    return;
  }
  for (const int version : {12020, 12030, 13000}) {
    fake_gpu_reset({.cuda_version = version});
    auto device = *open();
    const LoadedKernel* kernel = *device->load(dependent);
    for (int round = 0; round < 4; ++round) {  // the third one becomes a graph
      ASSERT_TRUE(device->begin_sequence());
      ASSERT_TRUE(device->launch({.kernel = kernel}));
      ASSERT_TRUE(device->launch({.kernel = kernel}));
      ASSERT_TRUE(device->end_sequence());
    }
    ASSERT_TRUE(device->synchronize());
    EXPECT_EQ(fake_gpu_calls("cuGraphLaunch"), 2) << version;
    EXPECT_EQ(fake_gpu_launches().dependent, 4) << version;
    EXPECT_EQ(fake_gpu_launches().captured_dependent, version < 12030 ? 0 : 2) << version;
    EXPECT_EQ(fake_gpu_launches().clusters, 0) << version;
    EXPECT_EQ(fake_gpu_misuse(), "") << version;
  }
}

TEST_P(GpuDriverTest, OlderGpusHaveNoAttributes) {
  if (!is_cuda()) return;
  fake_gpu_reset({.compute_major = 8, .compute_minor = 6});
  auto device = *open();
  KernelImage other = image("empty", 0);
  other.launch_pdl = true;
  EXPECT_EQ(device->load(other).error().message,
            "launch_pdl, compute capability 8.6 has no launches that overlap");
  other = image("empty", 0);
  other.num_ctas = 4;
  EXPECT_EQ(device->load(other).error().message,
            "clusters of 4 blocks, compute capability 8.6 has none");
}

TEST_P(GpuDriverTest, ImagesThatAreNone) {
  auto device = *open();
  const auto message = [&](const std::string& bytes) {
    KernelImage from = image("axpy", 4);
    from.blob = std::as_bytes(std::span(bytes));
    auto kernel = device->load(from);
    return kernel ? "" : kernel.error().message;
  };
  EXPECT_EQ(message("this is no code"), "15 bytes, no ELF object");
  EXPECT_EQ(message(std::string(100, 'x')), "no ELF object");
  EXPECT_THAT(message(object_.substr(0, 64)), HasSubstr("outside the object: truncated"));
  EXPECT_THAT(message(object_.substr(0, object_.size() / 2)), HasSubstr("truncated"));
  EXPECT_THAT(message(test_object_bytes()), HasSubstr("ELF machine 62, this device's is"));
  EXPECT_THAT(device->load(image("none", 4)).error().message, HasSubstr("'none': "));
  EXPECT_EQ(fake_gpu_live().modules, 0);
  KernelImage no_warps = image("axpy", 4);
  no_warps.num_warps = 0;
  EXPECT_EQ(device->load(no_warps).error().message, "0 warps, expected 1 to 32");
}

TEST_P(GpuDriverTest, GridsBeyondTheGpu) {
  auto device = *open();
  const LoadedKernel* kernel = *device->load(image("empty", 0));
  EXPECT_EQ(device->launch({.kernel = kernel, .grid = {1, 65536}, .label = "k"}).error().message,
            "k: grid 1 x 65536 x 1, at most 65535 of y and z run on a GPU");
  const Status many = device->launch({.kernel = kernel, .grid = {1 << 30}, .label = "k"});
  EXPECT_EQ(many.has_value(), is_cuda());
  EXPECT_TRUE(device->synchronize().has_value());
}

INSTANTIATE_TEST_SUITE_P(Drivers, GpuDriverTest, ::testing::Values(&kCuda, &kHip),
                         [](const auto& info) { return std::string(info.param->driver); });

}  // namespace
}  // namespace nereid::testing
