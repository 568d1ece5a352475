// nereid bench: prefill and decode speed of a model on this machine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/nereid/bench_limits.h"
#include "apps/nereid/bench_operators.h"
#include "apps/nereid/command.h"
#include "apps/nereid/flag_checks.h"
#include "apps/nereid/options.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  ModelOptions model;
  int32_t prefill = 512, decode = 128, context = 0, repeat = 3, max_step_tokens = 0;
  std::vector<int32_t> batches{1};
  bool json = false, operators = false, limits = true;
};

constexpr const char* kBenchFooter = R"(
For each batch size: every sequence prefills P tokens, then N tokens are decoded one step after the
other from a context of C tokens. Figures are tokens per second over all sequences of the batch, the
median of the repetitions after one that does not count.

Beside them: what a prefill computes and a decode step moves, and its share of what this machine can do, which
is measured in the same run, before and after: its arithmetic in the types that the products use, and reading from
memory.

--operators measures every launch of a step instead: one of a prefill of P tokens of one sequence, and one
that decodes a token of each sequence at a context of C. A share of 100% is what the machine could do.

Example: nereid bench --prefill 512 --decode 128 --context 1024 --batch 1,8,32)";

struct Row {
  int32_t batch = 0;
  BenchPoint speed;
  // What is needed at least: of the whole prefill of one sequence, and of a decode step in the
  // middle of those measured.
  StepNeeds prefill, decode;
  StepProfile decode_step;  // where the latter comes from

  // 1: as fast as the machine's arithmetic, and its memory, allow. 0: not known.
  double prefill_share(int32_t tokens) const {
    return prefill.operation_seconds * speed.prefill / std::max(tokens, 1);
  }
  double decode_share() const { return decode.memory_seconds * speed.decode / batch; }
};

Status add_decode_step(Engine& engine, const BenchOptions& options, Row& row) {
  const int32_t last = engine.max_context() - 1;  // the step adds one
  if (options.decode > 0 && last >= 1) {
    const int32_t middle = std::clamp(options.context + options.decode / 2, 1, last);
    NEREID_TRY(row.decode_step,
               engine.profile({.context = middle, .batch = row.batch, .costs_only = true}));
  }
  return {};
}

Result<Row> measure(Engine& engine, const BenchOptions& options, int32_t batch) {
  std::vector<double> prefill, decode;
  for (int32_t round = 0; round <= options.repeat; ++round) {
    NEREID_TRY_CONTEXT(const BenchPoint point,
                       engine.bench(options.prefill, options.decode, options.context, batch),
                       fmt::format("batch {}", batch));
    if (round == 0) continue;
    prefill.push_back(point.prefill);
    decode.push_back(point.decode);
  }
  Row row{.batch = batch, .speed = {.prefill = median(prefill), .decode = median(decode)}};
  NEREID_RETURN_IF_ERROR(add_decode_step(engine, options, row));
  return row;
}

void print_table(const Engine& engine, const BenchOptions& options, const MachineLimits& limits,
                 const std::vector<Row>& rows, Output& out) {
  const DeviceInfo& device = engine.device_info();
  out.line(fmt::format("model {}, device {} ({}, {} workers), context {}, tokens per second",
                       engine.config().name, device.name, device.target, device.num_workers,
                       options.context));
  out.line("memory: " + engine.memory_plan().text());
  out.line(limits_text(limits));
  constexpr const char* kRow = "{:>6} {:>14} {:>14} {:>14} {:>14} {:>14} {:>14}";
  out.line(fmt::format(kRow, "batch", fmt::format("prefill {}", options.prefill), "GOP/s",
                       "of arithmetic", fmt::format("decode {}", options.decode), "GB/s",
                       "of memory"));
  for (const Row& row : rows) {
    const double prefills = row.speed.prefill / std::max(options.prefill, 1);
    const double steps = row.speed.decode / row.batch;
    out.line(fmt::format(
        kRow, row.batch, fmt::format("{:.1f}", row.speed.prefill),
        fmt::format("{:.1f}", row.prefill.operations * prefills / 1e9),
        share_text(row.prefill_share(options.prefill)), fmt::format("{:.1f}", row.speed.decode),
        fmt::format("{:.1f}", row.decode.bytes * steps / 1e9), share_text(row.decode_share())));
  }
}

// What both kinds of figures say of the model and the machine.
Json about(const Engine& engine) {
  const DeviceInfo& device = engine.device_info();
  return {{"model", engine.config().name}, {"device", device.driver},
          {"device_name", device.name},    {"target", device.target},
          {"workers", device.num_workers}, {"dtype", dtype_name(engine.compute_dtype())}};
}

void print_json(const Engine& engine, const BenchOptions& options, const MachineLimits& limits,
                const std::vector<Row>& rows, Output& out) {
  Json results = Json::array();
  for (const Row& row : rows) {
    results.push_back({{"batch", row.batch},
                       {"prefill_tokens_per_second", row.speed.prefill},
                       {"prefill_operations", row.prefill.operations},
                       {"prefill_limit_share", row.prefill_share(options.prefill)},
                       {"decode_tokens_per_second", row.speed.decode},
                       {"decode_bytes_per_step", row.decode.bytes},
                       {"decode_limit_share", row.decode_share()}});
  }
  const MemoryPlan& memory = engine.memory_plan();
  Json object = about(engine);
  object.update({{"prefill", options.prefill},
                 {"decode", options.decode},
                 {"context", options.context},
                 {"repeat", options.repeat},
                 {"load_seconds", engine.load_seconds()},
                 {"memory",
                  {{"free_bytes", memory.free},
                   {"utilization", memory.share},
                   {"weights_bytes", memory.weights},
                   {"activations_bytes", memory.activations},
                   {"kv_cache_bytes", memory.kv_cache},
                   {"kv_cache_tokens", memory.cache_tokens()}}},
                 {"limits", limits_json(limits)},
                 {"results", std::move(results)}});
  out.line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

struct Step {
  std::string title;
  StepChoice choice;
};

// The steps that the flags ask for.
std::vector<Step> steps_of(const BenchOptions& options) {
  std::vector<Step> steps;
  if (options.prefill > 0) {
    steps.push_back({fmt::format("prefill of {}", options.prefill),
                     {.prefill = options.prefill, .repeat = options.repeat}});
  }
  for (const int32_t batch : options.batches) {
    if (options.decode == 0) break;
    steps.push_back(
        {fmt::format("decode of {} at {}", batch, options.context),
         {.context = std::max(options.context, 1), .batch = batch, .repeat = options.repeat}});
  }
  return steps;
}

Result<int> bench_operators(Engine& engine, const BenchOptions& options, Output& out) {
  MachineLimits limits = options.limits ? limits_of(engine) : MachineLimits();
  const std::vector<Step> steps = steps_of(options);
  std::vector<StepProfile> profiles;
  for (const Step& step : steps) {
    NEREID_TRY_CONTEXT(profiles.emplace_back(), engine.profile(step.choice), step.title);
  }
  limits = limits_again(engine, limits);
  Json object = about(engine);
  object["limits"] = limits_json(limits);
  object["steps"] = Json::array();
  if (!options.json) out.line(limits_text(limits));
  for (size_t at = 0; at < steps.size(); ++at) {
    if (!options.json) {
      print_operators(fmt::format("model {}, {}", engine.config().name, steps[at].title),
                      profiles[at], limits, out);
      continue;
    }
    Json entry = {{"step", steps[at].title}};
    entry.update(operators_json(profiles[at], limits));
    object["steps"].push_back(std::move(entry));
  }
  if (options.json) out.line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
  return 0;
}

Result<int> bench(const BenchOptions& options, Environment& environment) {
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
  // A profile decodes a step with and one without, so often, and one that does not count.
  const int32_t steps = options.operators ? 2 * options.repeat + 2 : options.decode;
  const int64_t decoded = int64_t{options.context} + steps;
  if (decoded > kMostTokens) {
    return error("--context {} and {} steps: found {} tokens, expected at most {}", options.context,
                 steps, decoded, kMostTokens);
  }
  const LoadNeeds needs = {.max_batch = std::ranges::max(options.batches),
                           .min_context = std::max(options.prefill, static_cast<int32_t>(decoded)),
                           .max_step_tokens = options.max_step_tokens,
                           .profile = true};
  return with_engine(environment, options.model, needs, [&](Engine& engine) -> Result<int> {
    if (options.operators) return bench_operators(engine, options, environment.out);
    MachineLimits limits = options.limits ? limits_of(engine) : MachineLimits();
    std::vector<Row> rows;
    for (const int32_t batch : options.batches) {
      NEREID_TRY(rows.emplace_back(), measure(engine, options, batch));
    }
    StepProfile prefill_step;
    if (options.prefill > 0) {
      NEREID_TRY(prefill_step, engine.profile({.prefill = options.prefill, .costs_only = true}));
    }
    limits = limits_again(engine, limits);
    for (Row& row : rows) {
      row.prefill = needs_of(prefill_step, limits);
      row.decode = needs_of(row.decode_step, limits);
    }
    const auto print = options.json ? print_json : print_table;
    print(engine, options, limits, rows, environment.out);
    return 0;
  });
}

}  // namespace

void add_bench(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode speed");
  command->add_option("--prefill", options->prefill, "Tokens to prefill; 0 leaves it out")
      ->check(whole_number(0))
      ->capture_default_str();
  command->add_option("--decode", options->decode, "Tokens to decode; 0 leaves it out")
      ->check(whole_number(0))
      ->capture_default_str();
  command->add_option("--context", options->context, "Tokens in the cache when decoding starts")
      ->check(whole_number(0))
      ->capture_default_str();
  command->add_option("--batch", options->batches, "Sequences at once, such as 1,8,32")
      ->delimiter(',')
      ->check(whole_number(1))
      ->capture_default_str();
  command
      ->add_option("--max-step-tokens", options->max_step_tokens,
                   "Tokens of a prompt computed in one step; 0: 512, on GPUs the longest context, "
                   "at most 8192")
      ->check(whole_number(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--repeat", options->repeat, "Repetitions that count")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_flag("--operators", options->operators, "Time of every operator of a step instead");
  command->add_flag("!--no-limits", options->limits, "Leave out what the machine can do at most");
  command->add_flag("--json", options->json, "Print one JSON object instead of a table");
  add_model_options(*command, options->model);
  command->footer(kBenchFooter);
  command->callback([options, &environment] {
    if (options->prefill == 0 && options->decode == 0) {
      throw CLI::ValidationError("bench", "--prefill and --decode are both 0");
    }
    environment.action = [options, &environment] { return bench(*options, environment); };
  });
}

}  // namespace nereid::commands
