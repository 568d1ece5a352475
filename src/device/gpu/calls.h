// The calls that libcuda and libamdhip64 share, in one table of function pointers.
//
// Both drivers have the same functions under other names and with the same arguments, so one Device
// serves both (gpu_device.h). What a driver adds is a Flavor: its library, its symbols, and how to
// ask what a GPU is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/device/device.h"

namespace nereid::gpu {

using Code = int;      // what a call returns; 0 is success
using Handle = void*;  // context, stream, event, module, function

// A launch with attributes, as libcuda has it (CUlaunchConfig, CUlaunchAttribute in cuda.h).
struct LaunchAttribute {
  enum Id : int {
    kClusterDimension = 4,           // value: x, y, z
    kClusterSchedulingPolicy = 5,    // value: kSpread
    kProgrammaticSerialization = 6,  // value: 1
  };
  static constexpr uint32_t kSpread = 1;
  int id = 0;
  int padding = 0;
  std::array<uint32_t, 16> value = {};
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned shared_bytes = 0;
  Handle stream = nullptr;
  const LaunchAttribute* attributes = nullptr;
  unsigned num_attributes = 0;
};
static_assert(sizeof(LaunchConfig) == 56);

struct Calls {
  Code (*init)(unsigned flags);
  Code (*driver_version)(int* version);
  Code (*device_count)(int* count);
  Code (*device_get)(int* device, int ordinal);
  Code (*device_name)(char* name, int size, int device);
  Code (*device_attribute)(int* value, int attribute, int device);  // hip: null
  Code (*device_properties)(void* properties, int device);          // cuda: null
  Code (*context_retain)(Handle* context, int device);
  Code (*context_release)(int device);
  Code (*context_set_current)(Handle context);
  Code (*memory_info)(size_t* free_bytes, size_t* total_bytes);
  Code (*alloc)(DevicePtr* pointer, size_t bytes);
  Code (*free)(DevicePtr pointer);
  Code (*host_alloc)(void** pointer, size_t bytes, unsigned flags);
  Code (*host_free)(void* pointer);
  Code (*copy_to_device)(DevicePtr to, const void* from, size_t bytes, Handle stream);
  Code (*copy_to_host)(void* to, DevicePtr from, size_t bytes, Handle stream);
  Code (*stream_create)(Handle* stream, unsigned flags);
  Code (*stream_destroy)(Handle stream);
  Code (*stream_synchronize)(Handle stream);
  Code (*event_create)(Handle* event, unsigned flags);
  Code (*event_destroy)(Handle event);
  Code (*event_record)(Handle event, Handle stream);
  Code (*event_synchronize)(Handle event);
  Code (*module_load)(Handle* module, const void* image);
  Code (*module_unload)(Handle module);
  Code (*module_function)(Handle* function, Handle module, const char* name);
  Code (*function_set_attribute)(Handle function, int attribute, int value);  // hip: null
  Code (*launch)(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                 unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                 Handle stream, void** params, void** extra);
  // `config`: a LaunchConfig. hip: null.
  Code (*launch_with)(const void* config, Handle function, void** params, void** extra);
  Code (*capture_begin)(Handle stream, int mode);
  Code (*capture_end)(Handle stream, Handle* graph);
  Code (*graph_instantiate)(Handle* executable, Handle graph, unsigned long long flags);
  Code (*graph_launch)(Handle executable, Handle stream);
  Code (*graph_exec_destroy)(Handle executable);
  Code (*graph_destroy)(Handle graph);
  Code (*error_name)(Code code, const char** name);
  Code (*error_text)(Code code, const char** text);
};

// Values that mean the same to both drivers.
inline constexpr Code kOutOfMemory = 2;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr int kCaptureThreadLocal = 1;

struct Symbol {
  const char* name;
  void** slot;  // of a Calls
};
template <typename F>
Symbol symbol(const char* name, F& slot) {
  return {name, reinterpret_cast<void**>(&slot)};
}

class Library;

// What a driver tells of one GPU.
struct Properties {
  std::string name;
  std::vector<std::string> targets;  // best first; empty: kernels can't be compiled for it
  std::string architecture;          // for the message then: "compute capability 7.5"
  int num_multiprocessors = 0;
  int warp_size = 0;
  uint32_t max_shared_bytes = 0;     // of a block
  uint64_t max_threads_in_grid = 0;  // 0: no bound but that of programs
  // Blocks of a cluster; 0: launches have no attributes (clusters, dependent launches).
  uint32_t max_cluster = 0;
};

struct Flavor {
  const char* driver = "";                    // "cuda"
  std::array<const char*, 3> libraries = {};  // the first that is there
  const char* library_variable = "";          // environment variable with the path of another
  const char* supported = "";                 // architectures, for messages
  int min_version = 0;                        // of the driver, as it counts
  std::string (*version_text)(int version) = nullptr;
  std::vector<Symbol> (*symbols)(Calls& calls) = nullptr;
  Result<Properties> (*describe)(const Library& library, int device) = nullptr;
  uint16_t elf_machine = 0;  // of a kernel image
  // Above this many bytes shared memory has to be asked for by `function_set_attribute`.
  uint32_t plain_shared_bytes = 0;
  int shared_bytes_attribute = 0;
  int captures_dependent_launches = 0;  // the version of the driver that does first
};

}  // namespace nereid::gpu
