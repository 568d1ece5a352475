// See step_profile.h.
#include "src/engine/step_profile.h"

#include <algorithm>

#include "src/base/check.h"

namespace nereid {

double median(std::vector<double> values) {
  NEREID_CHECK(!values.empty(), "a median of nothing");
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void StepProfiler::add_profiled(const LaunchProfile& profile, double seconds) {
  const bool first = profiled_.empty();
  profiled_.push_back(seconds);
  const auto launches = profile.launches();
  double inside = 0;
  for (Row& row : rows_) row.seconds.push_back(0);
  for (const ProfiledLaunch& launch : launches) {
    const LaunchCost cost = profile.cost(launch);
    auto row = std::ranges::find_if(rows_, [&](const Row& known) {
      return known.time.role == launch.role && known.time.kernel == launch.decl->name &&
             known.time.products == cost.products;
    });
    if (row == rows_.end()) {
      NEREID_CHECK(first, "{} for '{}' was not launched before", launch.decl->name, launch.role);
      rows_.push_back(
          {.time = {.role = launch.role, .kernel = launch.decl->name, .products = cost.products},
           .seconds = {0}});
      row = rows_.end() - 1;
    }
    row->seconds.back() += launch.seconds();
    inside += launch.seconds();
    if (!first) continue;
    ++row->time.launches;
    row->time.bytes += static_cast<double>(cost.bytes);
    row->time.operations += static_cast<double>(cost.operations);
  }
  NEREID_CHECK(!launches.empty(), "a step without launches");
  const int64_t whole_ns = launches.back().end_ns - launches.front().start_ns;
  between_.push_back(static_cast<double>(whole_ns) * 1e-9 - inside);
}

StepProfile StepProfiler::result() const {
  StepProfile profile{.between_seconds = median(between_),
                      .profiled_seconds = median(profiled_),
                      .plain_seconds = plain_.empty() ? 0 : median(plain_)};
  for (const Row& row : rows_) {
    profile.operators.push_back(row.time);
    profile.operators.back().seconds = median(row.seconds);
    profile.launch_seconds += profile.operators.back().seconds;
  }
  return profile;
}

}  // namespace nereid
