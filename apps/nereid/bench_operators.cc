// See bench_operators.h.
#include "apps/nereid/bench_operators.h"

#include <fmt/format.h>

#include "apps/nereid/bench_limits.h"

namespace nereid::commands {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRow =
    "{:<10} {:<16} {:>8} {:>11} {:>6} {:>10} {:>10} {:>8} {:>8} {:>6} {:<6}";

std::string number(double value, int digits) {
  return value > 0 ? fmt::format("{:.{}f}", value, digits) : "-";
}

// A row for times that are not a launch's.
std::string time_row(const char* name, double seconds, double step_seconds) {
  return fmt::format("{:<36} {:>11.1f} {:>6}", name, 1e6 * seconds,
                     share_text(seconds / step_seconds));
}

}  // namespace

void print_operators(const std::string& title, const StepProfile& profile,
                     const MachineLimits& limits, Output& out) {
  out.line(title);
  out.line(fmt::format(fmt::runtime(kRow), "operator", "kernel", "launches", "us", "step", "MB",
                       "MOP", "GB/s", "GOP/s", "share", "of"));
  double least_seconds = 0;
  for (const OperatorTime& row : profile.operators) {
    const LeastTime least = least_time(limits, row.bytes, row.operations, row.products);
    least_seconds += least.seconds;
    out.line(fmt::format(
        fmt::runtime(kRow), row.role, row.kernel, row.launches, number(1e6 * row.seconds, 1),
        share_text(row.seconds / profile.plain_seconds), number(row.bytes / 1e6, 2),
        number(row.operations / 1e6, 1), number(row.bytes / row.seconds / 1e9, 1),
        number(row.operations / row.seconds / 1e9, 1), share_text(least.seconds / row.seconds),
        least.limit));
  }
  const double step = profile.plain_seconds;
  out.line(time_row("all launches", profile.launch_seconds, step));
  out.line(time_row("between launches, host", profile.between_seconds, step));
  out.line(time_row("step, measured so", profile.profiled_seconds, step));
  out.line(time_row("step", step, step));
  if (least_seconds > 0) out.line(time_row("least, by the limits", least_seconds, step));
}

Json operators_json(const StepProfile& profile, const MachineLimits& limits) {
  Json rows = Json::array();
  for (const OperatorTime& row : profile.operators) {
    const LeastTime least = least_time(limits, row.bytes, row.operations, row.products);
    rows.push_back({{"operator", row.role},
                    {"kernel", row.kernel},
                    {"launches", row.launches},
                    {"seconds", row.seconds},
                    {"bytes", row.bytes},
                    {"operations", row.operations},
                    {"products", dtype_name(row.products)},
                    {"limit", least.limit},
                    {"limit_share", least.seconds / row.seconds}});
  }
  return {{"operators", std::move(rows)},
          {"launch_seconds", profile.launch_seconds},
          {"between_seconds", profile.between_seconds},
          {"profiled_step_seconds", profile.profiled_seconds},
          {"step_seconds", profile.plain_seconds}};
}

}  // namespace nereid::commands
