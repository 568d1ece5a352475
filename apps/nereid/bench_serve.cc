// nereid bench-serve: load for any OpenAI-compatible server, and how it bears it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/flag_checks.h"
#include "apps/nereid/interrupt.h"
#include "src/base/atomic_file.h"
#include "src/base/json.h"
#include "src/loadgen/report.h"
#include "src/loadgen/runner.h"
#include "src/text/progress.h"

namespace nereid::commands {
namespace {

using loadgen::Endpoint;
using loadgen::LengthMix;
using loadgen::PromptKind;
using loadgen::Report;
using Json = nlohmann::ordered_json;

struct BenchServeOptions {
  std::string url = "http://127.0.0.1:8000", endpoint = "completions", model, api_key;
  int32_t concurrency = 8;
  std::optional<double> request_rate, burstiness, duration_s;
  int64_t num_requests = 64, warmup = 0;
  std::string input_len = "128", output_len = "64", mix = "uniform";
  std::string prompts, prompt_kind = "words";
  int32_t shared_prefix = 0, vocab_size = 32000;
  bool ignore_eos = false;
  std::optional<double> temperature;
  std::string extra_body;
  uint64_t seed = 0;
  double timeout_s = 600;
  std::string goodput, json;
};

constexpr const char* kBenchServeFooter = R"(
Without --request-rate, --concurrency requests are under way at all times (closed loop). With it,
requests arrive at that rate however the server keeps up (open loop).

Times are taken where the bytes arrive: to the first text, between texts, of the whole request. Tokens
are those of the server's usage; without one, chunks of the stream. Failed requests are counted by kind
and left out of the times. --goodput counts requests whose time to first token, mean time between tokens
and whole time are within limits.

Exit code: 1 when no request succeeded, or a connection failed or was cut off; answers such as 429 are
only counted.

Examples:
  nereid bench-serve --concurrency 32 --input-len 128 --output-len 64 --ignore-eos --num-requests 256
  nereid bench-serve --request-rate 4 --mix sharegpt --duration 60 --goodput ttft:200,itl:50
  nereid bench-serve --url http://host:8000 --endpoint chat --prompts chats.jsonl --json report.json)";

// The text between the braces of a JSON object.
Result<std::string> members_of(const std::string& text, const char* flag) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return error("{}: found '{}', expected a JSON object", flag, printable(text, 80));
  }
  const std::string compact = json.dump();
  return compact.substr(1, compact.size() - 2);
}

struct Plan {
  loadgen::RunOptions run;
  loadgen::WorkloadOptions workload;
  loadgen::Goodput goodput;
};

Result<loadgen::WorkloadOptions> workload_options(const BenchServeOptions& options) {
  loadgen::WorkloadOptions workload{
      .endpoint = options.endpoint == "chat" ? Endpoint::kChat : Endpoint::kCompletions,
      .prompt_kind = options.prompt_kind == "ids" ? PromptKind::kIds : PromptKind::kWords,
      .mix = options.mix == "sharegpt" ? LengthMix::kShareGpt : LengthMix::kUniform,
      .shared_prefix = options.shared_prefix,
      .vocab_size = options.vocab_size,
      .ignore_eos = options.ignore_eos,
      .temperature = options.temperature,
      .seed = options.seed};
  if (!options.extra_body.empty()) {
    NEREID_TRY(workload.extra_body, members_of(options.extra_body, "--extra-body"));
  }
  NEREID_TRY(workload.input, loadgen::parse_length_range(options.input_len, "--input-len"));
  NEREID_TRY(workload.output, loadgen::parse_length_range(options.output_len, "--output-len"));
  if (!options.prompts.empty()) {
    workload.prompt_kind = PromptKind::kFile;
    NEREID_TRY_CONTEXT(workload.prompts, loadgen::read_prompts(options.prompts, workload.endpoint),
                       "--prompts");
  }
  return workload;
}

Result<Plan> make_plan(const BenchServeOptions& options) {
  Plan plan;
  plan.run = {.concurrency = options.concurrency,
              .request_rate = options.request_rate,
              .burstiness = options.burstiness.value_or(1),
              .num_requests = options.num_requests,
              .duration_s = options.duration_s,
              .warmup = options.warmup};
  NEREID_TRY_CONTEXT(plan.run.client.url, loadgen::parse_url(options.url), "--url");
  plan.run.client.api_key = options.api_key;
  plan.run.client.timeout =
      std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1e3));
  if (!options.goodput.empty()) {
    NEREID_TRY_CONTEXT(plan.goodput, loadgen::parse_goodput(options.goodput), "--goodput");
  }
  if (!options.json.empty() && options.json != "-") {
    if (const Status possible = AtomicFile::check_target(options.json); !possible) {
      return with_context(possible.error(), "--json");
    }
  }
  NEREID_TRY(plan.workload, workload_options(options));
  return plan;
}

Json settings_json(const BenchServeOptions& options, const Plan& plan) {
  Json json = {{"url", options.url},
               {"endpoint", options.endpoint},
               {"model", plan.workload.model},
               {"concurrency", options.concurrency},
               {"request_rate", nullptr},
               {"burstiness", plan.run.burstiness},
               {"input_len", options.input_len},
               {"output_len", options.output_len},
               {"mix", options.mix},
               {"prompts", options.prompts},
               {"shared_prefix", options.shared_prefix},
               {"ignore_eos", options.ignore_eos},
               {"extra_body", options.extra_body},
               {"warmup", options.warmup},
               {"seed", options.seed}};
  if (options.request_rate) json["request_rate"] = *options.request_rate;
  return json;
}

Status write_json(const BenchServeOptions& options, const Plan& plan, const Report& report,
                  Output& out) {
  Json json = {{"settings", settings_json(options, plan)}};
  json["results"] = loadgen::report_json(report);
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  if (options.json == "-") {
    out.line(text);
    return {};
  }
  return write_file_atomically(options.json, text + "\n");
}

// Failures of the server's host or its connections, rather than answers.
bool is_broken(const Report& report) {
  if (report.num_done == 0 || report.lost_server) return true;
  for (const auto& [name, failures] : report.failures) {
    if (!name.starts_with("HTTP ")) return true;
  }
  return false;
}

Result<loadgen::RunResult> run_with_progress(const Plan& plan) {
  const Interrupt interrupt;
  loadgen::Workload workload(plan.workload);
  const bool is_timed = plan.run.duration_s.has_value();
  const auto total = is_timed ? static_cast<uint64_t>(*plan.run.duration_s)
                              : static_cast<uint64_t>(plan.run.num_requests);
  std::unique_ptr<text::Progress> progress;
  if (isatty(STDERR_FILENO) == 1) {
    progress = std::make_unique<text::Progress>(text::ProgressOptions{
        .total = total, .message = is_timed ? "seconds of load" : "requests"});
  }
  const loadgen::RunHooks hooks{
      .stop = &interrupt.flag(), .on_progress = [&](int64_t done, double elapsed_s) {
        if (!progress) return;
        progress->set(is_timed ? static_cast<uint64_t>(elapsed_s) : static_cast<uint64_t>(done));
      }};
  return loadgen::run(plan.run, workload, hooks);
}

Result<int> bench_serve(const BenchServeOptions& options, Environment& environment) {
  NEREID_TRY(Plan plan, make_plan(options));
  plan.workload.model = options.model;
  if (options.model.empty()) {
    NEREID_TRY(plan.workload.model, loadgen::first_model(plan.run.client));
  }
  NEREID_TRY(const loadgen::RunResult result, run_with_progress(plan));
  const Report report = loadgen::summarise(result, plan.goodput);
  if (options.json != "-") environment.out.write(loadgen::report_text(report));
  if (!options.json.empty()) {
    NEREID_RETURN_IF_ERROR(write_json(options, plan, report, environment.out));
  }
  if (report.was_stopped) return kExitInterrupted;
  return is_broken(report) ? kExitFailure : 0;
}

void add_load_options(CLI::App& command, BenchServeOptions& options) {
  CLI::Option* concurrency =
      command.add_option("--concurrency", options.concurrency, "Closed loop: requests at once")
          ->check(whole_number(1, 100'000))
          ->capture_default_str();
  CLI::Option* rate =
      command.add_option("--request-rate", options.request_rate, "Open loop: requests per second")
          ->check(number_in(1e-3, 1e6))
          ->excludes(concurrency);
  command
      .add_option("--burstiness", options.burstiness,
                  "Shape of the gaps between arrivals: 1 is Poisson (default), below it in bursts, "
                  "above it even")
      ->check(number_in(0.01, 1000.0))
      ->needs(rate);
  CLI::Option* count =
      command.add_option("--num-requests", options.num_requests, "Requests that count")
          ->check(whole_number(1, 100'000'000))
          ->capture_default_str();
  command.add_option("--duration", options.duration_s, "Seconds in which requests begin")
      ->check(number_in(0.1, 1e6))
      ->excludes(count);
  command
      .add_option("--warmup", options.warmup, "Requests before those that count, in a closed loop")
      ->check(whole_number(0, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--timeout", options.timeout_s, "Seconds without a byte before a request fails")
      ->check(number_in(0.1, 1e6))
      ->capture_default_str();
}

void add_prompt_options(CLI::App& command, BenchServeOptions& options) {
  CLI::Option* input =
      command.add_option("--input-len", options.input_len, "Tokens of a prompt: N or MIN:MAX")
          ->capture_default_str();
  command.add_option("--output-len", options.output_len, "Tokens asked for: N or MIN:MAX")
      ->capture_default_str();
  CLI::Option* mix =
      command
          .add_option(
              "--mix", options.mix,
              "Lengths: uniform (the two ranges) or sharegpt (log-normal, medians 130 in and "
              "115 out, at most 1024)")
          ->check(CLI::IsMember({"uniform", "sharegpt"}))
          ->capture_default_str();
  CLI::Option* prefix =
      command
          .add_option("--shared-prefix", options.shared_prefix,
                      "First tokens that all prompts share, of the prompt's length")
          ->check(whole_number(0, 1 << 20))
          ->capture_default_str();
  CLI::Option* kind =
      command
          .add_option("--prompt-kind", options.prompt_kind,
                      "words: random English words, about a token each; ids: random token ids "
                      "(completions only)")
          ->check(CLI::IsMember({"words", "ids"}))
          ->capture_default_str();
  command.add_option("--vocab-size", options.vocab_size, "Random ids are below this")
      ->check(whole_number(2, 1 << 21))
      ->capture_default_str();
  command
      .add_option("--prompts", options.prompts,
                  R"(Prompts of this file: a JSON object a line with "prompt" or "messages", and )"
                  R"(perhaps "max_tokens"; used in turn)")
      ->excludes(input)
      ->excludes(mix)
      ->excludes(prefix)
      ->excludes(kind);
  command.add_flag("--ignore-eos", options.ignore_eos,
                   "Ask for answers of full length (a parameter not every server knows)");
  command.add_option("--temperature", options.temperature, "Default: the server's")
      ->check(number_in(0.0, 100.0));
  command.add_option("--extra-body", options.extra_body,
                     R"(More parameters of every request: a JSON object, such as {"top_k":1})");
  command.add_option("--seed", options.seed, "Of prompts, lengths and arrivals")
      ->check(seed_number())
      ->capture_default_str();
}

}  // namespace

void add_bench_serve(CLI::App& app, Environment& environment) {
  const auto options = std::make_shared<BenchServeOptions>();
  CLI::App* command =
      app.add_subcommand("bench-serve", "Measure an OpenAI-compatible server under load");
  command->add_option("--url", options->url, "The server")->capture_default_str();
  command->add_option("--endpoint", options->endpoint, "completions or chat")
      ->check(CLI::IsMember({"completions", "chat"}))
      ->capture_default_str();
  command->add_option("--model", options->model, "Default: the first of /v1/models");
  command->add_option("--api-key", options->api_key, "Sent as a bearer token")
      ->envname("OPENAI_API_KEY");
  add_load_options(*command, *options);
  add_prompt_options(*command, *options);
  command->add_option("--goodput", options->goodput,
                      "Limits, such as ttft:200,itl:50,e2e:5000 (ms)");
  command->add_option("--json", options->json, "Write the report to this file; -: print only JSON");
  command->footer(kBenchServeFooter);
  command->callback([options, &environment] {
    if (options->prompt_kind == "ids" && options->endpoint == "chat") {
      throw CLI::ValidationError("--prompt-kind", "ids are for --endpoint completions");
    }
    environment.action = [options, &environment] { return bench_serve(*options, environment); };
  });
}

}  // namespace nereid::commands
