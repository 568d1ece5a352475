// Engine::load: from a model's path to an engine that is ready, in the order
// files -> device -> recording on the null device -> pack -> memory plan -> weights.
#include "src/base/log.h"
#include "src/base/stopwatch.h"
#include "src/device/drivers.h"
#include "src/device/target.h"
#include "src/engine/model_engine.h"
#include "src/engine/recording.h"
#include "src/models/registry.h"

namespace nereid {

Result<std::unique_ptr<Engine>> Engine::load(const LoadOptions& options) {
  NEREID_TRY(std::unique_ptr<Engine> engine, ModelEngine::load(options));
  return engine;
}

Status ModelEngine::open_device(const LoadOptions& options) {
  NEREID_TRY(device_, create_device(options.device, {.num_threads = options.threads}));
  device_info_ = device_->info();
  on_pack_progress_ = options.on_pack_progress;
  active_device_ = device_.get();
  if (options.profile) {
    profiled_device_ = make_profiled_device(*device_, profile_);
    active_device_ = profiled_device_.get();
  }
  if (options.trace_path.empty()) return {};
  trace_path_ = options.trace_path;
  trace_ = std::make_unique<Trace>();
  traced_device_ = make_traced_device(*active_device_, *trace_);
  active_device_ = traced_device_.get();
  return {};
}

Result<MemoryNeeds> ModelEngine::open_kernels(const LoadOptions& options) {
  const DeviceInfo& info = device_->info();
  if (!info.computes) {
    if (!options.pack_path.empty()) return error("--pack: device {} runs no kernels", info.driver);
    launcher_ = std::make_unique<Launcher>(*active_device_, nullptr);
    NEREID_TRY(const auto request, record_kernels(*source_, options, info));
    return request.memory;
  }
  const auto record_for = [&](const std::string& target) -> Result<KernelRequest> {
    DeviceInfo other = info;
    other.target = target;
    return record_kernels(*source_, options, other);
  };
  const PackBuildOptions build = {
      .targets = info.targets,
      .on_progress = options.on_pack_progress,
      .request_for = [&](const std::string& target) -> Result<PackRequest> {
        NEREID_TRY(KernelRequest other, record_for(target));
        return std::move(other.pack);
      }};
  NEREID_TRY(auto request, record_for(info.target));
  NEREID_TRY(pack_, options.pack_path.empty() ? open_or_build_pack(request.pack, build)
                                              : open_pack(options.pack_path, request.pack, build));
  if (pack_->target() != info.target) {  // an older machine's, whose numerics may be others
    NEREID_TRY(request, record_for(pack_->target()));
    device_info_.target = pack_->target();
  }
  launcher_ = std::make_unique<Launcher>(*active_device_, &*pack_);
  const Status prepared = launcher_->prepare(request.variants);
  if (!prepared && !options.pack_path.empty()) {
    return error("{}; `{} --out {}` makes one for this model", prepared.error().message,
                 compile_command(request.pack), options.pack_path);
  }
  if (!prepared) return std::unexpected(prepared.error());
  return request.memory;
}

Status ModelEngine::plan(const MemoryNeeds& needs, const LoadOptions& options,
                         RunnerOptions& runner) {
  NEREID_TRY(const uint64_t free_bytes, device_->free_bytes());
  const DeviceMemory memory = {.name = device_info_.name,
                               .total = device_info_.memory_bytes,
                               .free = free_bytes,
                               .allocation_unit = device_info_.allocation_unit,
                               .gpu = target_is_gpu(device_info_.target)};
  NEREID_TRY(memory_plan_,
             plan_memory(needs, cache_demand(options, runner), options.memory, memory));
  runner.num_pages = memory_plan_.num_pages;
  log_info("memory: {}", memory_plan_.text());
  return {};
}

Result<std::unique_ptr<ModelEngine>> ModelEngine::load(const LoadOptions& options) {
  const Stopwatch watch;
  auto engine = std::unique_ptr<ModelEngine>(new ModelEngine());
  NEREID_TRY(engine->source_,
             open_model(options.model_path, {.dummy_format = options.dummy_format}));
  // The tokenizer takes as long as the weights do, and needs nothing of them.
  auto text = std::async(std::launch::async, [&source = *engine->source_] {
    return Text{.tokenizer = source.tokenizer(), .chat_template = source.chat_template()};
  });

  NEREID_RETURN_IF_ERROR(engine->open_device(options));
  NEREID_TRY_CONTEXT(auto spec, models::decoder_spec(engine->source_->config()),
                     options.model_path);
  NEREID_TRY(const MemoryNeeds needs, engine->open_kernels(options));
  NEREID_TRY(RunnerOptions runner_options,
             runner_options_for(*engine->source_, options, engine->device_info_));
  const Status planned = engine->plan(needs, options, runner_options);
  if (!planned) return with_context(planned.error(), options.model_path);
  engine->compute_dtype_ = runner_options.types.compute;
  engine->max_context_ = runner_options.max_context;
  NEREID_TRY_CONTEXT(engine->runner_,
                     Runner::create(*engine->launcher_, *engine->source_, std::move(spec),
                                    runner_options, options.on_load_progress),
                     options.model_path);
  engine->pages_ = std::make_unique<PagePool>(engine->runner_->num_pages());

  engine->text_ = text.get();
  engine->load_seconds_ = watch.seconds();
  if (engine->trace_) engine->trace_->mark("ready");
  return engine;
}

Status ModelEngine::finish() {
  if (trace_path_.empty()) return {};
  const Status written = trace_->write_chrome_json(trace_path_);
  if (!written) return with_context(written.error(), "--trace");
  return {};
}

}  // namespace nereid
