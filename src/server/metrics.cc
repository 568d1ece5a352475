// See metrics.h.
#include "src/server/metrics.h"

#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

#include "src/server/engine_metrics.h"

namespace nereid::server {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// vLLM's, so that quantiles of both can be compared.
const Buckets kFirstTokenBuckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06,  0.08, 0.1,
                                    0.25,  0.5,   0.75, 1.0,  2.5,  5.0,   7.5,  10.0,
                                    20.0,  40.0,  80.0, 160,  640,  2560.0};
const Buckets kTokenBuckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                               0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const Buckets kRequestBuckets = {0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,
                                 5.0,  10.0,  15.0,  20.0,  30.0,  40.0,   50.0,
                                 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};

// 1, 2, 5, 10, 20, 50, ... up to the context.
Buckets token_count_buckets(int32_t max_tokens) {
  Buckets buckets;
  for (int64_t power = 1; power <= max_tokens; power *= 10) {
    for (const int64_t step : {1, 2, 5}) {
      if (power * step <= max_tokens) buckets.push_back(static_cast<double>(power * step));
    }
  }
  return buckets;
}

double seconds(ServeClock::time_point from, ServeClock::time_point to) {
  return std::max(0.0, std::chrono::duration<double>(to - from).count());
}

}  // namespace

struct Metrics::State {
  State(const ServingEngine& serving_engine, std::string name)
      : engine(serving_engine), labels{{"model_name", std::move(name)}} {}

  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }

  const ServingEngine& engine;
  const prometheus::Labels labels;
  prometheus::Registry registry;

  prometheus::Histogram& first_token =
      histogram("vllm:time_to_first_token_seconds", "Time to the first token", kFirstTokenBuckets);
  prometheus::Histogram& inter_token = histogram(
      "vllm:inter_token_latency_seconds", "Time between two tokens of a choice", kTokenBuckets);
  prometheus::Histogram& per_output_token =
      histogram("vllm:time_per_output_token_seconds",
                "Time between two tokens of a choice; the older name of it", kTokenBuckets);
  prometheus::Histogram& whole = histogram(
      "vllm:e2e_request_latency_seconds", "Time of a request from arrival to end", kRequestBuckets);
  prometheus::Histogram& queue = histogram(
      "vllm:request_queue_time_seconds", "Time a request waited to be scheduled", kRequestBuckets);
  prometheus::Histogram& prefill =
      histogram("vllm:request_prefill_time_seconds", "Time from scheduling to the first token",
                kRequestBuckets);
  prometheus::Histogram& decode = histogram(
      "vllm:request_decode_time_seconds", "Time from the first token to the last", kRequestBuckets);
  prometheus::Histogram& inference =
      histogram("vllm:request_inference_time_seconds", "Time from scheduling to the last token",
                kRequestBuckets);
  prometheus::Histogram& prompt_tokens =
      histogram("vllm:request_prompt_tokens", "Prompt tokens of a request",
                token_count_buckets(engine.max_context()));
  prometheus::Histogram& generation_tokens =
      histogram("vllm:request_generation_tokens", "Tokens generated for a request",
                token_count_buckets(engine.max_context()));
  prometheus::Family<prometheus::Counter>& http_requests =
      prometheus::BuildCounter()
          .Name("http_requests_total")
          .Help("HTTP requests answered; status 0 where no answer was sent")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& http_seconds =
      prometheus::BuildHistogram()
          .Name("http_request_duration_seconds")
          .Help("Time from a request's first byte to the end of its answer")
          .Register(registry);
};

Metrics::Metrics(const ServingEngine& engine, std::string model_name)
    : state_(std::make_unique<State>(engine, std::move(model_name))) {}
Metrics::~Metrics() = default;

void Metrics::observe(const RequestUsage& usage) {
  State& state = *state_;
  state.whole.Observe(seconds(usage.arrived, usage.finished));
  state.prompt_tokens.Observe(usage.prompt_tokens);
  state.generation_tokens.Observe(usage.output_tokens);
  const ServeClock::time_point never{};
  if (usage.scheduled == never) return;  // cancelled while it waited
  state.queue.Observe(seconds(usage.arrived, usage.scheduled));
  state.inference.Observe(seconds(usage.scheduled, usage.finished));
  if (usage.output_tokens == 0 || usage.first_token == never) return;
  state.first_token.Observe(seconds(usage.arrived, usage.first_token));
  state.prefill.Observe(seconds(usage.scheduled, usage.first_token));
  state.decode.Observe(seconds(usage.first_token, usage.finished));
}

void Metrics::observe_inter_token(double seconds_between) {
  state_->inter_token.Observe(seconds_between);
  state_->per_output_token.Observe(seconds_between);
}

void Metrics::observe_http(std::string_view method, std::string_view path, int status,
                           double duration) {
  const prometheus::Labels route = {{"method", std::string(method)}, {"path", std::string(path)}};
  prometheus::Labels labels = route;
  labels.emplace("status", std::to_string(status));
  state_->http_requests.Add(labels).Increment();
  state_->http_seconds.Add(route, kFirstTokenBuckets).Observe(duration);
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families =
      engine_metrics(state_->engine, state_->labels.at("model_name"));
  for (prometheus::MetricFamily& family : state_->registry.Collect()) {
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace nereid::server
