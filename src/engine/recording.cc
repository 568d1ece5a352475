// Records a model's kernels on the null device; compile_pack writes them to a pack.
#include "src/engine/recording.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "kernels/identity.h"
#include "src/base/atomic_file.h"
#include "src/base/json.h"
#include "src/base/paths.h"
#include "src/device/drivers.h"
#include "src/device/target.h"
#include "src/models/registry.h"

namespace nereid {

namespace {

constexpr int32_t kDefaultMaxContext = 4096;
constexpr int32_t kMaxBatch = 1024;

// nereid-cc knows more processors, of which no machine would say that it is one.
Status check_cpu_target(const std::string& target) {
  const std::vector<std::string_view> known = all_cpu_targets();
  if (!target.starts_with("cpu:") || std::ranges::find(known, target) != known.end()) return {};
  return error("no device runs packs for {}, expected cpu:native or one of {}", printable(target),
               fmt::join(known, ", "));
}

// Flags of `nereid compile` that change which variants are needed.
std::string compile_flags(const LoadOptions& options) {
  std::string flags;
  if (options.dtype == ComputeType::kBF16) flags += " --dtype bf16";
  if (options.dtype == ComputeType::kF32) flags += " --dtype f32";
  if (options.cache_dtype) {
    const bool float8 = *options.cache_dtype == DType::kF8E4M3;
    flags += fmt::format(" --kv-cache-dtype {}", float8 ? "fp8" : dtype_name(*options.cache_dtype));
  }
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
    return error("--max-model-len: found {}, expected 1 to {}, the model's limit",
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
  if (!options.shared_cache && positions > INT32_MAX) {
    return error("--max-model-len: found {} for {} sequences, expected at most {} positions in all",
                 max_context, options.max_batch, INT32_MAX);
  }
  const bool bf16 = options.dtype == ComputeType::kAuto ? target_is_fast_at_bf16(device.target)
                                                        : options.dtype == ComputeType::kBF16;
  const DType compute = bf16 ? DType::kBF16 : DType::kF32;
  // Half the bytes that decoding reads, also where the computation is in f32.
  const DType cache = options.dtype == ComputeType::kF32 ? DType::kF32 : DType::kBF16;
  const bool codes = options.dtype != ComputeType::kF32 && target_is_fast_at_codes(device.target);
  const bool float8 = compute == DType::kBF16 && target_multiplies_float8(device.target) &&
                      (!config.quantization || config.quantization->float8_activations);
  // Half of the bytes; on CPUs, where a step's rows stay in the cache, only beside codes
  // (Decoder::create). Parts of a row must begin where the copy engines of GPUs can store, every 16
  // bytes.
  const bool gpu = target_is_gpu(device.target);
  const bool narrow = compute == DType::kBF16 && gpu && config.head_dim % 8 == 0;
  // A long prompt must not hold up running replies for long.
  constexpr int32_t kGpuServingRows = 2048;
  const bool chosen = options.max_step_tokens == 0 && options.shared_cache && gpu;
  return RunnerOptions{.types = {.compute = compute,
                                 .projected = narrow ? DType::kBF16 : DType::kF32,
                                 .cache = options.cache_dtype.value_or(cache),
                                 .codes = codes,
                                 .prompt_numbers = codes && compute == DType::kBF16 &&
                                                   target_multiplies_tiles(device.target),
                                 .float8 = float8},
                       .max_context = max_context,
                       .max_batch = options.max_batch,
                       .max_rows = chosen ? kGpuServingRows : options.max_step_tokens};
}

CacheDemand cache_demand(const LoadOptions& options, const RunnerOptions& runner) {
  constexpr int32_t kUsualTokens = 1024;  // of a request
  const auto whole_pages = [](int64_t tokens) {
    return (tokens + Runner::kPageSize - 1) / Runner::kPageSize * Runner::kPageSize;
  };
  if (!options.shared_cache) {
    const int64_t all = whole_pages(runner.max_context) * runner.max_batch;
    return {
        .exact = options.cache_tokens, .least = all, .usual = all, .sequences = runner.max_batch};
  }
  // Who names the size of the cache gets contexts that fit it, unless the context is named too.
  const bool told =
      options.cache_tokens > 0 || (options.memory.kv_cache_memory > 0 && options.max_context == 0);
  const int64_t usual = whole_pages(std::min(runner.max_context, kUsualTokens));
  return {.exact = options.cache_tokens,
          .least = told ? 1 : runner.max_context,
          .usual = usual * runner.max_batch,
          .fills = true};
}

Result<KernelRequest> record_kernels(const ModelSource& source, const LoadOptions& options,
                                     const DeviceInfo& device) {
  NEREID_TRY(const auto null_device, create_device("null", {.target = device.target}));
  Launcher launcher(*null_device, nullptr);
  NEREID_TRY_CONTEXT(auto spec, models::decoder_spec(source.config()), options.model_path);
  NEREID_TRY(RunnerOptions runner_options, runner_options_for(source, options, device));
  runner_options.num_pages = 1;
  const auto num_buffers = static_cast<int32_t>(2 * spec.layers.size());
  NEREID_TRY(const auto runner,
             Runner::create(launcher, source, std::move(spec), runner_options, {}));
  NEREID_TRY(const uint64_t left, null_device->free_bytes());
  NEREID_RETURN_IF_ERROR(runner->exercise());
  KernelRequest request;
  request.memory = {.weights = runner->decoder().weight_bytes(),
                    .page_bytes = runner->decoder().page_bytes(),
                    .num_buffers = num_buffers,
                    .page_tokens = Runner::kPageSize};
  request.memory.activations = null_device->info().memory_bytes - left - request.memory.weights -
                               request.memory.page_bytes * static_cast<uint64_t>(num_buffers);
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
  const bool native = options.target.empty() || options.target == "cpu:native";
  if (!native) NEREID_RETURN_IF_ERROR(check_cpu_target(options.target));
  NEREID_TRY(const auto source,
             open_model(options.load.model_path, {.dummy_format = options.load.dummy_format}));
  DeviceInfo device;
  if (native) {
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
