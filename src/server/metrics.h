// Prometheus metrics under vLLM's names, so that existing dashboards and the Kubernetes gateway's
// endpoint picker read them. Gauges and counters of the engine come from ServingStats at each
// scrape; the routes report each request that ends.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "src/engine/serving.h"

namespace nereid::server {

// Functions may be called from any thread. The engine must outlive it.
// Held by std::shared_ptr: requests that outlive the server still report to it, from the engine's
// thread.
class Metrics : public std::enable_shared_from_this<Metrics> {
 public:
  Metrics(const ServingEngine& engine, std::string model_name);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Once for each request the engine took, from RequestSink::on_done. How choices finished is
  // counted by the engine.
  void observe(const RequestUsage& usage);
  // For each token of a choice after its first: the time since the one before, in seconds.
  void observe_inter_token(double seconds);
  // Once for each answer; path is the route's, "" for what matched none.
  void observe_http(std::string_view method, std::string_view path, int status, double seconds);

  std::string text() const;  // what /metrics answers

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nereid::server
