// See bench_limits.h.
#include "apps/nereid/bench_limits.h"

#include <fmt/format.h>

#include "src/base/log.h"

namespace nereid::commands {

MachineLimits limits_of(Engine& engine) {
  auto limits = engine.limits();
  if (limits) return *limits;
  log_message(LogLevel::kWarn,
              fmt::format("limits of this machine: not measured: {}", limits.error().message));
  return {};
}

MachineLimits limits_again(Engine& engine, const MachineLimits& before) {
  if (before.read_bytes <= 0) return before;
  const auto after = engine.limits();
  return after ? better_of(before, *after) : before;
}

std::string share_text(double share) {
  return share > 0 ? fmt::format("{:.1f}%", 100 * share) : "-";
}

std::string limits_text(const MachineLimits& limits) {
  if (limits.read_bytes <= 0) return "limits not measured";
  return fmt::format(
      "limits measured in this run: memory {:.1f} GB/s read; products f32 {:.0f}, bf16 {:.0f}, i8 "
      "{:.0f} GOP/s; empty launch {:.1f} us",
      limits.read_bytes / 1e9, limits.f32_operations / 1e9, limits.bf16_operations / 1e9,
      limits.int8_operations / 1e9, limits.launch_seconds * 1e6);
}

nlohmann::ordered_json limits_json(const MachineLimits& limits) {
  if (limits.read_bytes <= 0) return nullptr;
  return {{"read_bytes_per_second", limits.read_bytes},
          {"f32_operations_per_second", limits.f32_operations},
          {"bf16_operations_per_second", limits.bf16_operations},
          {"int8_operations_per_second", limits.int8_operations},
          {"launch_seconds", limits.launch_seconds}};
}

StepNeeds needs_of(const StepProfile& profile, const MachineLimits& limits) {
  StepNeeds needs;
  bool all_known = true;
  for (const OperatorTime& row : profile.operators) {
    needs.bytes += row.bytes;
    needs.operations += row.operations;
    const double peak = limits.operations(row.products);
    if (peak > 0) needs.operation_seconds += row.operations / peak;
    all_known &= peak > 0 || row.operations == 0;
  }
  // Part of the operations would make a share that says nothing (e4m3 has no measured limit).
  if (!all_known) needs.operation_seconds = 0;
  if (limits.read_bytes > 0) needs.memory_seconds = needs.bytes / limits.read_bytes;
  return needs;
}

}  // namespace nereid::commands
