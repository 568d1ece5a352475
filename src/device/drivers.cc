// Which drivers there are: one explicit table.
#include "src/device/drivers.h"

#include <array>

#include "src/base/json.h"
#include "src/base/numbers.h"
#include "src/device/cpu/cpu_device.h"
#include "src/device/cuda/cuda_device.h"
#include "src/device/hip/hip_device.h"
#include "src/device/null/null_device.h"

namespace nereid {
namespace {

Status read_ordinal(std::string_view text, DeviceOptions& options) {
  NEREID_TRY(const int64_t ordinal, parse_int(text, "number of the GPU", 0, 1023));
  options.ordinal = static_cast<int>(ordinal);
  return {};
}

Status read_target(std::string_view text, DeviceOptions& options) {
  options.target = fmt::format("cpu:{}", text);
  return {};
}

Status read_memory(std::string_view text, DeviceOptions& options) {
  NEREID_TRY(options.memory_bytes, parse_bytes(text));
  return {};
}

constexpr std::array<Driver, 4> kDrivers = {{
    {"cuda", "NVIDIA GPUs", "[:N]", &create_cuda_device, &count_cuda_devices, &read_ordinal},
    {"hip", "AMD GPUs", "[:N]", &create_hip_device, &count_hip_devices, &read_ordinal},
    {"cpu", "this machine's processor", "[:TARGET]", &create_cpu_device, nullptr, &read_target},
    {"null", "checks launches and runs nothing", "[:BYTES]", &create_null_device, nullptr,
     &read_memory},
}};

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
      const Status read = driver.read_suffix(name.substr(colon + 1), chosen);
      if (!read) return with_context(read.error(), fmt::format("device {}", printable(name)));
    }
    return driver.create(chosen);
  }
  if (!failures.empty()) return error("no device works: {}", failures);
  return error("unknown device '{}', expected one of {}", name, known);
}

}  // namespace nereid
