// Device contract over worker pool, memory and shared objects.
#include "src/device/cpu/cpu_device.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "src/base/check.h"
#include "src/base/json.h"
#include "src/device/cpu/launch_list.h"
#include "src/device/cpu/memory.h"
#include "src/device/cpu/shared_object.h"
#include "src/device/cpu/topology.h"
#include "src/device/cpu/worker_pool.h"
#include "src/device/kernel_decl.h"
#include "src/device/launch_checks.h"

namespace nereid {
namespace {

constexpr uint32_t kKernelAbi = 1;
constexpr uint64_t kScratchAlign = 256;  // what CpuMemory gives
constexpr uint64_t kPageBytes = 4096;

struct CpuKernel : LoadedKernel {
  std::unique_ptr<SharedObject> object;
  CpuKernelFn run = nullptr;
};

void* host_pointer(DevicePtr pointer) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): device memory of this driver is the host's.
  return reinterpret_cast<void*>(pointer);
}

class CpuDevice : public Device {
 public:
  CpuDevice(DeviceInfo info, std::unique_ptr<WorkerPool> pool)
      : info_(std::move(info)), pool_(std::move(pool)), launches_(*pool_) {
    scratch_.resize(static_cast<size_t>(pool_->num_threads()), nullptr);
  }

  const DeviceInfo& info() const override { return info_; }

  Result<DevicePtr> alloc(uint64_t bytes) override {
    NEREID_TRY(void* pointer, memory_.alloc(bytes));
    return reinterpret_cast<DevicePtr>(pointer);
  }

  void free(DevicePtr pointer) override {
    NEREID_CHECK(!in_sequence_, "free within a sequence");
    if (pointer != 0) memory_.free(host_pointer(pointer));
  }

  Result<uint64_t> free_bytes() override { return memory_.free_bytes(); }

  Status upload(DevicePtr destination, std::span<const std::byte> source) override {
    if (!source.empty()) std::memcpy(host_pointer(destination), source.data(), source.size());
    return {};
  }

  Status download(std::span<std::byte> destination, DevicePtr source) override {
    NEREID_CHECK(!in_sequence_, "download within a sequence");
    if (!destination.empty()) {
      std::memcpy(destination.data(), host_pointer(source), destination.size());
    }
    return {};
  }

  Result<const LoadedKernel*> load(const KernelImage& image) override;
  Status launch(const LaunchParams& params) override;
  Status synchronize() override { return {}; }

  // Launches of a sequence run as one list, on other threads from the first one on, on this one
  // when the sequence ends.
  Status begin_sequence() override {
    NEREID_CHECK(!in_sequence_, "a sequence within a sequence");
    in_sequence_ = true;
    return {};
  }
  Status end_sequence() override {
    in_sequence_ = false;
    streams_.clear();
    launches_.finish();
    return {};
  }

 private:
  Status grow_scratch(uint64_t bytes);
  void find_streams(const LaunchParams& params);

  DeviceInfo info_;
  CpuMemory memory_;
  std::unique_ptr<WorkerPool> pool_;
  std::vector<void*> scratch_;  // one arena for each thread of the pool
  uint64_t scratch_bytes_ = 0;  // of each
  std::vector<std::unique_ptr<CpuKernel>> kernels_;
  LaunchList launches_;  // of the sequence; behind what they use, so that it goes first
  bool in_sequence_ = false;
  std::vector<LaunchStream> streams_;  // of the launch that is being added
};

Status check_info(const CpuKernelInfo& info, const KernelImage& image) {
  if (info.abi_version != kKernelAbi) {
    return error("kernel ABI {}, expected {}", info.abi_version, kKernelAbi);
  }
  if (info.num_args != image.num_args) {
    return error("compiled with {} arguments, expected {}", info.num_args, image.num_args);
  }
  if (info.scratch_align > kScratchAlign) {
    return error("scratch aligned to {}, at most {} is supported", info.scratch_align,
                 kScratchAlign);
  }
  return {};
}

Result<const LoadedKernel*> CpuDevice::load(const KernelImage& image) {
  auto kernel = std::make_unique<CpuKernel>();
  NEREID_TRY(kernel->object, SharedObject::load(image.blob));
  NEREID_TRY(kernel->run, kernel->object->function(image.entry));
  NEREID_TRY(const CpuKernelInfo info, kernel->object->info(image.entry));
  NEREID_RETURN_IF_ERROR(check_info(info, image));
  NEREID_RETURN_IF_ERROR(grow_scratch(std::max(image.scratch_bytes, info.scratch_bytes)));
  kernel->num_args = image.num_args;
  kernels_.push_back(std::move(kernel));
  return kernels_.back().get();
}

Status CpuDevice::grow_scratch(uint64_t bytes) {
  if (bytes <= scratch_bytes_) return {};
  std::vector<void*> grown;
  for (size_t thread = 0; thread < scratch_.size(); ++thread) {
    auto arena = memory_.alloc(bytes);
    if (!arena) {
      for (void* pointer : grown) memory_.free(pointer);
      return with_context(arena.error(), "scratch memory of kernels");
    }
    grown.push_back(*arena);
  }
  launches_.finish();
  for (void* pointer : scratch_) {
    if (pointer != nullptr) memory_.free(pointer);
  }
  scratch_ = std::move(grown);
  scratch_bytes_ = bytes;
  return {};
}

// What the declaration says is read in the order of programs, where a whole allocation is that.
void CpuDevice::find_streams(const LaunchParams& params) {
  streams_.clear();
  if (params.decl == nullptr) return;
  for (size_t at = 0; at < params.decl->args.size(); ++at) {
    if (!params.decl->args[at].streamed || params.args[at] == 0) continue;
    void* start = host_pointer(params.args[at]);
    const uint64_t bytes = memory_.size_of(start);
    if (bytes > 0) streams_.push_back({static_cast<const std::byte*>(start), bytes});
  }
}

Status CpuDevice::launch(const LaunchParams& params) {
  NEREID_TRY(const uint64_t programs, count_programs(params));
  if (programs == 0) return {};
  if (in_sequence_) find_streams(params);
  const ListedLaunch launch{.run = static_cast<const CpuKernel&>(*params.kernel).run,
                            .grid = params.grid,
                            .programs = static_cast<uint32_t>(programs),
                            .uneven = params.decl != nullptr && params.decl->uneven,
                            .args = params.args,
                            .streams = streams_};
  if (in_sequence_) {
    launches_.add(launch, scratch_);
  } else {
    launches_.run(launch, scratch_);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>> create_cpu_device(const DeviceOptions& options) {
  if (options.num_threads < 0 || options.num_threads > 1024) {
    return error("cpu: {} threads, expected 1 to 1024", options.num_threads);
  }
  const std::vector<int> cores = usable_cores();
  PoolOptions pool_options;
  pool_options.num_threads =
      options.num_threads > 0 ? options.num_threads : static_cast<int>(cores.size());
  // Pinned only when every core is used: two engines with few threads each must not share a core
  // while others idle.
  const bool whole_machine = pool_options.num_threads == static_cast<int>(cores.size());
  if (options.pin_threads && whole_machine) pool_options.cpus = cores;
  DeviceInfo info{.driver = "cpu", .name = cpu_name(), .targets = cpu_targets()};
  if (info.targets.empty())
    return error("cpu: this processor is not supported (AVX2 is the least)");
  if (!options.target.empty()) {
    const auto found = std::ranges::find(info.targets, options.target);
    if (found == info.targets.end()) {
      return error("cpu: this processor cannot run {}, expected one of {}",
                   printable(options.target), fmt::join(info.targets, ", "));
    }
    info.targets.erase(info.targets.begin(), found);
  }
  info.target = info.targets.front();
  info.num_workers = pool_options.num_threads;
  info.memory_bytes = memory_status().total;
  info.allocation_unit = kPageBytes;
  NEREID_TRY_CONTEXT(std::unique_ptr<WorkerPool> pool, WorkerPool::create(pool_options), "cpu");
  return std::make_unique<CpuDevice>(std::move(info), std::move(pool));
}

}  // namespace nereid
