// The table of drivers and the way to open a device.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/device/device.h"

namespace nereid {

struct DeviceOptions {
  int ordinal = 0;          // cuda, hip: which GPU
  int num_threads = 0;      // cpu: with the calling thread; 0: one per core this process may use
  bool pin_threads = true;  // cpu: workers stay on their core when every core is used
  // null: the target it stands for. cpu: the best that is used, of those the processor can run.
  // Empty: what this machine's processor runs best.
  std::string target;
  uint64_t memory_bytes = 0;  // null: how much it has; 0: more than any model takes
};

struct Driver {
  const char* name;
  const char* description;
  const char* suffix;  // what may follow the name, for messages: "[:N]"
  Result<std::unique_ptr<Device>> (*create)(const DeviceOptions& options);
  Result<int> (*count)();  // devices of this driver, usable or not; null: one
  // Takes in what followed the name and a colon.
  Status (*read_suffix)(std::string_view text, DeviceOptions& options);
};

// Best first; the null driver is last.
std::span<const Driver> drivers();

// A driver's name, or for its second device "cuda:1", or for this processor as if it were another
// one "cpu:x86-64-v3" (a pack target), or for a device of so much memory that runs nothing
// "null:8GiB". "auto" opens the first driver that works, never the null
// driver.
Result<std::unique_ptr<Device>> create_device(std::string_view name,
                                              const DeviceOptions& options = {});

}  // namespace nereid
