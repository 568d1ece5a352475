// nereid devices: what this machine can run on.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "src/base/numbers.h"
#include "src/device/drivers.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDevicesFooter = R"(
The first one that works is what '--device auto' takes. "targets" are what 'nereid compile --target'
accepts for it, best first.)";

Json device_json(const Driver& driver, const Result<std::unique_ptr<Device>>& device) {
  Json object = {{"device", driver.name}, {"description", driver.description}};
  if (!device) {
    object["error"] = device.error().message;
    return object;
  }
  const DeviceInfo& info = (*device)->info();
  object["name"] = info.name;
  object["targets"] = info.targets;
  object["memory_bytes"] = info.memory_bytes;
  object["free_bytes"] = info.free_bytes;
  object["workers"] = info.num_workers;
  return object;
}

std::string device_line(const Driver& driver, const Result<std::unique_ptr<Device>>& device) {
  if (!device) return fmt::format("{:<6} not usable: {}", driver.name, device.error().message);
  const DeviceInfo& info = (*device)->info();
  return fmt::format("{:<6} {}, {} workers, {} ({} free), targets: {}", driver.name, info.name,
                     info.num_workers, format_bytes(info.memory_bytes),
                     format_bytes(info.free_bytes), fmt::join(info.targets, " "));
}

Result<int> devices(bool json, Environment& environment) {
  Json list = Json::array();
  for (const Driver& driver : drivers()) {
    const auto device = driver.create({});
    list.push_back(device_json(driver, device));
    if (!json) environment.out.line(device_line(driver, device));
  }
  if (json) environment.out.line(list.dump(2, ' ', false, Json::error_handler_t::replace));
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
