// spdlog behind log.h, so that its headers stay in this file.
#include "src/base/log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace nereid {
namespace {

constexpr std::array<std::string_view, 6> kLevelNames = {"trace", "debug", "info",
                                                         "warn",  "error", "off"};

constexpr const char* kTextPattern = "nereid: %^%l%$: %v";

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

LogLevel level_from_environment() {
  const char* text = std::getenv("NEREID_LOG");
  return text == nullptr ? LogLevel::kWarn : log_level_named(text).value_or(LogLevel::kWarn);
}

std::atomic<LogFormat> log_format = LogFormat::kText;

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>(
        "nereid", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern(kTextPattern);
    made->set_level(spdlog_level(level_from_environment()));
    return made;
  }();
  return *instance;
}

using Json = nlohmann::ordered_json;

void write_json(LogLevel level, const Json& fields) {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto milliseconds = now.time_since_epoch().count() % 1000;
  Json line = {
      {"time", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                           fmt::gmtime(std::chrono::system_clock::to_time_t(now)), milliseconds)},
      {"level", kLevelNames[static_cast<size_t>(level)]}};
  line.update(fields);
  logger().log(spdlog_level(level), line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Values with anything but plain characters stand in quotes, so that lines can be taken apart.
std::string text_of(const LogField& field) {
  if (const auto* number = std::get_if<double>(&field.value)) return fmt::format("{:.6f}", *number);
  const auto* text = std::get_if<std::string_view>(&field.value);
  if (text == nullptr) {
    return std::visit([](const auto& value) { return fmt::format("{}", value); }, field.value);
  }
  if (!text->empty() && text->find_first_of(" \"=\\\n") == std::string_view::npos) {
    return std::string(*text);
  }
  return Json(*text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::optional<LogLevel> log_level_named(std::string_view name) {
  for (size_t at = 0; at < kLevelNames.size(); ++at) {
    if (kLevelNames[at] == name) return static_cast<LogLevel>(at);
  }
  return std::nullopt;
}

void set_log_format(LogFormat format) {
  log_format = format;
  logger().set_pattern(format == LogFormat::kJson ? "%v" : kTextPattern);
}

void log_event(LogLevel level, std::string_view event, std::span<const LogField> fields) {
  if (!log_enabled(level)) return;
  if (log_format == LogFormat::kJson) {
    Json object = {{"event", event}};
    for (const LogField& field : fields) {
      std::visit([&](const auto& value) { object[std::string(field.name)] = value; }, field.value);
    }
    write_json(level, object);
    return;
  }
  std::string line(event);
  for (const LogField& field : fields) {
    fmt::format_to(std::back_inserter(line), " {}={}", field.name, text_of(field));
  }
  logger().log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

void set_log_level(LogLevel level) {
  logger().set_level(spdlog_level(level));
}

bool log_enabled(LogLevel level) {
  return logger().should_log(spdlog_level(level));
}

void log_message(LogLevel level, std::string_view message) {
  if (log_format == LogFormat::kJson) {
    if (log_enabled(level)) write_json(level, {{"message", message}});
    return;
  }
  logger().log(spdlog_level(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace nereid
