// nereid bench: prefill and decode speed of a model on this machine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/flag_checks.h"
#include "apps/nereid/options.h"

namespace nereid::commands {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  ModelOptions model;
  int32_t prefill = 512, decode = 128, context = 0, repeat = 3;
  std::vector<int32_t> batches{1};
  bool json = false;
};

constexpr const char* kBenchFooter = R"(
For each batch size: every sequence prefills P tokens, then N tokens are decoded one step after the
other from a context of C tokens. Figures are tokens per second over all sequences of the batch, the
median of the repetitions after one that does not count.

Example: nereid bench --prefill 512 --decode 128 --context 1024 --batch 1,8,32)";

struct Row {
  int32_t batch = 0;
  BenchPoint speed;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
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
  return Row{batch, {.prefill = median(prefill), .decode = median(decode)}};
}

void print_table(const Engine& engine, const BenchOptions& options, const std::vector<Row>& rows,
                 Output& out) {
  const DeviceInfo& device = engine.device_info();
  out.line(fmt::format("model {}, device {} ({}, {} workers), context {}, tokens per second",
                       engine.config().name, device.name, device.target, device.num_workers,
                       options.context));
  out.line("memory: " + engine.memory_plan().text());
  out.line(fmt::format("{:>6} {:>14} {:>14}", "batch", fmt::format("prefill {}", options.prefill),
                       fmt::format("decode {}", options.decode)));
  for (const Row& row : rows) {
    out.line(
        fmt::format("{:>6} {:>14.1f} {:>14.1f}", row.batch, row.speed.prefill, row.speed.decode));
  }
}

void print_json(const Engine& engine, const BenchOptions& options, const std::vector<Row>& rows,
                Output& out) {
  Json results = Json::array();
  for (const Row& row : rows) {
    results.push_back({{"batch", row.batch},
                       {"prefill_tokens_per_second", row.speed.prefill},
                       {"decode_tokens_per_second", row.speed.decode}});
  }
  const DeviceInfo& device = engine.device_info();
  const MemoryPlan& memory = engine.memory_plan();
  const Json object = {{"model", engine.config().name},
                       {"device", device.driver},
                       {"device_name", device.name},
                       {"target", device.target},
                       {"workers", device.num_workers},
                       {"dtype", dtype_name(engine.compute_dtype())},
                       {"prefill", options.prefill},
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
                       {"results", std::move(results)}};
  out.line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Result<int> bench(const BenchOptions& options, Environment& environment) {
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
  const int64_t decoded = int64_t{options.context} + options.decode;
  if (decoded > kMostTokens) {
    return error("--context {} and --decode {}: found {} tokens, expected at most {}",
                 options.context, options.decode, decoded, kMostTokens);
  }
  const LoadNeeds needs = {.max_batch = std::ranges::max(options.batches),
                           .min_context = std::max(options.prefill, static_cast<int32_t>(decoded))};
  return with_engine(environment, options.model, needs, [&](Engine& engine) -> Result<int> {
    std::vector<Row> rows;
    for (const int32_t batch : options.batches) {
      NEREID_TRY(rows.emplace_back(), measure(engine, options, batch));
    }
    const auto print = options.json ? print_json : print_table;
    print(engine, options, rows, environment.out);
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
  command->add_option("--repeat", options->repeat, "Repetitions that count")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
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
