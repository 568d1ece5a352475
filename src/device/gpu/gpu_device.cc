// Opening and closing a GPU, its memory and copies. Kernels are in gpu_kernels.cc.
#include "src/device/gpu/gpu_device.h"

#include <algorithm>
#include <cstring>

#include "src/base/check.h"
#include "src/base/numbers.h"
#include "src/base/paths.h"

namespace nereid::gpu {

namespace {

constexpr uint64_t kAllocationUnit = uint64_t{2} << 20;  // of both drivers

}  // namespace

Result<int> count_gpus(const Flavor& flavor) {
  NEREID_TRY(const auto library, Library::open(flavor));
  return library->device_count();
}

Result<std::unique_ptr<Device>> create_gpu_device(const Flavor& flavor,
                                                  const DeviceOptions& options) {
  NEREID_TRY_CONTEXT(const auto library, Library::open(flavor), flavor.driver);
  NEREID_TRY_CONTEXT(const int count, library->device_count(), flavor.driver);
  if (count == 0) return error("{}: the driver finds no GPU", flavor.driver);
  if (options.ordinal < 0 || options.ordinal >= count) {
    return error("{}:{}: expected a GPU from 0 to {}", flavor.driver, options.ordinal, count - 1);
  }
  NEREID_TRY_CONTEXT(auto device, GpuDevice::create(library, options.ordinal),
                     fmt::format("{}:{}", flavor.driver, options.ordinal));
  return device;
}

GpuDevice::GpuDevice(std::shared_ptr<const Library> library, Properties properties)
    : properties_(std::move(properties)), session_(std::move(library)), graphs_(session_) {}

Result<std::unique_ptr<Device>> GpuDevice::create(const std::shared_ptr<const Library>& library,
                                                  int ordinal) {
  int device = -1;
  NEREID_RETURN_IF_ERROR(library->call(&Calls::device_get, &device, ordinal));
  NEREID_TRY(Properties properties, library->flavor().describe(*library, device));
  if (properties.targets.empty()) {
    return error("{} ({}) is not supported, expected one of {}", properties.name,
                 properties.architecture, library->flavor().supported);
  }
  std::unique_ptr<GpuDevice> made(new GpuDevice(library, std::move(properties)));
  NEREID_RETURN_IF_ERROR(made->open(device));
  return made;
}

Status GpuDevice::open(int device) {
  NEREID_RETURN_IF_ERROR(session_.open(device));
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::stream_create, &stream_, kStreamNonBlocking));
  staging_ = std::make_unique<StagingRing>(session_);
  NEREID_RETURN_IF_ERROR(staging_->create());
  size_t free_bytes = 0, total_bytes = 0;
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::memory_info, &free_bytes, &total_bytes));
  info_ = {.driver = library().flavor().driver,
           .name = properties_.name,
           .target = properties_.targets.front(),
           .targets = properties_.targets,
           .memory_bytes = total_bytes,
           .allocation_unit = kAllocationUnit,
           .num_workers = properties_.num_multiprocessors};
  const auto wait = environment("NEREID_GPU_SYNC");
  waits_for_launches_ = wait && *wait != "0";
  return {};
}

// Failures are of no interest any more.
GpuDevice::~GpuDevice() {
  session_.try_enter();
  if (stream_ != nullptr) library().run(&Calls::stream_synchronize, stream_);
  graphs_.clear();
  for (const auto& kernel : kernels_) library().run(&Calls::module_unload, kernel->module);
  if (scratch_ != 0) library().run(&Calls::free, scratch_);
  for (const auto& [pointer, bytes] : live_) library().run(&Calls::free, pointer);
  staging_.reset();
  if (stream_ != nullptr) library().run(&Calls::stream_destroy, stream_);
}

Result<DevicePtr> GpuDevice::alloc(uint64_t bytes) {
  NEREID_RETURN_IF_ERROR(session_.enter());
  DevicePtr pointer = 0;
  Code code = kOutOfMemory;
  if (bytes <= info_.memory_bytes) {
    code = library().run(&Calls::alloc, &pointer, std::max<size_t>(bytes, 1));
  }
  if (code == 0) {
    live_.emplace(pointer, bytes);
    return pointer;
  }
  if (code != kOutOfMemory) {
    const Status failed = session_.failed(library().failure(&Calls::alloc, code), code);
    return std::unexpected(failed.error());
  }
  NEREID_TRY(const uint64_t left, free_bytes());
  return error("out of memory: {} wanted, {} of {} free on {}", format_bytes(bytes),
               format_bytes(left), format_bytes(info_.memory_bytes), info_.name);
}

Result<uint64_t> GpuDevice::free_bytes() {
  NEREID_RETURN_IF_ERROR(session_.enter());
  size_t free_bytes = 0, total_bytes = 0;
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::memory_info, &free_bytes, &total_bytes));
  return free_bytes;
}

// The driver waits for what was enqueued.
void GpuDevice::free(DevicePtr pointer) {
  NEREID_CHECK(!in_sequence_, "free within a sequence");
  if (pointer == 0) return;
  NEREID_CHECK(live_.erase(pointer) == 1, "{:#x} was not allocated here, or is free already",
               pointer);
  session_.try_enter();
  const Code code = library().run(&Calls::free, pointer);
  if (code != 0) session_.note_failure(library().failure(&Calls::free, code), code);
}

Status GpuDevice::upload(DevicePtr destination, std::span<const std::byte> source) {
  NEREID_RETURN_IF_ERROR(session_.enter());
  while (!source.empty()) {
    const size_t bytes = std::min(source.size(), StagingRing::kSlotBytes);
    NEREID_TRY(std::byte * slot, staging_->acquire());
    std::memcpy(slot, source.data(), bytes);
    NEREID_RETURN_IF_ERROR(
        session_.call(&Calls::copy_to_device, destination, slot, bytes, stream_));
    NEREID_RETURN_IF_ERROR(staging_->release(stream_));
    source = source.subspan(bytes);
    destination += bytes;
  }
  return {};
}

Status GpuDevice::download(std::span<std::byte> destination, DevicePtr source) {
  NEREID_CHECK(!in_sequence_, "download within a sequence");
  NEREID_RETURN_IF_ERROR(session_.enter());
  while (!destination.empty()) {
    const size_t bytes = std::min(destination.size(), StagingRing::kSlotBytes);
    NEREID_TRY(const std::byte* slot, staging_->acquire());
    NEREID_RETURN_IF_ERROR(
        session_.call(&Calls::copy_to_host, const_cast<std::byte*>(slot), source, bytes, stream_));
    NEREID_RETURN_IF_ERROR(synchronize());
    std::memcpy(destination.data(), slot, bytes);
    destination = destination.subspan(bytes);
    source += bytes;
  }
  return {};
}

Status GpuDevice::synchronize() {
  NEREID_RETURN_IF_ERROR(session_.enter());
  return session_.call(&Calls::stream_synchronize, stream_);
}

}  // namespace nereid::gpu
