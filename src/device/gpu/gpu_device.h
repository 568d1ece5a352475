// The device contract over a GPU driver: one context, one stream, kernels from packs.
//
// Launches and uploads are enqueued and return at once; downloads wait.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "src/device/device.h"
#include "src/device/drivers.h"
#include "src/device/gpu/launch_sequence.h"
#include "src/device/gpu/session.h"
#include "src/device/gpu/staging_ring.h"

namespace nereid::gpu {

// What the `create` and `count` of a GPU driver do.
Result<std::unique_ptr<Device>> create_gpu_device(const Flavor& flavor,
                                                  const DeviceOptions& options);
Result<int> count_gpus(const Flavor& flavor);

class GpuDevice : public Device {
 public:
  static Result<std::unique_ptr<Device>> create(const std::shared_ptr<const Library>& library,
                                                int ordinal);
  ~GpuDevice() override;

  const DeviceInfo& info() const override { return info_; }
  Result<DevicePtr> alloc(uint64_t bytes) override;
  void free(DevicePtr pointer) override;
  Result<uint64_t> free_bytes() override;
  Status upload(DevicePtr destination, std::span<const std::byte> source) override;
  Status download(std::span<std::byte> destination, DevicePtr source) override;
  Result<const LoadedKernel*> load(const KernelImage& image) override;
  Status launch(const LaunchParams& params) override;
  Status begin_sequence() override;
  Status end_sequence() override;
  Status synchronize() override;

 private:
  GpuDevice(std::shared_ptr<const Library> library, Properties properties);
  Status open(int device);
  const Library& library() const { return session_.library(); }

  Status check_launch_attributes(const KernelImage& image) const;
  Status find_function(Kernel& kernel, const KernelImage& image);
  Status check_grid(const LaunchParams& params, const Kernel& kernel) const;
  Status reserve_scratch(uint64_t bytes);
  // `captured`: into a graph.
  Status enqueue(const NotedLaunch& launch, bool captured);
  Status enqueue_with_attributes(const NotedLaunch& launch, bool pdl, void** addresses);

  Properties properties_;
  DeviceInfo info_;
  Session session_;
  Handle stream_ = nullptr;
  std::unique_ptr<StagingRing> staging_;
  std::unordered_map<DevicePtr, uint64_t> live_;  // start -> bytes
  std::vector<std::unique_ptr<Kernel>> kernels_;
  bool in_sequence_ = false;
  LaunchList sequence_;
  GraphCache graphs_;
  DevicePtr scratch_ = 0;
  uint64_t scratch_bytes_ = 0;
  bool waits_for_launches_ = false;
};

}  // namespace nereid::gpu
