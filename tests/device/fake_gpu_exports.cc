// The drivers' functions by both their names; see fake_gpu.h.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/device/fake_gpu_state.h"

namespace nereid::testing::fake {
namespace {

State& state() {
  return State::get();
}

bool device_exists(int device) {
  return device >= 0 && device < state().config.devices;
}

Code retain(void** context, int device) {
  if (!device_exists(device)) return kInvalidDevice;
  ++state().contexts[device];
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(device + 1));
  return kOk;
}

Code release(int device) {
  int& count = state().contexts[device];
  if (count == 0) return state().misuse("a context released twice", kInvalidContext);
  --count;
  return kOk;
}

Code set_current(void* context) {
  const int device = static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1;
  if (state().contexts[device] == 0) return state().misuse("an unknown context", kInvalidContext);
  current_context = device + 1;
  return kOk;
}

Code memory_info(size_t* free_bytes, size_t* total) {
  *total = state().config.memory_bytes;
  *free_bytes = *total - state().used_bytes;
  return kOk;
}

Code host_alloc(void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes);
  state().host_memory[*pointer] = bytes;
  return kOk;
}

Code host_free(void* pointer) {
  if (state().host_memory.erase(pointer) == 0) {
    return state().misuse("free of host memory that is not allocated", kInvalidValue);
  }
  state().drain_all();
  std::free(pointer);
  return kOk;
}

Code copy(void* to, const void* from, size_t bytes, void* stream, uint64_t device_side) {
  if (!state().inside(device_side, bytes)) {
    return state().misuse("a copy outside allocations", kInvalidValue);
  }
  return state().enqueue(stream, [=] {
    std::memcpy(to, from, bytes);
    return kOk;
  });
}

Code stream_create(void** stream, unsigned flags) {
  if (flags != 1) return state().misuse("a stream that waits for the default one", kInvalidValue);
  auto made = std::make_unique<Stream>();
  *stream = made.get();
  state().streams[*stream] = std::move(made);
  return kOk;
}

Code stream_destroy(void* stream) {
  const auto found = state().streams.find(stream);
  if (found == state().streams.end()) return state().misuse("a dead stream", kInvalidHandle);
  if (!found->second->pending.empty() && state().fault == kOk) {
    state().misuse("a stream destroyed with work in it", kOk);
  }
  state().streams.erase(found);
  return kOk;
}

Code stream_synchronize(void* stream) {
  const auto found = state().streams.find(stream);
  if (found == state().streams.end()) return state().misuse("a dead stream", kInvalidHandle);
  return state().drain(*found->second, found->second->enqueued);
}

Stream* live_stream(void* stream) {
  const auto found = state().streams.find(stream);
  return found != state().streams.end() ? found->second.get() : nullptr;
}

Code capture_begin(void* handle, int mode) {
  Stream* stream = live_stream(handle);
  if (stream == nullptr || mode != 1 || stream->capturing) {
    return state().misuse("a capture that cannot begin", kInvalidValue);
  }
  stream->capturing = std::make_unique<Graph>();
  return kOk;
}

Code keep(void** handle, std::unique_ptr<Graph> graph) {
  *handle = graph.get();
  state().graphs[*handle] = std::move(graph);
  return kOk;
}

Code capture_end(void* handle, void** graph) {
  Stream* stream = live_stream(handle);
  if (stream == nullptr || !stream->capturing) {
    return state().misuse("the end of no capture", kInvalidValue);
  }
  return keep(graph, std::move(stream->capturing));
}

Code instantiate(void** executable, void* graph) {
  const auto found = state().graphs.find(graph);
  if (found == state().graphs.end()) return state().misuse("a dead graph", kInvalidHandle);
  return keep(executable, std::make_unique<Graph>(*found->second));
}

Code graph_launch(void* executable, void* stream) {
  const auto found = state().graphs.find(executable);
  if (found == state().graphs.end()) return state().misuse("a dead graph", kInvalidHandle);
  for (const Work& work : found->second->work) {
    if (const Code code = state().enqueue(stream, work); code != kOk) return code;
  }
  return kOk;
}

Code graph_destroy(void* graph) {
  state().drain_all();
  return state().graphs.erase(graph) == 1 ? kOk : state().misuse("a dead graph", kInvalidHandle);
}

Code event_create(void** event, unsigned flags) {
  if (flags != 2) return state().misuse("an event that takes the time", kInvalidValue);
  auto made = std::make_unique<Event>();
  *event = made.get();
  state().events[*event] = std::move(made);
  return kOk;
}

Code event_destroy(void* event) {
  return state().events.erase(event) == 1 ? kOk : state().misuse("a dead event", kInvalidHandle);
}

Code event_record(void* event, void* stream) {
  const auto found = state().events.find(event);
  const auto in = state().streams.find(stream);
  if (found == state().events.end() || in == state().streams.end()) {
    return state().misuse("a dead event or stream", kInvalidHandle);
  }
  found->second->stream = in->second.get();
  found->second->mark = in->second->enqueued;
  return kOk;
}

Code event_synchronize(void* event) {
  const auto found = state().events.find(event);
  if (found == state().events.end()) return state().misuse("a dead event", kInvalidHandle);
  if (found->second->stream == nullptr) return kOk;
  return state().drain(*found->second->stream, found->second->mark);
}

Code set_attribute(void* function, int attribute, int value) {
  const auto found = state().functions.find(function);
  if (found == state().functions.end()) return state().misuse("a dead function", kInvalidHandle);
  if (attribute != 8 || value < 0 || static_cast<uint32_t>(value) > kMaxShared) {
    return state().misuse("a function attribute out of range", kInvalidValue);
  }
  found->second->max_shared_bytes = static_cast<uint32_t>(value);
  return kOk;
}

Code device_attribute(int* value, int attribute) {
  switch (attribute) {
    case 16:
      *value = 132;
      return kOk;
    case 75:
      *value = state().config.compute_major;
      return kOk;
    case 76:
      *value = state().config.compute_minor;
      return kOk;
    case 97:
      *value = static_cast<int>(kMaxShared);
      return kOk;
    default:
      return state().misuse("an unknown device attribute", kInvalidValue);
  }
}

// As cuda.h lays them out.
struct LaunchAttribute {
  int id, padding;
  uint32_t value[16];
};
struct LaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  void* stream;
  const LaunchAttribute* attributes;
  unsigned num_attributes;
};

Code launch_with(const LaunchConfig& config, void* function, void** params) {
  if (state().config.compute_major < 9) {
    return state().misuse("launch attributes that this GPU does not have", kInvalidValue);
  }
  Launch launch{.grid = {config.grid[0], config.grid[1], config.grid[2]},
                .block = {config.block[0], config.block[1], config.block[2]},
                .shared_bytes = config.shared_bytes,
                .warp_size = 32,
                .asks_for_shared = true};
  bool spread = false;
  for (unsigned at = 0; at < config.num_attributes; ++at) {
    const LaunchAttribute& attribute = config.attributes[at];
    const uint32_t* value = attribute.value;
    if (attribute.id == 4 && value[0] >= 1 && value[0] <= 8 && value[1] == 1 && value[2] == 1) {
      launch.cluster = value[0];
    } else if (attribute.id == 5 && value[0] == 1) {
      spread = true;
    } else if (attribute.id == 6 && value[0] == 1) {
      launch.pdl = true;
    } else {
      return state().misuse("an unknown launch attribute or value", kInvalidValue);
    }
  }
  if (spread != (launch.cluster > 1)) {
    return state().misuse("a scheduling policy without a cluster, or none with one", kInvalidValue);
  }
  return state().launch(function, config.stream, launch, params);
}

template <typename T>
void put(void* properties, size_t at, T value) {
  std::memcpy(static_cast<char*>(properties) + at, &value, sizeof(value));
}

// Where hipDeviceProp_tR0600 has what the driver reads.
Code hip_properties(void* properties) {
  put(properties, 296, size_t{65536});
  put(properties, 308, 64);
  put(properties, 388, 304);
  const std::string& name = state().config.hip_architecture;
  std::memcpy(static_cast<char*>(properties) + 1160, name.c_str(), name.size() + 1);
  return kOk;
}

Code error_string(Code code, const char** text, const char* prefix) {
  const char* name = code_name(code);
  if (name == nullptr) return kInvalidValue;
  static std::map<std::string, std::string> texts;
  std::string& stored = texts[std::string(prefix) + name];
  stored = std::string(prefix) + name;
  *text = stored.c_str();
  return kOk;
}

}  // namespace
}  // namespace nereid::testing::fake

using namespace nereid::testing::fake;  // NOLINT: this file is nothing but their names

// NEREID_FAKE(name, parameters, needs a context, what it does)
#define NEREID_FAKE(name, parameters, needs_context, ...)                \
  extern "C" FAKE_GPU_EXPORT int name parameters {                       \
    return state().enter(#name, needs_context, [&]()->Code __VA_ARGS__); \
  }
// The same function of both drivers.
#define NEREID_FAKE_BOTH(cuda, hip, parameters, needs_context, ...) \
  NEREID_FAKE(cuda, parameters, needs_context, __VA_ARGS__)         \
  NEREID_FAKE(hip, parameters, needs_context, __VA_ARGS__)

NEREID_FAKE_BOTH(cuInit, hipInit, (unsigned), false, {
  state().initialised = true;
  return kOk;
})
NEREID_FAKE(cuDriverGetVersion, (int* version), false, {
  *version = state().config.cuda_version;
  return kOk;
})
NEREID_FAKE(hipDriverGetVersion, (int* version), false, {
  *version = state().config.hip_version;
  return kOk;
})
NEREID_FAKE_BOTH(cuDeviceGetCount, hipGetDeviceCount, (int* count), false, {
  *count = state().config.devices;
  return kOk;
})
NEREID_FAKE_BOTH(cuDeviceGet, hipDeviceGet, (int* device, int ordinal), false, {
  *device = ordinal;
  return device_exists(ordinal) ? kOk : kInvalidDevice;
})
NEREID_FAKE_BOTH(cuDeviceGetName, hipDeviceGetName, (char* name, int size, int), false, {
  std::strncpy(name, "Fake GPU", static_cast<size_t>(size));
  return kOk;
})
NEREID_FAKE(cuDeviceGetAttribute, (int* value, int attribute, int), false,
            { return device_attribute(value, attribute); })
NEREID_FAKE(hipGetDevicePropertiesR0600, (void* properties, int), false,
            { return hip_properties(properties); })
NEREID_FAKE_BOTH(cuDevicePrimaryCtxRetain, hipDevicePrimaryCtxRetain, (void** context, int device),
                 false, { return retain(context, device); })
NEREID_FAKE_BOTH(cuDevicePrimaryCtxRelease_v2, hipDevicePrimaryCtxRelease, (int device), false,
                 { return release(device); })
NEREID_FAKE_BOTH(cuCtxSetCurrent, hipCtxSetCurrent, (void* context), false,
                 { return set_current(context); })
NEREID_FAKE_BOTH(cuMemGetInfo_v2, hipMemGetInfo, (size_t* free_bytes, size_t* total), true,
                 { return memory_info(free_bytes, total); })
NEREID_FAKE_BOTH(cuMemAlloc_v2, hipMalloc, (uint64_t* pointer, size_t bytes), true,
                 { return state().alloc(pointer, bytes); })
NEREID_FAKE_BOTH(cuMemFree_v2, hipFree, (uint64_t pointer), true, { return state().free(pointer); })
NEREID_FAKE_BOTH(cuMemHostAlloc, hipHostMalloc, (void** pointer, size_t bytes, unsigned), true,
                 { return host_alloc(pointer, bytes); })
NEREID_FAKE_BOTH(cuMemFreeHost, hipHostFree, (void* pointer), true, { return host_free(pointer); })
NEREID_FAKE_BOTH(cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync,
                 (uint64_t to, const void* from, size_t bytes, void* stream), true,
                 { return copy(reinterpret_cast<void*>(to), from, bytes, stream, to); })
NEREID_FAKE_BOTH(cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync,
                 (void* to, uint64_t from, size_t bytes, void* stream), true,
                 { return copy(to, reinterpret_cast<void*>(from), bytes, stream, from); })
NEREID_FAKE_BOTH(cuStreamCreate, hipStreamCreateWithFlags, (void** stream, unsigned flags), true,
                 { return stream_create(stream, flags); })
NEREID_FAKE_BOTH(cuStreamDestroy_v2, hipStreamDestroy, (void* stream), true,
                 { return stream_destroy(stream); })
NEREID_FAKE_BOTH(cuStreamSynchronize, hipStreamSynchronize, (void* stream), true,
                 { return stream_synchronize(stream); })
NEREID_FAKE_BOTH(cuEventCreate, hipEventCreateWithFlags, (void** event, unsigned flags), true,
                 { return event_create(event, flags); })
NEREID_FAKE_BOTH(cuEventDestroy_v2, hipEventDestroy, (void* event), true,
                 { return event_destroy(event); })
NEREID_FAKE_BOTH(cuEventRecord, hipEventRecord, (void* event, void* stream), true,
                 { return event_record(event, stream); })
NEREID_FAKE_BOTH(cuEventSynchronize, hipEventSynchronize, (void* event), true,
                 { return event_synchronize(event); })
NEREID_FAKE_BOTH(cuModuleLoadData, hipModuleLoadData, (void** module, const void* image), true,
                 { return state().load(module, image); })
NEREID_FAKE_BOTH(cuModuleUnload, hipModuleUnload, (void* module), true,
                 { return state().unload(module); })
NEREID_FAKE_BOTH(cuModuleGetFunction, hipModuleGetFunction,
                 (void** function, void* module, const char* name), true,
                 { return state().find(function, module, name); })
NEREID_FAKE(cuFuncSetAttribute, (void* function, int attribute, int value), true,
            { return set_attribute(function, attribute, value); })

NEREID_FAKE_BOTH(cuStreamBeginCapture_v2, hipStreamBeginCapture, (void* stream, int mode), true,
                 { return capture_begin(stream, mode); })
NEREID_FAKE_BOTH(cuStreamEndCapture, hipStreamEndCapture, (void* stream, void** graph), true,
                 { return capture_end(stream, graph); })
NEREID_FAKE_BOTH(cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags,
                 (void** executable, void* graph, unsigned long long), true,
                 { return instantiate(executable, graph); })
NEREID_FAKE_BOTH(cuGraphLaunch, hipGraphLaunch, (void* executable, void* stream), true,
                 { return graph_launch(executable, stream); })
NEREID_FAKE_BOTH(cuGraphExecDestroy, hipGraphExecDestroy, (void* executable), true,
                 { return graph_destroy(executable); })
NEREID_FAKE_BOTH(cuGraphDestroy, hipGraphDestroy, (void* graph), true,
                 { return graph_destroy(graph); })

#define NEREID_LAUNCH_PARAMETERS                                                                 \
  (void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, \
   unsigned shared, void* stream, void** params, void**)
NEREID_FAKE(cuLaunchKernel, NEREID_LAUNCH_PARAMETERS, true, {
  return state().launch(function, stream,
                        {.grid = {gx, gy, gz},
                         .block = {bx, by, bz},
                         .shared_bytes = shared,
                         .warp_size = 32,
                         .asks_for_shared = true},
                        params);
})
NEREID_FAKE(cuLaunchKernelEx, (const void* config, void* function, void** params, void**), true,
            { return launch_with(*static_cast<const LaunchConfig*>(config), function, params); })
NEREID_FAKE(hipModuleLaunchKernel, NEREID_LAUNCH_PARAMETERS, true, {
  return state().launch(
      function, stream,
      {.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared_bytes = shared, .warp_size = 64},
      params);
})

extern "C" FAKE_GPU_EXPORT int cuGetErrorName(int code, const char** text) {
  return error_string(code, text, "CUDA_ERROR_");
}
extern "C" FAKE_GPU_EXPORT int cuGetErrorString(int code, const char** text) {
  return error_string(code, text, "what it means: ");
}
extern "C" FAKE_GPU_EXPORT int hipDrvGetErrorName(int code, const char** text) {
  return error_string(code, text, "hipError_");
}
extern "C" FAKE_GPU_EXPORT int hipDrvGetErrorString(int code, const char** text) {
  return error_string(code, text, "what it means: ");
}
