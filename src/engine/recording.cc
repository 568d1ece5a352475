// Records a model's kernels on the null device; compile_pack writes them to a pack.
#include "src/engine/recording.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "kernels/identity.h"
#include "src/base/atomic_file.h"
#include "src/base/paths.h"
#include "src/device/drivers.h"
#include "src/device/target.h"
#include "src/models/registry.h"

namespace nereid {

namespace {

constexpr int32_t kDefaultMaxContext = 4096;
constexpr int32_t kMaxBatch = 1024;

// Flags of `nereid compile` that change which variants are needed.
std::string compile_flags(const LoadOptions& options) {
  std::string flags;
  if (options.dtype == ComputeType::kBF16) flags += " --dtype bf16";
  if (options.dtype == ComputeType::kF32) flags += " --dtype f32";
  if (options.dummy_format) {
    flags += fmt::format(" --load-format dummy --dummy-format {}",
                         storage_info(*options.dummy_format).name);
  }
  return flags;
}

}  // namespace

Result<RunnerOptions> runner_options_for(const ModelSource& source, const LoadOptions& options,
                                         const DeviceInfo& device) {
  const ModelConfig& config = source.config();
  if (options.max_context < 0 || options.max_context > config.max_position) {
    return error("--max-context: found {}, expected 1 to {}, the model's limit",
                 options.max_context, config.max_position);
  }
  if (options.max_batch < 1 || options.max_batch > kMaxBatch) {
    return error("batch: found {}, expected 1 to {}", options.max_batch, kMaxBatch);
  }
  const int32_t max_context = options.max_context > 0
                                  ? options.max_context
                                  : std::min(config.max_position, kDefaultMaxContext);
  // Cache slots are 32-bit integers in the kernels.
  const int64_t positions = (int64_t{max_context} + Runner::kPageSize) * options.max_batch;
  if (positions > INT32_MAX) {
    return error("--max-context: found {} for {} sequences, expected at most {} positions in all",
                 max_context, options.max_batch, INT32_MAX);
  }
  // The cache in whole pages, at least one token and the next, at most all sequences at full
  // length.
  const int64_t pages =
      std::clamp<int64_t>((options.cache_tokens + Runner::kPageSize - 1) / Runner::kPageSize,
                          options.cache_tokens > 0, positions / Runner::kPageSize);
  const bool bf16 = options.dtype == ComputeType::kAuto ? target_is_fast_at_bf16(device.target)
                                                        : options.dtype == ComputeType::kBF16;
  const DType compute = bf16 ? DType::kBF16 : DType::kF32;
  const bool codes = options.dtype != ComputeType::kF32 && target_is_fast_at_codes(device.target);
  return RunnerOptions{.types = {.compute = compute, .cache = compute, .codes = codes},
                       .max_context = max_context,
                       .max_batch = options.max_batch,
                       .max_rows = options.max_step_tokens,
                       .num_pages = static_cast<int32_t>(pages)};
}

Result<KernelRequest> record_kernels(const ModelSource& source, const LoadOptions& options,
                                     const DeviceInfo& device) {
  NEREID_TRY(const auto null_device, create_device("null", {.target = device.target}));
  Launcher launcher(*null_device, nullptr);
  NEREID_TRY_CONTEXT(auto spec, models::decoder_spec(source.config()), options.model_path);
  NEREID_TRY(const RunnerOptions runner_options, runner_options_for(source, options, device));
  NEREID_TRY(const auto runner,
             Runner::create(launcher, source, std::move(spec), runner_options, {}));
  NEREID_RETURN_IF_ERROR(runner->exercise());
  KernelRequest request;
  request.variants = launcher.variants();
  request.pack = {.target = device.target,
                  .request_json = pack_request_json(request.variants),
                  .sources_sha256 = kernels::kKernelSourcesSha256,
                  .toolchain = kernels::kToolchainId,
                  .model = options.model_path,
                  .flags = compile_flags(options)};
  return request;
}

Result<std::string> compile_pack(const CompileOptions& options) {
  if (!options.out_path.empty()) {
    const Status possible = AtomicFile::check_target(options.out_path);
    if (!possible) return with_context(possible.error(), "--out");
  }
  NEREID_TRY(const auto source,
             open_model(options.load.model_path, {.dummy_format = options.load.dummy_format}));
  DeviceInfo device;
  if (options.target.empty() || options.target == "cpu:native") {
    NEREID_TRY(const auto here, create_device("cpu"));
    device = here->info();
  } else {
    device.target = options.target;
    device.targets = {options.target};
  }
  NEREID_TRY(const auto request, record_kernels(*source, options.load, device));
  std::string path = options.out_path;
  if (path.empty()) {
    NEREID_TRY(path, cached_pack_path(request.pack));
    NEREID_RETURN_IF_ERROR(make_directories(std::filesystem::path(path).parent_path().string()));
  }
  NEREID_RETURN_IF_ERROR(
      build_pack(request.pack,
                 {.targets = device.targets, .on_progress = options.load.on_pack_progress}, path));
  return path;
}

}  // namespace nereid
