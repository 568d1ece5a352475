// See settings.h.
#include "apps/nereid/settings.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "src/base/json.h"

namespace nereid::commands {
namespace {

std::string environment_name(const std::string& flag) {
  std::string name = "NEREID_" + flag;
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  return name;
}

[[noreturn]] void wrong(const std::string& path, const std::string& message) {
  throw CLI::ValidationError("--config", fmt::format("{}: {}", path, message));
}

void apply(CLI::App& command, const std::string& path, const CLI::ConfigItem& item) {
  const std::string shown = printable(item.fullname());
  CLI::Option* option =
      item.parents.empty() ? command.get_option_no_throw("--" + item.name) : nullptr;
  if (option == nullptr || !option->get_configurable()) {
    wrong(path, fmt::format("'{}' is not a setting of 'nereid {}'", shown, command.get_name()));
  }
  if (!option->empty()) return;  // from the command line or the environment
  try {
    if (option->get_expected_min() == 0) {
      option->add_result(option->get_flag_value(item.name, CLI::ConfigTOML().to_flag(item)));
    } else {
      option->add_result(item.inputs);
    }
    option->run_callback();
  } catch (const CLI::ParseError& failure) {
    wrong(path, fmt::format("{}: {}", shown, failure.what()));
  }
}

}  // namespace

void name_environment(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    if (!option->get_configurable() || option->get_lnames().empty()) continue;
    if (!option->get_envname().empty()) continue;
    const std::vector<std::string>& names = option->get_lnames();
    const auto is_set = [](const std::string& name) {
      return std::getenv(environment_name(name).c_str()) != nullptr;
    };
    const auto used = std::ranges::find_if(names, is_set);
    option->envname(environment_name(used != names.end() ? *used : names.front()));
  }
}

void apply_config_file(CLI::App& command, const std::string& path) {
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_file(path);
  } catch (const CLI::Error&) {
    wrong(path, "cannot be read");
  }
  for (const CLI::ConfigItem& item : items) apply(command, path, item);
}

}  // namespace nereid::commands
