// Addresses from a counter and a map of live allocations.
#include "src/device/null/null_device.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "src/base/check.h"
#include "src/base/numbers.h"
#include "src/device/cpu/topology.h"
#include "src/device/kernel_decl.h"
#include "src/device/launch_checks.h"

namespace nereid {
namespace {

constexpr uint64_t kAlign = 256;
constexpr DevicePtr kFirstAddress = DevicePtr{1} << 40;
constexpr uint64_t kMemoryBytes = uint64_t{1} << 46;  // unless told otherwise

class NullDevice : public Device {
 public:
  explicit NullDevice(DeviceInfo info) : info_(std::move(info)) {}

  const DeviceInfo& info() const override { return info_; }

  Result<DevicePtr> alloc(uint64_t bytes) override {
    const uint64_t left = info_.memory_bytes - used_bytes_;
    if (bytes > left) {
      return error("out of memory: {} wanted, {} of {} free", format_bytes(bytes),
                   format_bytes(left), format_bytes(info_.memory_bytes));
    }
    const DevicePtr pointer = next_;
    // A gap after each: an address one past the end belongs to nobody.
    next_ += (bytes / kAlign + 2) * kAlign;
    used_bytes_ += bytes;
    live_.emplace(pointer, bytes);
    return pointer;
  }

  void free(DevicePtr pointer) override {
    NEREID_CHECK(!in_sequence_, "free within a sequence");
    if (pointer == 0) return;
    const auto found = live_.find(pointer);
    NEREID_CHECK(found != live_.end(), "{:#x} was not allocated here, or is free already", pointer);
    used_bytes_ -= found->second;
    live_.erase(found);
  }

  Result<uint64_t> free_bytes() override { return info_.memory_bytes - used_bytes_; }

  Status upload(DevicePtr destination, std::span<const std::byte> source) override {
    check_range(destination, source.size(), "upload");
    return {};
  }

  Status download(std::span<std::byte> destination, DevicePtr source) override {
    NEREID_CHECK(!in_sequence_, "download within a sequence");
    check_range(source, destination.size(), "download");
    std::ranges::fill(destination, std::byte{0});  // what a caller does with it runs all the same
    return {};
  }

  Result<const LoadedKernel*> load(const KernelImage& image) override {
    if (image.entry.empty()) return error("kernel image without an entry name");
    auto kernel = std::make_unique<LoadedKernel>();
    kernel->num_args = image.num_args;
    kernels_.push_back(std::move(kernel));
    return kernels_.back().get();
  }

  Status launch(const LaunchParams& params) override;
  Status synchronize() override { return {}; }

  Status begin_sequence() override {
    NEREID_CHECK(!in_sequence_, "a sequence within a sequence");
    in_sequence_ = true;
    return {};
  }
  Status end_sequence() override {
    in_sequence_ = false;
    return {};
  }

 private:
  // Bytes from `pointer` to the end of the allocation that holds it; 0 if none does.
  uint64_t bytes_from(DevicePtr pointer) const {
    auto after = live_.upper_bound(pointer);
    if (after == live_.begin()) return 0;
    const auto& [start, bytes] = *--after;
    return pointer - start < bytes ? start + bytes - pointer : 0;
  }

  void check_range(DevicePtr pointer, uint64_t bytes, const char* what) const {
    NEREID_CHECK(bytes == 0 || bytes <= bytes_from(pointer),
                 "{}: {} bytes at {:#x} are outside every allocation", what, bytes, pointer);
  }

  void check_args(const LaunchParams& params) const;

  DeviceInfo info_;
  DevicePtr next_ = kFirstAddress;
  uint64_t used_bytes_ = 0;
  bool in_sequence_ = false;
  std::map<DevicePtr, uint64_t> live_;  // start -> bytes
  std::vector<std::unique_ptr<LoadedKernel>> kernels_;
};

void NullDevice::check_args(const LaunchParams& params) const {
  const std::span<const ArgDecl> decls = params.decl->args;
  NEREID_CHECK(decls.size() == params.args.size(), "{}: {} arguments, {} declared", params.label,
               params.args.size(), decls.size());
  for (size_t at = 0; at < decls.size(); ++at) {
    if (decls[at].kind != ArgKind::kPtr) continue;
    const DevicePtr pointer = params.args[at];
    if (pointer == 0 && decls[at].nullable) continue;
    NEREID_CHECK(bytes_from(pointer) > 0, "{}: argument '{}' = {:#x} is in no live allocation",
                 params.label, decls[at].name, pointer);
    NEREID_CHECK(pointer % decls[at].divisible == 0,
                 "{}: argument '{}' = {:#x} is not aligned to {}", params.label, decls[at].name,
                 pointer, decls[at].divisible);
  }
}

Status NullDevice::launch(const LaunchParams& params) {
  NEREID_TRY(const uint64_t programs, count_programs(params));
  if (programs > 0 && params.decl != nullptr) check_args(params);
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>> create_null_device(const DeviceOptions& options) {
  DeviceInfo info{.driver = "null", .name = "null device", .computes = false};
  info.targets = options.target.empty() ? cpu_targets() : std::vector<std::string>{options.target};
  if (!info.targets.empty()) info.target = info.targets.front();
  info.memory_bytes = options.memory_bytes > 0 ? options.memory_bytes : kMemoryBytes;
  info.num_workers = 1;
  return std::make_unique<NullDevice>(std::move(info));
}

}  // namespace nereid
