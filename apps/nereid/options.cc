// See options.h.
#include "apps/nereid/options.h"

#include <CLI/CLI.hpp>

#include "apps/nereid/default_model.h"
#include "apps/nereid/flag_checks.h"
#include "apps/nereid/progress.h"
#include "src/base/atomic_file.h"
#include "src/base/check.h"
#include "src/base/numbers.h"
#include "src/quant/storage.h"

namespace nereid::commands {
namespace {

// Found out before the work rather than after it.
Status check_trace_place(const std::string& path) {
  if (path.empty()) return {};
  const Status possible = AtomicFile::check_target(path);
  if (!possible) return with_context(possible.error(), "--trace");
  return {};
}

}  // namespace

void add_model_option(CLI::App& command, ModelOptions& options) {
  command.add_option("-m,--model", options.model,
                     "GGUF file or Hugging Face folder (config.json, *.safetensors). Default: "
                     "$NEREID_MODEL, else the small model that './dev setup' fetched");
}

void add_dtype_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option(
          "--dtype", options.dtype,
          "Computation: f32 everywhere; bf16 activations with f32 sums; auto "
          "is bf16 where the device is fast at it, else f32. On CPUs, auto and bf16 round what "
          "goes into layers with quantised weights to 8-bit codes (with AMX that of generated "
          "tokens only)")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str();
  command
      .add_option(
          "--kv-cache-dtype", options.kv_cache_dtype,
          "How keys and values are kept: fp8 (e4m3, scale 1) takes half the memory of bf16; "
          "auto is f32 with --dtype f32, else bf16")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "f16", "fp8"}))
      ->capture_default_str();
}

void add_load_format_options(CLI::App& command, ModelOptions& options) {
  auto* load_format =
      command
          .add_option(
              "--load-format", options.load_format,
              "dummy: made-up weights of the shapes that the folder's config.json says, for "
              "measuring; no other file is needed")
          ->check(CLI::IsMember({"auto", "dummy"}))
          ->capture_default_str();
  std::vector<std::string> formats;
  for (int index = 0; index < kNumStorageFormats; ++index) {
    formats.emplace_back(storage_info(static_cast<StorageFormat>(index)).name);
  }
  command
      .add_option("--dummy-format", options.dummy_format,
                  "How made-up weights are stored, such as BF16 or Q4_1")
      ->transform(CLI::IsMember(formats, CLI::ignore_case))
      ->needs(load_format)
      ->capture_default_str();
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  add_model_option(command, options);
  command
      .add_option(
          "--device", options.device,
          "Device, see 'nereid devices'; cpu:TARGET: the processor as if it were an older one")
      ->capture_default_str();
  add_dtype_option(command, options);
  add_load_format_options(command, options);
  command.add_option("--threads", options.threads, "CPU threads; 0 is one per usable core")
      ->check(whole_number(0, 1024))
      ->capture_default_str();
  command
      .add_option(
          "--max-model-len,--max-context", options.max_model_len,
          "Most tokens of a sequence, prompt and reply; 0 is the model's limit, at most 4096")
      ->check(whole_number(0))
      ->capture_default_str();
  CLI::Option* cache =
      command
          .add_option("--kv-cache-memory", options.kv_cache_memory,
                      "Memory of the KV cache, such as 8GiB. Default: what the sequences need, or "
                      "for serve on a GPU what is left of the share that may be taken")
          ->check(byte_count())
          ->type_name("BYTES");
  command
      .add_option("--memory-utilization,--gpu-memory-utilization", options.memory_utilization,
                  "Share of the device's free memory that weights, activations and KV cache may "
                  "take. Default: 0.9")
      ->check(number_in(0.01, 1))
      ->excludes(cache);
  command.add_option("--pack", options.pack,
                     "Kernels of this file, made by 'nereid compile'; default: the cache, where a "
                     "missing pack is built");
  command.add_option(
      "--trace", options.trace,
      "Write every kernel launch, a million of them at most, to this file (Chrome trace JSON, for "
      "Perfetto)");
}

Result<LoadOptions> load_options(const ModelOptions& options, const LoadNeeds& needs) {
  NEREID_RETURN_IF_ERROR(check_trace_place(options.trace));
  LoadOptions load;
  NEREID_TRY(load.model_path, resolve_model(options.model));
  if (options.load_format == "dummy") {
    load.dummy_format = storage_named(options.dummy_format);
    NEREID_CHECK(load.dummy_format, "--dummy-format {}", options.dummy_format);
  }
  load.device = options.device;
  load.threads = options.threads;
  load.dtype = options.dtype == "f32"    ? ComputeType::kF32
               : options.dtype == "bf16" ? ComputeType::kBF16
                                         : ComputeType::kAuto;
  if (options.kv_cache_dtype == "fp8") {
    load.cache_dtype = DType::kF8E4M3;
  } else if (options.kv_cache_dtype != "auto") {
    load.cache_dtype = parse_dtype(options.kv_cache_dtype);
  }
  load.max_context = options.max_model_len;
  load.memory.memory_utilization = options.memory_utilization;
  if (!options.kv_cache_memory.empty()) {
    NEREID_TRY_CONTEXT(load.memory.kv_cache_memory, parse_bytes(options.kv_cache_memory),
                       "--kv-cache-memory");
  }
  if (load.max_context == 0 && needs.min_context > 0) load.max_context = needs.min_context;
  load.max_batch = needs.max_batch;
  load.profile = needs.profile;
  load.max_step_tokens = needs.max_step_tokens;
  load.pack_path = options.pack;
  load.trace_path = options.trace;
  return load;
}

Result<int> with_engine(const Environment& environment, const ModelOptions& options,
                        const LoadNeeds& needs, const std::function<Result<int>(Engine&)>& work) {
  NEREID_TRY(LoadOptions load, load_options(options, needs));
  show_progress(load);
  NEREID_TRY(const auto engine, environment.load_engine(load));
  Result<int> exit_code = work(*engine);
  const Status finished = engine->finish();
  if (exit_code && !finished) return std::unexpected(finished.error());
  return exit_code;
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_option("--max-tokens,-n", options.max_tokens, "Most tokens to generate")
      ->check(whole_number(1))
      ->capture_default_str();
  const auto number = [&](const char* flag, std::optional<float>& value, const SamplingRange& range,
                          const char* help) {
    command.add_option(flag, value, help)->check(number_in(range));
  };
  number("--temperature,-t", options.temperature, kTemperatureRange,
         "0 always takes the most likely token. Default: what the model's generation_config says, "
         "else 0");
  command
      .add_option("--top-k", options.top_k, "Draw among the K most likely tokens only; 0 is off")
      ->check(whole_number(0));
  number("--top-p", options.top_p, kTopPRange,
         "Draw among the most likely tokens that together reach this probability");
  number("--min-p", options.min_p, kMinPRange,
         "Draw among tokens at least this likely relative to the most likely one");
  number("--repetition-penalty", options.repetition_penalty, kRepetitionPenaltyRange,
         "Makes tokens of the prompt and the reply less likely; 1 is off");
  number("--presence-penalty", options.presence_penalty, kPenaltyRange,
         "Taken from the logit of every token of the reply");
  number("--frequency-penalty", options.frequency_penalty, kPenaltyRange,
         "The same, times how often the token occurred");
  command.add_option("--logit-bias", options.logit_bias, "ID:VALUE, added to a token's logit")
      ->check(token_bias())
      ->take_all();
  command.add_option("--seed", options.seed, "Seed of the draw; the same seed gives the same text")
      ->check(seed_number())
      ->capture_default_str();
  command.add_flag("--ignore-eos", options.ignore_eos,
                   "Go on after the end-of-sequence token, until --max-tokens");
}

Result<SamplingParams> sampling_params(const SamplingOptions& options,
                                       const GenerationDefaults& defaults) {
  SamplingParams params;
  params.temperature = options.temperature.value_or(defaults.temperature.value_or(0.0f));
  params.top_k = options.top_k.value_or(defaults.top_k.value_or(0));
  params.top_p = options.top_p.value_or(defaults.top_p.value_or(1.0f));
  params.min_p = options.min_p.value_or(defaults.min_p.value_or(0.0f));
  params.repetition_penalty =
      options.repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.0f));
  params.presence_penalty = options.presence_penalty.value_or(0.0f);
  params.frequency_penalty = options.frequency_penalty.value_or(0.0f);
  params.seed = options.seed;
  for (const std::string& text : options.logit_bias) {
    NEREID_TRY_CONTEXT(params.logit_bias.emplace_back(), parse_token_bias(text), "--logit-bias");
  }
  return params;
}

}  // namespace nereid::commands
