// See measure_limits.h.
#include "src/engine/measure_limits.h"

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/identity.h"
#include "src/base/stopwatch.h"
#include "src/device/drivers.h"
#include "src/device/launcher.h"
#include "src/device/target.h"
#include "src/ops/limits.h"
#include "src/pack/pack_cache.h"
#include "src/tensor/tensor.h"

namespace nereid {

namespace {

constexpr int kTries = 5;  // the best of so many counts
constexpr double kTrySeconds = 0.02;
constexpr uint64_t kReadBytes = uint64_t{512} << 20, kLeastReadBytes = uint64_t{32} << 20;

// Seconds of `count` times `launch`, and of waiting for them.
template <typename Launch>
Result<double> seconds_of(Device& device, int count, const Launch& launch) {
  NEREID_RETURN_IF_ERROR(device.synchronize());
  const Stopwatch watch;
  for (int at = 0; at < count; ++at) NEREID_RETURN_IF_ERROR(launch());
  NEREID_RETURN_IF_ERROR(device.synchronize());
  return watch.seconds();
}

template <typename Launch>
Result<double> best_seconds(Device& device, int count, const Launch& launch) {
  double best = std::numeric_limits<double>::max();
  for (int round = 0; round < kTries; ++round) {
    NEREID_TRY(const double seconds, seconds_of(device, count, launch));
    best = std::min(best, seconds);
  }
  return best;
}

// As much of what is wanted as there is.
Result<OwnedTensor> alloc_words(Device& device) {
  for (uint64_t bytes = kReadBytes;; bytes /= 2) {
    auto words =
        OwnedTensor::alloc(device, DType::kI32, {static_cast<int64_t>(bytes / sizeof(int32_t))});
    if (words || bytes <= kLeastReadBytes) return words;
  }
}

Result<double> read_bytes_per_second(Launcher& launcher) {
  Device& device = launcher.device();
  NEREID_TRY(const OwnedTensor words, alloc_words(device));
  const int64_t programs = words.tensor.dim(0) / ops::kReadWords;
  NEREID_TRY(const OwnedTensor sums, OwnedTensor::alloc(device, DType::kI32, {programs}));
  NEREID_RETURN_IF_ERROR(ops::fill_ones(launcher, words.tensor));
  const auto read = [&] {
    return ops::read_words(launcher, {.words = words.tensor, .sums = sums.tensor});
  };
  NEREID_RETURN_IF_ERROR(read());
  // A GPU reads them in little more time than it takes to wait for it.
  const int reads = target_is_gpu(device.info().target) ? 16 : 1;
  NEREID_TRY(const double seconds, best_seconds(device, reads, read));
  return static_cast<double>(words.tensor.bytes()) * reads / seconds;
}

// Tiles that fit the first cache of a CPU, four of its tile registers where it has these; on a GPU
// as large as its matrix instructions like.
struct DotShape {
  int64_t m, n, k;
};
DotShape dot_shape(DType dtype, std::string_view target) {
  if (target_is_gpu(target)) return {128, 128, 64};
  const bool tiles = target_multiplies_tiles(target) && dtype != DType::kF32;
  return {tiles ? 32 : 8, 32, static_cast<int64_t>(512 / dtype_size(dtype))};
}

// `mask`: of bytes, see ops::RepeatedDotArgs.
Result<double> operations_per_second(Launcher& launcher, DType dtype, int32_t mask) {
  Device& device = launcher.device();
  const auto [m, n, k] = dot_shape(dtype, device.info().target);
  const auto part = static_cast<int64_t>(4 / dtype_size(dtype));
  const DType out_dtype = dtype == DType::kI8 ? DType::kI32 : DType::kF32;
  const int32_t programs = 8 * std::max(1, device.info().num_workers);
  NEREID_TRY(const OwnedTensor x, OwnedTensor::alloc(device, dtype, {m, k}));
  NEREID_TRY(const OwnedTensor w, OwnedTensor::alloc(device, dtype, {k / part, n, part}));
  NEREID_TRY(const OwnedTensor out, OwnedTensor::alloc(device, out_dtype, {programs, m, n}));
  NEREID_RETURN_IF_ERROR(ops::fill_ones(launcher, x.tensor));
  NEREID_RETURN_IF_ERROR(ops::fill_ones(launcher, w.tensor));
  int32_t rounds = 32;
  const auto dot = [&] {
    return ops::repeated_dot(
        launcher,
        {.x = x.tensor, .w = w.tensor, .out = out.tensor, .mask = mask, .rounds = rounds});
  };
  NEREID_RETURN_IF_ERROR(dot());
  constexpr int32_t kMostRounds = 1 << 24;
  for (; rounds < kMostRounds && device.info().computes; rounds *= 2) {
    NEREID_TRY(const double seconds, seconds_of(device, 1, dot));
    if (seconds > kTrySeconds) break;
  }
  NEREID_TRY(const double seconds, best_seconds(device, 1, dot));
  return 2.0 * static_cast<double>(m * n * k) * programs * rounds / seconds;
}

Result<double> seconds_of_a_launch(Launcher& launcher) {
  constexpr int kLaunches = 1000, kPrograms = 64;
  NEREID_TRY(const double seconds, best_seconds(launcher.device(), kLaunches,
                                                [&] { return ops::nothing(launcher, kPrograms); }));
  return seconds / kLaunches;
}

// On the null device: what these launch. Figures are meaningless there.
Result<MachineLimits> run_all(Launcher& launcher) {
  MachineLimits limits;
  NEREID_TRY(limits.read_bytes, read_bytes_per_second(launcher));
  NEREID_TRY(limits.f32_operations, operations_per_second(launcher, DType::kF32, 0));
  NEREID_TRY(limits.bf16_operations, operations_per_second(launcher, DType::kBF16, 0));
  // Bytes by bytes, and by codes of 4 bits: without instructions for sums of four products, small
  // ones can be added up in 16 bits, which is faster.
  for (const int32_t mask : {127, 15}) {
    NEREID_TRY(const double operations, operations_per_second(launcher, DType::kI8, mask));
    limits.int8_operations = std::max(limits.int8_operations, operations);
  }
  // Without instructions for it, products of bf16 are made in f32.
  limits.bf16_operations = std::max(limits.bf16_operations, limits.f32_operations);
  NEREID_TRY(limits.launch_seconds, seconds_of_a_launch(launcher));
  return limits;
}

Result<PackRequest> record(const std::string& target) {
  NEREID_TRY(const auto null_device, create_device("null", {.target = target}));
  Launcher launcher(*null_device, nullptr);
  NEREID_RETURN_IF_ERROR(run_all(launcher));
  return PackRequest{.target = target,
                     .request_json = pack_request_json(launcher.variants()),
                     .sources_sha256 = kernels::kKernelSourcesSha256,
                     .toolchain = kernels::kToolchainId};
}

}  // namespace

Result<MachineLimits> measure_limits(
    Device& device,
    const std::function<void(int done, int total, const std::string& what)>& on_pack_progress) {
  const DeviceInfo& info = device.info();
  if (!info.computes) return error("device {} computes nothing", info.driver);
  NEREID_TRY(const PackRequest request, record(info.target));
  NEREID_TRY(const Pack pack, open_or_build_pack(request, {.targets = info.targets,
                                                           .on_progress = on_pack_progress,
                                                           .request_for = record}));
  Launcher launcher(device, &pack);
  return run_all(launcher);
}

}  // namespace nereid
