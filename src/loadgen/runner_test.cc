// Runs against a server that does what it is told: what is measured, counted and survived.
#include "src/loadgen/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "src/loadgen/report.h"
#include "src/loadgen/test_server.h"

namespace nereid::loadgen {
namespace {

using std::chrono::milliseconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

RunOptions options_for(const TestServer& server) {
  RunOptions options{.concurrency = 4, .num_requests = 12};
  options.client.url = parse_url(server.url()).value();
  return options;
}

WorkloadOptions short_answers(Endpoint endpoint = Endpoint::kCompletions) {
  return {.model = "tiny", .endpoint = endpoint, .input = {4, 4}, .output = {5, 5}};
}

RunResult run_or_fail(const RunOptions& options, WorkloadOptions workload_options) {
  Workload workload(std::move(workload_options));
  auto result = run(options, workload, {});
  EXPECT_TRUE(result) << result.error().message;
  return result ? std::move(*result) : RunResult{};
}

std::string only_failure(Behaviour behaviour, milliseconds timeout = milliseconds(60'000)) {
  const TestServer server(behaviour);
  RunOptions options = options_for(server);
  options.num_requests = 2;
  options.client.timeout = timeout;
  const Report report = summarise(run_or_fail(options, short_answers()), {});
  EXPECT_EQ(report.num_failed, 2);
  EXPECT_EQ(report.failures.size(), 1u);
  const auto& [name, failures] = *report.failures.begin();
  return name + "|" + failures.example;
}

TEST(Runner, ClosedLoop) {
  for (const Endpoint endpoint : {Endpoint::kCompletions, Endpoint::kChat}) {
    const TestServer server({});
    RunOptions options = options_for(server);
    options.warmup = 3;
    const RunResult result = run_or_fail(options, short_answers(endpoint));
    const Report report = summarise(result, {});
    EXPECT_EQ(report.num_done, 12);
    EXPECT_EQ(report.num_failed, 0);
    EXPECT_EQ(report.output_tokens, 60);
    EXPECT_EQ(report.input_tokens, 84);
    EXPECT_EQ(report.peak_in_flight, 4);
    EXPECT_FALSE(report.counts_chunks);
    EXPECT_EQ(report.itl_ms.count, 48u);
    EXPECT_EQ(server.targets().size(), 15u);
    EXPECT_EQ(server.targets()[0], "POST " + std::string(path_of(endpoint)));
    EXPECT_LE(server.num_connections(), 4);  // kept alive
  }
}

TEST(Runner, Times) {
  const TestServer server({.first_delay = milliseconds(100), .gap = milliseconds(30)});
  RunOptions options = options_for(server);
  options.num_requests = 4;
  const Report report = summarise(run_or_fail(options, short_answers()), {});
  EXPECT_GE(report.ttft_ms.p50, 99);
  EXPECT_LT(report.ttft_ms.p50, 160);
  EXPECT_NEAR(report.itl_ms.p50, 30, 10);
  EXPECT_NEAR(report.tpot_ms.p50, 30, 10);
  EXPECT_GE(report.e2e_ms.p50, 218);
}

TEST(Runner, TokensWithoutUsageAreChunks) {
  const TestServer server({.sends_usage = false, .sends_done = false});
  const Report report = summarise(run_or_fail(options_for(server), short_answers()), {});
  EXPECT_EQ(report.num_done, 12);
  EXPECT_EQ(report.output_tokens, 60);
  EXPECT_TRUE(report.counts_chunks);
}

TEST(Runner, OpenLoopDoesNotWaitForAnswers) {
  const TestServer server({.first_delay = milliseconds(400)});
  RunOptions options = options_for(server);
  options.request_rate = 100;
  options.num_requests = 20;
  const RunResult result = run_or_fail(options, short_answers());
  EXPECT_EQ(result.records.size(), 20u);
  EXPECT_GE(result.peak_in_flight, 12);
  EXPECT_LT(result.elapsed_s, 2);
}

TEST(Runner, Duration) {
  const TestServer server({.gap = milliseconds(5)});
  RunOptions options = options_for(server);
  options.duration_s = 0.5;
  const RunResult closed = run_or_fail(options, short_answers());
  EXPECT_GE(closed.elapsed_s, 0.4);
  EXPECT_LT(closed.elapsed_s, 1.5);
  EXPECT_GT(closed.records.size(), 20u);
  options.request_rate = 40;
  const RunResult open = run_or_fail(options, short_answers());
  EXPECT_GE(open.records.size(), 8u);
  EXPECT_LE(open.records.size(), 40u);
}

TEST(Runner, Failures) {
  EXPECT_EQ(only_failure({.status = 429}), "HTTP 429|told to fail");
  EXPECT_THAT(only_failure({.cut_after = 2}), HasSubstr("stream cut off"));
  EXPECT_EQ(only_failure({.error_event = true}), "error in the stream|engine fell over");
  EXPECT_EQ(only_failure({.is_stream = false}), "not an event stream|");
  EXPECT_EQ(only_failure({.hangs = true}, milliseconds(300)), "timeout|");
}

TEST(Runner, ServerThatClosesIdleConnections) {
  const TestServer server({.closes_idle = true});
  const Report report = summarise(run_or_fail(options_for(server), short_answers()), {});
  EXPECT_EQ(report.num_done, 12);
  EXPECT_EQ(report.num_failed, 0);
}

TEST(Runner, NobodyThere) {
  std::string url;
  {
    const TestServer server({});
    url = server.url();
  }
  RunOptions options;
  options.client.url = parse_url(url).value();
  Workload workload(short_answers());
  const auto result = run(options, workload, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("cannot connect: Connection refused"));
  EXPECT_THAT(first_model(options.client).error().message, HasSubstr("Connection refused"));
}

TEST(Runner, ServerGoesAway) {
  TestServer server({.gap = milliseconds(20)});
  RunOptions options = options_for(server);
  options.num_requests = 100'000;
  std::thread killer([&server] {
    std::this_thread::sleep_for(milliseconds(500));
    server.stop();
  });
  const RunResult result = run_or_fail(options, short_answers());
  killer.join();
  const Report report = summarise(result, {});
  EXPECT_TRUE(report.lost_server);
  EXPECT_GT(report.num_done, 4);
  EXPECT_GE(report.num_failed, 5);
  EXPECT_THAT(report_text(report), HasSubstr("could not be reached any more"));
}

TEST(Runner, Stop) {
  const TestServer server({.gap = milliseconds(50)});
  RunOptions options = options_for(server);
  options.num_requests = 100'000;
  std::atomic<bool> stop = false;
  int64_t seen = -1;
  const RunHooks hooks{.stop = &stop, .on_progress = [&](int64_t done, double elapsed_s) {
                         seen = done;
                         stop = elapsed_s > 0.6;
                       }};
  Workload workload(short_answers());
  const auto result = run(options, workload, hooks);
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->was_stopped);
  EXPECT_GE(seen, 4);
  EXPECT_GT(result->num_dropped, 0);
  EXPECT_EQ(summarise(*result, {}).num_failed, 0);
}

TEST(Runner, FirstModel) {
  const TestServer server({});
  EXPECT_EQ(first_model({.url = parse_url(server.url()).value()}).value(), "tiny");
}

// What it costs: processor time of the load generator's thread per token.
TEST(Runner, Cheap) {
  const TestServer server({});
  RunOptions options = options_for(server);
  options.concurrency = 256;
  options.num_requests = 512;
  WorkloadOptions workload = short_answers();
  workload.output = {64, 64};
  const auto cpu_now = [] {
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const double cpu = cpu_now();
  const Report report = summarise(run_or_fail(options, workload), {});
  const double us_per_token = 1e6 * (cpu_now() - cpu) / static_cast<double>(report.output_tokens);
  RecordProperty("us_per_token", std::to_string(us_per_token));
  fmt::print("{:.0f} tokens/s, {:.2f} us of processor time per token\n", report.output_tokens_per_s,
             us_per_token);
  EXPECT_EQ(report.output_tokens, 512 * 64);
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(us_per_token, 50);  // 20,000 tokens/s on one core, with much room for slow machines
#endif
}

}  // namespace
}  // namespace nereid::loadgen
