// Loading kernels and launching them, by the entry ABI of Triton's GPU code: the declared
// arguments, then the addresses of global and of profile scratch memory.
#include <algorithm>
#include <array>
#include <bit>

#include "src/base/check.h"
#include "src/device/gpu/gpu_device.h"
#include "src/device/gpu/image.h"
#include "src/device/launch_checks.h"

namespace nereid::gpu {
namespace {

constexpr uint32_t kMaxArgs = 62;
constexpr uint32_t kMaxGridSide = 65535;  // of y and z
constexpr uint64_t kMaxBlocks = 0x7FFFFFFF;

}  // namespace

Result<const LoadedKernel*> GpuDevice::load(const KernelImage& image) {
  NEREID_RETURN_IF_ERROR(session_.enter());
  NEREID_RETURN_IF_ERROR(check_image(image.blob, library().flavor().elf_machine));
  if (image.num_args > kMaxArgs) {
    return error("{} arguments, at most {} are supported", image.num_args, kMaxArgs);
  }
  if (image.num_warps == 0 || image.num_warps > 32) {
    return error("{} warps, expected 1 to 32", image.num_warps);
  }
  if (image.shared_bytes > properties_.max_shared_bytes) {
    return error("{} bytes of shared memory, this GPU has {} for a program", image.shared_bytes,
                 properties_.max_shared_bytes);
  }
  NEREID_RETURN_IF_ERROR(check_launch_attributes(image));
  auto kernel = std::make_unique<Kernel>();
  kernel->num_ctas = image.num_ctas;
  kernel->launch_pdl = image.launch_pdl;
  kernel->num_args = image.num_args;
  kernel->threads = image.num_warps * static_cast<uint32_t>(properties_.warp_size);
  kernel->shared_bytes = image.shared_bytes;
  kernel->scratch_bytes = image.scratch_bytes;
  NEREID_RETURN_IF_ERROR(session_.call(&Calls::module_load, &kernel->module, image.blob.data()));
  if (const Status found = find_function(*kernel, image); !found) {
    library().run(&Calls::module_unload, kernel->module);
    return std::unexpected(found.error());
  }
  kernels_.push_back(std::move(kernel));
  return kernels_.back().get();
}

Status GpuDevice::check_launch_attributes(const KernelImage& image) const {
  const uint32_t most = properties_.max_cluster;
  if (image.num_ctas == 0) return error("clusters of 0 blocks, expected at least 1");
  if (most == 0 && image.num_ctas > 1) {
    return error("clusters of {} blocks, {} has none", image.num_ctas, properties_.architecture);
  }
  if (most == 0 && image.launch_pdl) {
    return error("launch_pdl, {} has no launches that overlap", properties_.architecture);
  }
  if (image.num_ctas > 1 && (image.num_ctas > most || !std::has_single_bit(image.num_ctas))) {
    return error("clusters of {} blocks, expected a power of two up to {}", image.num_ctas, most);
  }
  return {};
}

Status GpuDevice::find_function(Kernel& kernel, const KernelImage& image) {
  const Flavor& flavor = library().flavor();
  const Status found =
      session_.call(&Calls::module_function, &kernel.function, kernel.module, image.entry.c_str());
  if (!found) return with_context(found.error(), fmt::format("'{}'", image.entry));
  if (kernel.shared_bytes <= flavor.plain_shared_bytes) return {};
  return session_.call(&Calls::function_set_attribute, kernel.function,
                       flavor.shared_bytes_attribute, static_cast<int>(kernel.shared_bytes));
}

Status GpuDevice::check_grid(const LaunchParams& params, const Kernel& kernel) const {
  const Grid& grid = params.grid;
  if (grid.y > kMaxGridSide || grid.z > kMaxGridSide) {
    return error("{}: grid {} x {} x {}, at most {} of y and z run on a GPU", params.label, grid.x,
                 grid.y, grid.z, kMaxGridSide);
  }
  if (grid.programs() > kMaxBlocks / kernel.num_ctas) {
    return error("{}: grid {} x {} x {} in clusters of {} has more than {} blocks", params.label,
                 grid.x, grid.y, grid.z, kernel.num_ctas, kMaxBlocks);
  }
  const uint64_t most = properties_.max_threads_in_grid;
  if (most > 0 && grid.programs() > most / kernel.threads) {
    return error("{}: grid {} x {} x {} of {} threads each has more than {} threads", params.label,
                 grid.x, grid.y, grid.z, kernel.threads, most);
  }
  return {};
}

Status GpuDevice::launch(const LaunchParams& params) {
  NEREID_TRY(const uint64_t programs, count_programs(params));
  if (programs == 0) return {};
  const auto& kernel = static_cast<const Kernel&>(*params.kernel);
  NEREID_RETURN_IF_ERROR(check_grid(params, kernel));
  NEREID_RETURN_IF_ERROR(session_.enter());
  if (kernel.scratch_bytes > 0) {
    const Status reserved = reserve_scratch(kernel.scratch_bytes * programs);
    if (!reserved) return with_context(reserved.error(), params.label);
  }
  std::array<uint64_t, kMaxArgs + 2> args{};  // the last one: no profile scratch
  std::ranges::copy(params.args, args.begin());
  args[kernel.num_args] = scratch_;
  const NotedLaunch launch{
      .kernel = &kernel, .grid = params.grid, .args = std::span(args).first(kernel.num_args + 2)};
  session_.note_launch(params.label);
  if (in_sequence_) {
    sequence_.add(launch);
    return {};
  }
  Status enqueued = enqueue(launch, false);
  if (enqueued && waits_for_launches_) enqueued = synchronize();
  if (!enqueued) return with_context(enqueued.error(), params.label);
  return {};
}

Status GpuDevice::enqueue(const NotedLaunch& launch, bool captured) {
  std::array<void*, kMaxArgs + 2> addresses;
  for (size_t at = 0; at < launch.args.size(); ++at) {
    addresses[at] = const_cast<uint64_t*>(&launch.args[at]);
  }
  const Kernel& kernel = *launch.kernel;
  // An older driver does not know what to make of it in a graph; there the order is enough.
  const bool pdl =
      kernel.launch_pdl &&
      (!captured || library().version() >= library().flavor().captures_dependent_launches);
  if (pdl || kernel.num_ctas > 1) return enqueue_with_attributes(launch, pdl, addresses.data());
  return session_.call(&Calls::launch, kernel.function, launch.grid.x, launch.grid.y, launch.grid.z,
                       kernel.threads, 1U, 1U, kernel.shared_bytes, stream_, addresses.data(),
                       static_cast<void**>(nullptr));
}

Status GpuDevice::enqueue_with_attributes(const NotedLaunch& launch, bool pdl, void** addresses) {
  const Kernel& kernel = *launch.kernel;
  std::array<LaunchAttribute, 3> attributes{};
  unsigned count = 0;
  if (pdl) {
    attributes[count++] = {.id = LaunchAttribute::kProgrammaticSerialization, .value = {1}};
  }
  if (kernel.num_ctas > 1) {
    attributes[count++] = {.id = LaunchAttribute::kClusterDimension,
                           .value = {kernel.num_ctas, 1, 1}};
    attributes[count++] = {.id = LaunchAttribute::kClusterSchedulingPolicy,
                           .value = {LaunchAttribute::kSpread}};
  }
  const LaunchConfig config = {.grid_x = launch.grid.x * kernel.num_ctas,
                               .grid_y = launch.grid.y,
                               .grid_z = launch.grid.z,
                               .block_x = kernel.threads,
                               .shared_bytes = kernel.shared_bytes,
                               .stream = stream_,
                               .attributes = attributes.data(),
                               .num_attributes = count};
  return session_.call(&Calls::launch_with, static_cast<const void*>(&config), kernel.function,
                       addresses, static_cast<void**>(nullptr));
}

Status GpuDevice::begin_sequence() {
  NEREID_CHECK(!in_sequence_, "a sequence within a sequence");
  sequence_.clear();
  in_sequence_ = !waits_for_launches_;  // those that wait are not gathered
  return {};
}

Status GpuDevice::end_sequence() {
  in_sequence_ = false;
  if (sequence_.empty()) return {};
  NEREID_RETURN_IF_ERROR(session_.enter());
  NEREID_TRY(Handle graph, graphs_.find(sequence_, stream_, [this](const NotedLaunch& launch) {
    return enqueue(launch, true);
  }));
  if (graph != nullptr) return session_.call(&Calls::graph_launch, graph, stream_);
  return sequence_.each([this](const NotedLaunch& launch) { return enqueue(launch, false); });
}

// Launches run in order, so one block serves all; freeing the old one waits for them.
Status GpuDevice::reserve_scratch(uint64_t bytes) {
  if (bytes <= scratch_bytes_) return {};
  if (!in_sequence_) sequence_.clear();  // its launches were enqueued when it ended
  graphs_.clear();  // they know the old one, as do the launches of a sequence so far
  NEREID_RETURN_IF_ERROR(
      sequence_.each([this](const NotedLaunch& launch) { return enqueue(launch, false); }));
  sequence_.clear();
  if (scratch_ != 0) NEREID_RETURN_IF_ERROR(session_.call(&Calls::free, scratch_));
  scratch_ = 0;
  scratch_bytes_ = 0;
  NEREID_TRY_CONTEXT(scratch_, alloc(bytes), "scratch memory of kernels");
  live_.erase(scratch_);
  scratch_bytes_ = bytes;
  return {};
}

}  // namespace nereid::gpu
