// Which drivers there are: one explicit table.
#include "src/device/drivers.h"

#include <array>

#include "src/base/numbers.h"
#include "src/device/cpu/cpu_device.h"
#include "src/device/cuda/cuda_device.h"
#include "src/device/hip/hip_device.h"
#include "src/device/null/null_device.h"

namespace nereid {
namespace {

constexpr std::array<Driver, 4> kDrivers = {{
    {"cuda", "NVIDIA GPUs", "[:N]", &create_cuda_device, &count_cuda_devices},
    {"hip", "AMD GPUs", "[:N]", &create_hip_device, &count_hip_devices},
    {"cpu", "this machine's processor", "[:TARGET]", &create_cpu_device},
    {"null", "checks launches and runs nothing", "", &create_null_device},
}};

// What follows the colon: which GPU, or which target of the processor.
Status read_suffix(const Driver& driver, std::string_view name, DeviceOptions& options) {
  if (driver.count == nullptr) {
    options.target = name;
    return {};
  }
  const std::string_view suffix = name.substr(name.find(':') + 1);
  NEREID_TRY(const int64_t ordinal,
             parse_int(suffix, fmt::format("device {}:N", driver.name), 0, 1023));
  options.ordinal = static_cast<int>(ordinal);
  return {};
}

}  // namespace

std::span<const Driver> drivers() {
  return kDrivers;
}

Result<std::unique_ptr<Device>> create_device(std::string_view name, const DeviceOptions& options) {
  const size_t colon = name.find(':');
  const std::string_view wanted = name.substr(0, colon);
  DeviceOptions chosen = options;
  std::string known = "auto";
  std::string failures;
  for (const Driver& driver : kDrivers) {
    known += fmt::format(", {}{}", driver.name, driver.suffix);
    if (wanted == "auto" && colon == std::string_view::npos &&
        driver.name != std::string_view("null")) {
      auto device = driver.create(options);
      if (device) return device;
      failures += fmt::format("{}{}", failures.empty() ? "" : "; ", device.error().message);
    }
    if (wanted != driver.name) continue;
    if (colon != std::string_view::npos) {
      if (*driver.suffix == '\0') continue;
      NEREID_RETURN_IF_ERROR(read_suffix(driver, name, chosen));
    }
    return driver.create(chosen);
  }
  if (!failures.empty()) return error("no device works: {}", failures);
  return error("unknown device '{}', expected one of {}", name, known);
}

}  // namespace nereid
