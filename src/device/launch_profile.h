// How long each launch of a step takes, for tables of operators.
//
// Unlike a trace (trace.h) it notes only what such a table needs, into memory that is there
// already: some 60 ns a launch, between launches and not within them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/device/device.h"
#include "src/device/kernel_decl.h"

namespace nereid {

struct ProfiledLaunch {
  const KernelDecl* decl = nullptr;
  const char* role = "";         // Launcher::set_role
  std::span<const int64_t> key;  // the launcher's
  size_t first_arg = 0;          // in the profile's memory
  StepShape step;
  int64_t start_ns = 0, end_ns = 0;  // of some steady clock

  double seconds() const { return static_cast<double>(end_ns - start_ns) * 1e-9; }
};

class LaunchProfile {
 public:
  // Launches from here to stop() are noted, those noted before forgotten.
  void start();
  void stop() { recording_ = false; }
  bool recording() const { return recording_; }
  // What the launches that follow are part of.
  void set_step(const StepShape& step) { step_ = step; }

  std::span<const ProfiledLaunch> launches() const { return launches_; }
  // Nothing where the declaration does not say it.
  LaunchCost cost(const ProfiledLaunch& launch) const;

  void add(const LaunchParams& params, int64_t start_ns, int64_t end_ns);
  static int64_t now_ns();

 private:
  bool recording_ = false;
  StepShape step_;
  std::vector<ProfiledLaunch> launches_;
  std::vector<uint64_t> args_;
};

// A device that passes everything on to `inner`. While `profile` records, launches are waited for
// one by one and sequences are not handed on, so that on drivers which only enqueue a launch's time
// has enqueueing and waiting in it. Both must outlive the device.
std::unique_ptr<Device> make_profiled_device(Device& inner, LaunchProfile& profile);

}  // namespace nereid
