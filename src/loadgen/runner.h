// A run: closed loop (so many requests under way at all times) or open loop (requests arrive at a
// rate, however the server keeps up), on one thread.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/loadgen/client.h"
#include "src/loadgen/workload.h"

namespace nereid::loadgen {

struct RunOptions {
  ClientOptions client;
  int32_t concurrency = 8;             // closed loop
  std::optional<double> request_rate;  // per second: open loop
  double burstiness = 1;
  int64_t num_requests = 64;
  std::optional<double> duration_s;  // no request begins later; num_requests is then not a limit
  int64_t warmup = 0;  // requests before those that count, as many at once as `concurrency`
};

struct RunHooks {
  const std::atomic<bool>* stop = nullptr;  // set: unfinished requests are dropped
  std::function<void(int64_t done, double elapsed_s)> on_progress;
};

struct RunResult {
  std::vector<RequestRecord> records;  // in order of their end
  double elapsed_s = 0;                // first start to last end
  int32_t peak_in_flight = 0;
  bool was_stopped = false;  // by `stop`
  bool lost_server = false;  // connections failed one after another: given up
  int64_t num_dropped = 0;   // under way when it was stopped
};

// Blocks until the run is over. Errors: the name cannot be resolved, or the server cannot be
// reached at all.
Result<RunResult> run(const RunOptions& options, Workload& workload, const RunHooks& hooks);

// The first model that /v1/models lists.
Result<std::string> first_model(const ClientOptions& client);

}  // namespace nereid::loadgen
