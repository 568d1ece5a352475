// Names and numbers of libcuda.
#include "src/device/cuda/cuda_device.h"

#include <algorithm>
#include <array>

#include "src/device/gpu/gpu_device.h"

namespace nereid {
namespace {

using gpu::Calls;
using gpu::Symbol;
using gpu::symbol;

enum Attribute : int {
  kMultiprocessorCount = 16,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
  kMaxSharedBytesOptin = 97,
};

constexpr int kMaxDynamicSharedBytes = 8;  // an attribute of functions
constexpr int kWarpSize = 32;
constexpr int kFirstWithClusters = 9;  // major compute capability
constexpr uint32_t kPortableCluster = 8;
constexpr uint16_t kElfMachine = 190;  // EM_CUDA
constexpr uint32_t kPlainSharedBytes = 49152;

// Compute capabilities that kernels/ttir.py compiles for. Code for 8.x runs on every later 8.x;
// from 9.0 on Triton uses instructions of that one architecture.
constexpr std::array<int, 6> kArchitectures = {80, 86, 89, 90, 100, 120};

std::vector<Symbol> symbols(Calls& calls) {
  return {symbol("cuInit", calls.init),
          symbol("cuDriverGetVersion", calls.driver_version),
          symbol("cuDeviceGetCount", calls.device_count),
          symbol("cuDeviceGet", calls.device_get),
          symbol("cuDeviceGetName", calls.device_name),
          symbol("cuDeviceGetAttribute", calls.device_attribute),
          symbol("cuDevicePrimaryCtxRetain", calls.context_retain),
          symbol("cuDevicePrimaryCtxRelease_v2", calls.context_release),
          symbol("cuCtxSetCurrent", calls.context_set_current),
          symbol("cuMemGetInfo_v2", calls.memory_info),
          symbol("cuMemAlloc_v2", calls.alloc),
          symbol("cuMemFree_v2", calls.free),
          symbol("cuMemHostAlloc", calls.host_alloc),
          symbol("cuMemFreeHost", calls.host_free),
          symbol("cuMemcpyHtoDAsync_v2", calls.copy_to_device),
          symbol("cuMemcpyDtoHAsync_v2", calls.copy_to_host),
          symbol("cuStreamCreate", calls.stream_create),
          symbol("cuStreamDestroy_v2", calls.stream_destroy),
          symbol("cuStreamSynchronize", calls.stream_synchronize),
          symbol("cuEventCreate", calls.event_create),
          symbol("cuEventDestroy_v2", calls.event_destroy),
          symbol("cuEventRecord", calls.event_record),
          symbol("cuEventSynchronize", calls.event_synchronize),
          symbol("cuModuleLoadData", calls.module_load),
          symbol("cuModuleUnload", calls.module_unload),
          symbol("cuModuleGetFunction", calls.module_function),
          symbol("cuFuncSetAttribute", calls.function_set_attribute),
          symbol("cuLaunchKernel", calls.launch),
          symbol("cuLaunchKernelEx", calls.launch_with),
          symbol("cuStreamBeginCapture_v2", calls.capture_begin),
          symbol("cuStreamEndCapture", calls.capture_end),
          symbol("cuGraphInstantiateWithFlags", calls.graph_instantiate),
          symbol("cuGraphLaunch", calls.graph_launch),
          symbol("cuGraphExecDestroy", calls.graph_exec_destroy),
          symbol("cuGraphDestroy", calls.graph_destroy),
          symbol("cuGetErrorName", calls.error_name),
          symbol("cuGetErrorString", calls.error_text)};
}

std::vector<std::string> targets_of(int major, int minor) {
  const int capability = 10 * major + minor;
  std::vector<std::string> targets;
  for (const int architecture : kArchitectures) {
    const bool runs = architecture == capability ||
                      (major == 8 && architecture / 10 == 8 && architecture < capability);
    if (runs) targets.insert(targets.begin(), fmt::format("cuda:{}", architecture));
  }
  return targets;
}

Result<gpu::Properties> describe(const gpu::Library& library, int device) {
  gpu::Properties properties{.warp_size = kWarpSize};
  std::array<char, 256> name{};
  NEREID_RETURN_IF_ERROR(
      library.call(&Calls::device_name, name.data(), static_cast<int>(name.size()) - 1, device));
  properties.name = name.data();
  int major = 0, minor = 0, shared_bytes = 0;
  for (const auto& [attribute, value] :
       {std::pair{kComputeCapabilityMajor, &major}, std::pair{kComputeCapabilityMinor, &minor},
        std::pair{kMultiprocessorCount, &properties.num_multiprocessors},
        std::pair{kMaxSharedBytesOptin, &shared_bytes}}) {
    NEREID_RETURN_IF_ERROR(
        library.call(&Calls::device_attribute, value, static_cast<int>(attribute), device));
  }
  properties.max_shared_bytes = static_cast<uint32_t>(std::max(0, shared_bytes));
  properties.architecture = fmt::format("compute capability {}.{}", major, minor);
  properties.targets = targets_of(major, minor);
  if (major >= kFirstWithClusters) properties.max_cluster = kPortableCluster;
  return properties;
}

std::string version_text(int version) {
  return fmt::format("for CUDA {}.{}", version / 1000, version % 1000 / 10);
}

constexpr gpu::Flavor kCuda = {.driver = "cuda",
                               .libraries = {"libcuda.so.1"},
                               .library_variable = "NEREID_CUDA_LIBRARY",
                               .supported = "compute capability 8.x, 9.0, 10.0, 12.0",
                               .min_version = 12000,
                               .version_text = version_text,
                               .symbols = symbols,
                               .describe = describe,
                               .elf_machine = kElfMachine,
                               .plain_shared_bytes = kPlainSharedBytes,
                               .shared_bytes_attribute = kMaxDynamicSharedBytes,
                               .captures_dependent_launches = 12030};

}  // namespace

Result<std::unique_ptr<Device>> create_cuda_device(const DeviceOptions& options) {
  return gpu::create_gpu_device(kCuda, options);
}

Result<int> count_cuda_devices() {
  return gpu::count_gpus(kCuda);
}

}  // namespace nereid
