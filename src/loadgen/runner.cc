// See runner.h.
#include "src/loadgen/runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "src/base/json.h"

namespace nereid::loadgen {
namespace {

namespace asio = boost::asio;

constexpr int32_t kMostConnectFailures = 5;  // one after another
constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kTimerAsTuple = asio::as_tuple(asio::use_awaitable);

class Runner {
 public:
  Runner(const RunOptions& options, Workload& workload, const RunHooks& hooks)
      : options_(options),
        workload_(workload),
        hooks_(hooks),
        client_(context_, options.client),
        ticker_(context_),
        arrivals_(context_) {}

  Result<RunResult> run() {
    NEREID_RETURN_IF_ERROR(client_.resolve());
    asio::co_spawn(context_, tick(), asio::detached);
    if (options_.warmup > 0) {
      to_start_ = options_.warmup;
      closed_loop();
      drain();
      const RunResult warmup = std::exchange(result_, {});
      if (warmup.lost_server) return unreachable(warmup);
      result_.was_stopped = warmup.was_stopped;
    }
    if (!result_.was_stopped) measured_run();
    if (result_.lost_server &&
        std::ranges::all_of(result_.records, &RequestRecord::cannot_connect)) {
      return unreachable(result_);
    }
    if (!result_.records.empty()) {
      const auto last = std::ranges::max(result_.records, {}, &RequestRecord::end).end;
      result_.elapsed_s = std::chrono::duration<double>(last - started_).count();
    }
    return std::move(result_);
  }

 private:
  void measured_run() {
    is_measured_ = true;
    started_ = Clock::now();
    if (options_.duration_s) {
      deadline_ = started_ + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(*options_.duration_s));
      to_start_ = INT64_MAX;
    } else {
      to_start_ = options_.num_requests;
    }
    if (options_.request_rate) {
      is_arriving_ = true;
      asio::co_spawn(context_, arrive(*options_.request_rate), asio::detached);
    } else {
      closed_loop();
    }
    drain();
  }

  bool may_start() const {
    return to_start_ > 0 && !result_.was_stopped && !result_.lost_server &&
           (!deadline_ || Clock::now() < *deadline_);
  }

  bool is_busy() const { return in_flight_ > 0 || num_workers_ > 0 || is_arriving_; }

  // Runs the loop until nothing of the run is left; the ticker goes on.
  void drain() {
    while (is_busy()) context_.run_one();
  }

  void closed_loop() {
    const int64_t workers = std::min<int64_t>(options_.concurrency, to_start_);
    for (int64_t worker = 0; worker < workers; ++worker) {
      ++num_workers_;
      asio::co_spawn(context_, work(), asio::detached);
    }
  }

  asio::awaitable<void> work() {
    while (may_start()) co_await one_request();
    --num_workers_;
  }

  asio::awaitable<void> arrive(double rate) {
    Clock::time_point due = started_;
    while (may_start()) {
      asio::co_spawn(context_, one_request(), asio::detached);
      due += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(workload_.next_gap(rate, options_.burstiness)));
      arrivals_.expires_at(deadline_ ? std::min(due, *deadline_) : due);
      if (to_start_ > 0) co_await arrivals_.async_wait(kTimerAsTuple);
    }
    is_arriving_ = false;
  }

  asio::awaitable<void> one_request() {
    --to_start_;
    ++in_flight_;
    result_.peak_in_flight = std::max(result_.peak_in_flight, in_flight_);
    const PlannedRequest planned = workload_.next();
    RequestRecord record = co_await client_.stream(workload_.options().endpoint, planned);
    --in_flight_;
    connect_failures_ = record.cannot_connect ? connect_failures_ + 1 : 0;
    if (connect_failures_ >= kMostConnectFailures && !result_.lost_server) {
      result_.lost_server = true;
      arrivals_.cancel();
    }
    if (result_.was_stopped && !record.failure.empty()) {
      ++result_.num_dropped;
    } else {
      result_.records.push_back(std::move(record));
    }
  }

  asio::awaitable<void> tick() {
    while (true) {
      ticker_.expires_after(kTick);
      const auto [failure] = co_await ticker_.async_wait(kTimerAsTuple);
      if (failure) co_return;
      client_.expire();
      if (hooks_.stop != nullptr && *hooks_.stop && !result_.was_stopped) {
        result_.was_stopped = true;
        arrivals_.cancel();
        client_.cancel_all();
      }
      if (is_measured_ && hooks_.on_progress) {
        hooks_.on_progress(static_cast<int64_t>(result_.records.size()),
                           std::chrono::duration<double>(Clock::now() - started_).count());
      }
    }
  }

  std::unexpected<Error> unreachable(const RunResult& result) const {
    const std::string why = result.records.empty() ? "" : result.records.back().failure;
    return error("{}: cannot connect: {}", options_.client.url.authority(), why);
  }

  const RunOptions& options_;
  Workload& workload_;
  const RunHooks& hooks_;
  asio::io_context context_{1};
  Client client_;
  asio::steady_timer ticker_, arrivals_;
  RunResult result_;
  Clock::time_point started_{};
  std::optional<Clock::time_point> deadline_;
  int64_t to_start_ = 0;
  int32_t in_flight_ = 0, connect_failures_ = 0;
  int64_t num_workers_ = 0;
  bool is_arriving_ = false, is_measured_ = false;
};

// Each stream is a descriptor.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<RunResult> run(const RunOptions& options, Workload& workload, const RunHooks& hooks) {
  raise_descriptor_limit();
  return Runner(options, workload, hooks).run();
}

Result<std::string> first_model(const ClientOptions& options) {
  asio::io_context context{1};
  Client client(context, options);
  NEREID_RETURN_IF_ERROR(client.resolve());
  Result<std::string> body = error("GET /v1/models: no answer within 30 s");
  asio::co_spawn(
      context, [&]() -> asio::awaitable<void> { body = co_await client.get("/v1/models"); },
      asio::detached);
  context.run_for(std::chrono::seconds(30));
  if (!body) return std::unexpected(body.error());
  const auto json = parse_json(*body);
  if (json && json->is_object() && json->contains("data") && (*json)["data"].is_array() &&
      !(*json)["data"].empty() && (*json)["data"][0].is_object() &&
      (*json)["data"][0].contains("id") && (*json)["data"][0]["id"].is_string()) {
    return (*json)["data"][0]["id"].get<std::string>();
  }
  return error("GET /v1/models lists no model; name one with --model");
}

}  // namespace nereid::loadgen
