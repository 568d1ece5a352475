// Names and numbers of libamdhip64.
#include "src/device/hip/hip_device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "src/device/gpu/gpu_device.h"

namespace nereid {
namespace {

using gpu::Calls;
using gpu::Symbol;
using gpu::symbol;

// What hipGetDevicePropertiesR0600 fills, and where in it (HIP 6.0 and later).
constexpr size_t kPropertiesBytes = 1472;
constexpr size_t kWarpSizeAt = 308, kMultiprocessorCountAt = 388, kArchitectureAt = 1160;
constexpr size_t kArchitectureBytes = 256;
constexpr size_t kSharedBytesAt = 296;

constexpr uint16_t kElfMachine = 224;  // EM_AMDGPU

constexpr std::array<std::string_view, 5> kArchitectures = {"gfx90a", "gfx942", "gfx950", "gfx1100",
                                                            "gfx1201"};

std::vector<Symbol> symbols(Calls& calls) {
  return {symbol("hipInit", calls.init),
          symbol("hipDriverGetVersion", calls.driver_version),
          symbol("hipGetDeviceCount", calls.device_count),
          symbol("hipDeviceGet", calls.device_get),
          symbol("hipDeviceGetName", calls.device_name),
          symbol("hipGetDevicePropertiesR0600", calls.device_properties),
          symbol("hipDevicePrimaryCtxRetain", calls.context_retain),
          symbol("hipDevicePrimaryCtxRelease", calls.context_release),
          symbol("hipCtxSetCurrent", calls.context_set_current),
          symbol("hipMemGetInfo", calls.memory_info),
          symbol("hipMalloc", calls.alloc),
          symbol("hipFree", calls.free),
          symbol("hipHostMalloc", calls.host_alloc),
          symbol("hipHostFree", calls.host_free),
          symbol("hipMemcpyHtoDAsync", calls.copy_to_device),
          symbol("hipMemcpyDtoHAsync", calls.copy_to_host),
          symbol("hipStreamCreateWithFlags", calls.stream_create),
          symbol("hipStreamDestroy", calls.stream_destroy),
          symbol("hipStreamSynchronize", calls.stream_synchronize),
          symbol("hipEventCreateWithFlags", calls.event_create),
          symbol("hipEventDestroy", calls.event_destroy),
          symbol("hipEventRecord", calls.event_record),
          symbol("hipEventSynchronize", calls.event_synchronize),
          symbol("hipModuleLoadData", calls.module_load),
          symbol("hipModuleUnload", calls.module_unload),
          symbol("hipModuleGetFunction", calls.module_function),
          symbol("hipModuleLaunchKernel", calls.launch),
          symbol("hipStreamBeginCapture", calls.capture_begin),
          symbol("hipStreamEndCapture", calls.capture_end),
          symbol("hipGraphInstantiateWithFlags", calls.graph_instantiate),
          symbol("hipGraphLaunch", calls.graph_launch),
          symbol("hipGraphExecDestroy", calls.graph_exec_destroy),
          symbol("hipGraphDestroy", calls.graph_destroy),
          symbol("hipDrvGetErrorName", calls.error_name),
          symbol("hipDrvGetErrorString", calls.error_text)};
}

template <typename T>
T field(const std::array<char, 2 * kPropertiesBytes>& properties, size_t at) {
  T value;
  std::memcpy(&value, properties.data() + at, sizeof(value));
  return value;
}

Result<gpu::Properties> describe(const gpu::Library& library, int device) {
  alignas(8) std::array<char, 2 * kPropertiesBytes> raw{};  // room for what later versions add
  NEREID_RETURN_IF_ERROR(
      library.call(&Calls::device_properties, static_cast<void*>(raw.data()), device));
  const std::string_view full(raw.data() + kArchitectureAt,
                              ::strnlen(raw.data() + kArchitectureAt, kArchitectureBytes));
  const std::string architecture(full.substr(0, full.find(':')));  // "gfx942:sramecc+:xnack-"
  std::array<char, 256> name{};
  NEREID_RETURN_IF_ERROR(
      library.call(&Calls::device_name, name.data(), static_cast<int>(name.size()) - 1, device));
  gpu::Properties properties{
      .name = name[0] != '\0' ? std::string(name.data()) : architecture,
      .architecture = architecture,
      .num_multiprocessors = field<int>(raw, kMultiprocessorCountAt),
      .warp_size = field<int>(raw, kWarpSizeAt),
      .max_shared_bytes = static_cast<uint32_t>(field<size_t>(raw, kSharedBytesAt)),
      .max_threads_in_grid = std::numeric_limits<uint32_t>::max()};
  if (std::ranges::find(kArchitectures, architecture) != kArchitectures.end()) {
    properties.targets = {"hip:" + architecture};
  }
  return properties;
}

// 60241133: 6.2.41133
std::string version_text(int version) {
  return fmt::format("HIP {}.{}", version / 10'000'000, version / 100'000 % 100);
}

constexpr gpu::Flavor kHip = {
    .driver = "hip",
    .libraries = {"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so"},
    .library_variable = "NEREID_HIP_LIBRARY",
    .supported = "gfx90a, gfx942, gfx950, gfx1100, gfx1201",
    .min_version = 60'000'000,
    .version_text = version_text,
    .symbols = symbols,
    .describe = describe,
    .elf_machine = kElfMachine,
    .plain_shared_bytes = std::numeric_limits<uint32_t>::max(),
    .shared_bytes_attribute = 0};

}  // namespace

Result<std::unique_ptr<Device>> create_hip_device(const DeviceOptions& options) {
  return gpu::create_gpu_device(kHip, options);
}

Result<int> count_hip_devices() {
  return gpu::count_gpus(kHip);
}

}  // namespace nereid
