// See launch_profile.h.
#include "src/device/launch_profile.h"

#include <chrono>

namespace nereid {
namespace {

class ProfiledDevice : public Device {
 public:
  ProfiledDevice(Device& inner, LaunchProfile& profile) : inner_(inner), profile_(profile) {}

  const DeviceInfo& info() const override { return inner_.info(); }
  Result<DevicePtr> alloc(uint64_t bytes) override { return inner_.alloc(bytes); }
  void free(DevicePtr pointer) override { inner_.free(pointer); }
  Result<uint64_t> free_bytes() override { return inner_.free_bytes(); }
  Status upload(DevicePtr destination, std::span<const std::byte> source) override {
    return inner_.upload(destination, source);
  }
  Status download(std::span<std::byte> destination, DevicePtr source) override {
    return inner_.download(destination, source);
  }
  Result<const LoadedKernel*> load(const KernelImage& image) override { return inner_.load(image); }

  Status launch(const LaunchParams& params) override {
    if (!profile_.recording()) return inner_.launch(params);
    const int64_t start = LaunchProfile::now_ns();
    Status status = inner_.launch(params);
    if (status) status = inner_.synchronize();
    profile_.add(params, start, LaunchProfile::now_ns());
    return status;
  }
  Status begin_sequence() override {
    in_sequence_ = !profile_.recording();
    return in_sequence_ ? inner_.begin_sequence() : Status();
  }
  Status end_sequence() override { return in_sequence_ ? inner_.end_sequence() : Status(); }
  Status synchronize() override { return inner_.synchronize(); }

 private:
  Device& inner_;
  LaunchProfile& profile_;
  bool in_sequence_ = false;
};

}  // namespace

int64_t LaunchProfile::now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

void LaunchProfile::start() {
  constexpr size_t kLaunches = 1 << 13, kArgs = 1 << 17;
  launches_.clear();
  args_.clear();
  launches_.reserve(kLaunches);
  args_.reserve(kArgs);
  recording_ = true;
}

void LaunchProfile::add(const LaunchParams& params, int64_t start_ns, int64_t end_ns) {
  if (params.decl == nullptr) return;
  launches_.push_back({.decl = params.decl,
                       .role = params.role,
                       .key = params.key,
                       .first_arg = args_.size(),
                       .step = step_,
                       .start_ns = start_ns,
                       .end_ns = end_ns});
  args_.insert(args_.end(), params.args.begin(), params.args.end());
}

LaunchCost LaunchProfile::cost(const ProfiledLaunch& launch) const {
  if (launch.decl->cost == nullptr) return {};
  return launch.decl->cost(launch.key.data(), args_.data() + launch.first_arg, launch.step);
}

std::unique_ptr<Device> make_profiled_device(Device& inner, LaunchProfile& profile) {
  return std::make_unique<ProfiledDevice>(inner, profile);
}

}  // namespace nereid
