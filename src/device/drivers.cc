// Which drivers there are: one explicit table.
#include "src/device/drivers.h"

#include <array>

#include "src/device/cpu/cpu_device.h"
#include "src/device/null/null_device.h"

namespace nereid {
namespace {

constexpr std::array<Driver, 2> kDrivers = {{
    {"cpu", "this machine's processor", &create_cpu_device},
    {"null", "checks launches and runs nothing", &create_null_device},
}};

}  // namespace

std::span<const Driver> drivers() {
  return kDrivers;
}

Result<std::unique_ptr<Device>> create_device(std::string_view name, const DeviceOptions& options) {
  std::string known = "auto";
  std::string failures;
  for (const Driver& driver : kDrivers) {
    const bool automatic = name == "auto" && driver.name != std::string_view("null");
    if (automatic || name == driver.name) {
      auto device = driver.create(options);
      if (device || !automatic) return device;
      failures += fmt::format("{}{}", failures.empty() ? "" : "; ", device.error().message);
    }
    known += fmt::format(", {}", driver.name);
  }
  if (!failures.empty()) return error("no device works: {}", failures);
  return error("unknown device '{}', expected one of {}", name, known);
}

}  // namespace nereid
