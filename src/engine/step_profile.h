// Where the time of one step goes: what `nereid bench --operators` prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/device/dtype.h"
#include "src/device/launch_profile.h"

namespace nereid {

// A prefill of `prefill` tokens of one sequence with nothing in the cache; or, where that is 0, a
// step that decodes one token of `batch` sequences of `context` positions each.
struct StepChoice {
  int32_t prefill = 0;
  int32_t context = 0, batch = 1;
  int32_t repeat = 9;       // measured so often, with and without the profile in turn
  bool costs_only = false;  // run once, for what the operators ask for; times mean little
};

// The launches of one kernel in one role.
struct OperatorTime {
  std::string role, kernel;
  int64_t launches = 0;              // in a step
  double seconds = 0;                // all of them, the median over the repetitions
  double bytes = 0, operations = 0;  // all of them; 0 where the kernel does not say
  DType products = DType::kF32;
};

struct StepProfile {
  std::vector<OperatorTime> operators;  // in the order of their first launch
  double launch_seconds = 0;            // sum over the operators
  double between_seconds = 0;  // from the first launch to the last, outside of launches: the host
  double profiled_seconds = 0, plain_seconds = 0;  // of a step, with and without the profile
};

// Gathers repetitions of one step.
class StepProfiler {
 public:
  void add_plain(double seconds) { plain_.push_back(seconds); }
  // Every repetition launches the same.
  void add_profiled(const LaunchProfile& profile, double seconds);
  StepProfile result() const;

 private:
  struct Row {
    OperatorTime time;
    std::vector<double> seconds;  // of each repetition
  };
  std::vector<Row> rows_;
  std::vector<double> plain_, profiled_, between_;
};

double median(std::vector<double> values);

}  // namespace nereid
