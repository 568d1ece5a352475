// What a step of the serving engine costs on the host: many sequences decode on the null device,
// where kernels take no time, so all that is left is scheduling, staging and delivery.
//
//   bench_serving_host                      time: processor time of the engine's thread per step
//   NEREID_MODEL=FILE bench_serving_host    another model than the default one
//   perf record -g bench_serving_host       where it goes
//
// Counters: `wall_us` is a whole step (with the device's thread, which checks and records
// launches), `tokens_per_s` what the null device would serve.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <ctime>

#include "src/base/check.h"
#include "src/engine/serving.h"

namespace nereid {
namespace {

constexpr int32_t kPrompt = 100;  // tokens

double seconds_of(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct StepTimes {
  std::vector<double> thread_cpu, wall;  // seconds, at the end of each delivery
  std::atomic<int> unfinished = 0;
};

// Takes tokens as a server would queue them; the one sink that has `times` notes when.
class CountingSink final : public RequestSink {
 public:
  CountingSink(StepTimes& times, bool notes) : times_(times), notes_(notes) {}
  void on_prompt(std::span<const OutputToken>) override {}
  void on_token(int32_t, const OutputToken& token) override { tokens_.push_back(token.id); }
  void on_finish(int32_t, const FinishInfo&) override {}
  void on_done(const RequestUsage&) override {
    --times_.unfinished;
    times_.unfinished.notify_all();
  }
  void on_step_end() override {
    if (!notes_) return;
    times_.thread_cpu.push_back(seconds_of(CLOCK_THREAD_CPUTIME_ID));
    times_.wall.push_back(seconds_of(CLOCK_MONOTONIC));
  }

 private:
  StepTimes& times_;
  bool notes_;
  std::vector<int32_t> tokens_;
};

// Argument: sequences.
void decode_step(benchmark::State& state) {
  const auto sequences = static_cast<int32_t>(state.range(0));
  const auto steps = static_cast<int32_t>(state.max_iterations);
  // All prompts are in when the first step of full size runs.
  const int32_t warm_up = sequences * kPrompt / 512 + 16;
  const char* model = std::getenv("NEREID_MODEL");
  auto engine = ServingEngine::start(
      {.model_path = model == nullptr ? NEREID_BENCH_MODEL : model, .device = "null"},
      {.max_sequences = sequences,
       .max_step_tokens = 512,
       .cache_tokens = int64_t{sequences} * (kPrompt + warm_up + steps + 64)});
  NEREID_CHECK(engine.has_value(), "{}", engine.error().message);
  NEREID_CHECK((*engine)->max_context() >= kPrompt + warm_up + steps,
               "a context of {} tokens is too short", (*engine)->max_context());
  StepTimes times;
  times.unfinished = sequences;
  for (int32_t index = 0; index < sequences; ++index) {
    const auto sink = std::make_shared<CountingSink>(times, index == 0);
    const auto id = (*engine)->submit({.prompt_ids = std::vector<int32_t>(kPrompt, index),
                                       .max_tokens = warm_up + steps,
                                       .ignore_eos = true},
                                      sink);
    NEREID_CHECK(id.has_value(), "{}", id.error().message);
  }
  for (int left = times.unfinished; left > 0; left = times.unfinished) {
    times.unfinished.wait(left);
  }
  const size_t first = static_cast<size_t>(warm_up) - 1;
  NEREID_CHECK(times.wall.size() > first + static_cast<size_t>(steps), "{} steps were seen",
               times.wall.size());
  size_t at = first;
  for (auto _ : state) {
    state.SetIterationTime(times.thread_cpu[at + 1] - times.thread_cpu[at]);
    ++at;
  }
  const double wall = (times.wall[at] - times.wall[first]) / steps;
  state.counters["wall_us"] = wall * 1e6;
  state.counters["tokens_per_s"] = sequences / wall;
}
BENCHMARK(decode_step)
    ->Arg(32)
    ->Arg(256)
    ->Iterations(1000)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace nereid

BENCHMARK_MAIN();
