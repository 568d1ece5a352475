// nereid devices: what this machine can run on.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/nereid/command.h"
#include "src/base/numbers.h"
#include "src/device/drivers.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDevicesFooter = R"(
The first one that works is what '--device auto' takes. "targets" are what 'nereid compile --target'
accepts for it, best first. Those of the processor are devices too: '--device cpu:x86-64-v3'.)";

// A line of the list: a device, or a driver without one.
struct Listed {
  std::string name;  // what --device takes
  const char* description;
  Result<std::unique_ptr<Device>> device;
  uint64_t free_bytes = 0;
};

std::vector<Listed> list_devices() {
  std::vector<Listed> list;
  for (const Driver& driver : drivers()) {
    const auto count = driver.count != nullptr ? driver.count() : Result<int>(1);
    for (int at = 0; at < std::max(1, count.value_or(1)); ++at) {
      const std::string name = at > 0 ? fmt::format("{}:{}", driver.name, at) : driver.name;
      Listed& entry = list.emplace_back(name, driver.description, driver.create({.ordinal = at}));
      if (!entry.device) continue;
      if (const auto free_bytes = (*entry.device)->free_bytes()) {
        entry.free_bytes = *free_bytes;
      } else {
        entry.device = std::unexpected(free_bytes.error());
      }
    }
  }
  return list;
}

Json device_json(const Listed& entry) {
  Json object = {{"device", entry.name}, {"description", entry.description}};
  if (!entry.device) {
    object["error"] = entry.device.error().message;
    return object;
  }
  const DeviceInfo& info = (*entry.device)->info();
  object["name"] = info.name;
  object["targets"] = info.targets;
  object["memory_bytes"] = info.memory_bytes;
  object["free_bytes"] = entry.free_bytes;
  object["workers"] = info.num_workers;
  return object;
}

std::string device_line(const Listed& entry) {
  if (!entry.device) {
    return fmt::format("{:<6} not usable: {}", entry.name, entry.device.error().message);
  }
  const DeviceInfo& info = (*entry.device)->info();
  return fmt::format("{:<6} {}, {} workers, {} ({} free), targets: {}", entry.name, info.name,
                     info.num_workers, format_bytes(info.memory_bytes),
                     format_bytes(entry.free_bytes), fmt::join(info.targets, " "));
}

Result<int> devices(bool json, Environment& environment) {
  Json objects = Json::array();
  for (const Listed& entry : list_devices()) {
    objects.push_back(device_json(entry));
    if (!json) environment.out.line(device_line(entry));
  }
  if (json) environment.out.line(objects.dump(2, ' ', false, Json::error_handler_t::replace));
  return 0;
}

}  // namespace

void add_devices(CLI::App& app, Environment& environment) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("devices", "List devices and the targets they run");
  command->add_flag("--json", *json, "Print a JSON array");
  command->footer(kDevicesFooter);
  command->callback([json, &environment] {
    environment.action = [json, &environment] { return devices(*json, environment); };
  });
}

}  // namespace nereid::commands
