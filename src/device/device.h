// The device contract: the few operations through which everything above reaches a processor.
//
// Design goals:
//   - small: a driver is this interface and nothing else; no vendor name appears above src/device/;
//   - tensor data is changed by kernel launches alone. `upload` is for weights as read from a file
//     (before repacking) and for integers that steer a step; `download` for results.
// Non-goals:
//   - graphs of operators, memory planning, dtypes: those live above.
//
// Threads: one thread uses a Device at a time unless a function says otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace nereid {

// Address in device memory. Arithmetic in bytes is allowed; 0 is null.
using DevicePtr = uint64_t;

struct DeviceInfo {
  std::string driver;                // "cpu", "null", ...
  std::string name;                  // "AMD EPYC 9R14"
  std::string target;                // pack target this device runs best: "cpu:znver4"
  std::vector<std::string> targets;  // all it can run, best first
  uint64_t memory_bytes = 0;         // total
  uint64_t allocation_unit = 1;      // what large allocations are rounded up to
  int num_workers = 0;               // threads or multiprocessors
  bool computes = true;  // false: launches are checked and recorded only, memory holds nothing
};

struct Grid {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t programs() const { return uint64_t{x} * y * z; }
};

// What a pack says of one compiled kernel (one tile choice of one variant).
struct KernelImage {
  std::span<const std::byte> blob;  // must outlive the loaded kernel
  std::string entry;
  uint32_t num_args = 0;
  uint64_t scratch_bytes = 0;
  uint32_t shared_bytes = 0;
  uint32_t num_warps = 0;
  uint32_t num_ctas = 1;  // blocks of a cluster that run one program together
  bool launch_pdl =
      false;  // waits by itself for the launch in front, so it may begin before its end
};

// A kernel loaded on a device. Owned by the device that loaded it; valid as long as that device.
// Drivers derive their own from it.
struct LoadedKernel {
  uint32_t num_args = 0;
};

struct KernelDecl;  // kernel_decl.h

struct LaunchParams {
  const LoadedKernel* kernel = nullptr;
  Grid grid;
  std::span<const uint64_t> args;    // one slot per kernel argument, see docs/cpu-compiler.md
  const char* label = "";            // for diagnostics; lives as long as the launcher
  const KernelDecl* decl = nullptr;  // what the arguments are, for checks and traces; may be null
  std::span<const int64_t> key;      // of the variant; lives as long as the launcher
  const char* role = "";             // what the launch is for, see Launcher::set_role
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceInfo& info() const = 0;

  // `bytes` of memory aligned to 256, contents undefined (the null driver reserves addresses only).
  // Zero bytes give an address of their own. Fails when there is not enough memory.
  virtual Result<DevicePtr> alloc(uint64_t bytes) = 0;
  virtual void free(DevicePtr ptr) = 0;  // once what was enqueued has run
  // What can be allocated now, in all; what others on the machine use is not in it.
  virtual Result<uint64_t> free_bytes() = 0;

  // Copies are ordered after earlier launches and before later ones. `source` may be reused on
  // return.
  virtual Status upload(DevicePtr destination, std::span<const std::byte> source) = 0;
  virtual Status download(std::span<std::byte> destination, DevicePtr source) = 0;

  // Errors say what is wrong with the image; the caller knows which kernel it is.
  virtual Result<const LoadedKernel*> load(const KernelImage& image) = 0;

  // Enqueues; launches of one device run in order. A grid without programs does nothing, one of
  // more than 2^31 - 1 programs is an error. Argument errors are bugs (CHECK).
  virtual Status launch(const LaunchParams& params) = 0;

  // Launches between the two may reach the device together, when the sequence ends; in between only
  // `launch`, `load`, `alloc` and an `upload` to memory that no launch of the sequence uses yet may
  // be called. A sequence of the same launches on the same memory that comes again and again costs
  // little more than one launch. An error of a launch may show when the sequence ends.
  virtual Status begin_sequence() { return {}; }
  virtual Status end_sequence() { return {}; }

  // Waits until everything enqueued has run.
  virtual Status synchronize() = 0;
};

}  // namespace nereid
