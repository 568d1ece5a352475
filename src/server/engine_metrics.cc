// See engine_metrics.h.
#include "src/server/engine_metrics.h"

#include <limits>
#include <utility>

#include "src/server/openai/request_sink.h"

namespace nereid::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  explicit Families(const std::string& model_name) : model_name_(model_name) {}

  void gauge(const char* name, const char* help, double value) {
    add(name, help, MetricType::Gauge).gauge.value = value;
  }
  void counter(const char* name, const char* help, uint64_t value) {
    add(name, help, MetricType::Counter).counter.value = static_cast<double>(value);
  }
  // A metric of a new family, or one more of the last, with a further label.
  ClientMetric& add(const char* name, const char* help, MetricType type) {
    if (families_.empty() || families_.back().name != name) {
      MetricFamily& family = families_.emplace_back();
      family.name = name;
      family.help = help;
      family.type = type;
    }
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label.push_back({"model_name", model_name_});
    return metric;
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::string model_name_;
  std::vector<MetricFamily> families_;
};

void add_finished(Families& families, const ServingStats& stats) {
  const std::pair<const char*, uint64_t> reasons[] = {{"stop", stats.finished_stop},
                                                      {"length", stats.finished_length},
                                                      {"abort", stats.finished_cancelled},
                                                      {"error", stats.finished_error}};
  for (const auto& [reason, count] : reasons) {
    ClientMetric& metric =
        families.add("vllm:request_success_total", "Choices that have ended", MetricType::Counter);
    metric.label.push_back({"finished_reason", reason});
    metric.counter.value = static_cast<double>(count);
  }
}

void add_step_tokens(Families& families, const ServingStats& stats) {
  ClientMetric& metric = families.add("vllm:iteration_tokens_total", "Tokens computed in a step",
                                      MetricType::Histogram);
  metric.histogram.sample_count = stats.steps;
  metric.histogram.sample_sum = static_cast<double>(stats.step_tokens_sum);
  uint64_t cumulative = 0;
  for (const auto& [bound, count] : stats.step_tokens) {
    cumulative += count;
    metric.histogram.bucket.push_back({cumulative, static_cast<double>(bound)});
  }
  metric.histogram.bucket.push_back({stats.steps, std::numeric_limits<double>::infinity()});
}

void add_cache(Families& families, const ServingStats& stats) {
  const double usage =
      stats.pages_total > 0 ? static_cast<double>(stats.pages_used) / stats.pages_total : 0;
  families.gauge("vllm:kv_cache_usage_perc", "Part of the KV cache in use, 0 to 1", usage);
  families.gauge("vllm:gpu_cache_usage_perc", "The older name of vllm:kv_cache_usage_perc", usage);
  families.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache",
                   stats.prefix_queries);
  families.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache",
                   stats.prefix_hits);
  families.counter("vllm:gpu_prefix_cache_queries_total",
                   "The older name of vllm:prefix_cache_queries_total", stats.prefix_queries);
  families.counter("vllm:gpu_prefix_cache_hits_total",
                   "The older name of vllm:prefix_cache_hits_total", stats.prefix_hits);
  ClientMetric& config =
      families.add("vllm:cache_config_info", "Size of the KV cache", MetricType::Gauge);
  config.label.push_back({"block_size", std::to_string(stats.page_size)});
  config.label.push_back({"num_gpu_blocks", std::to_string(stats.pages_total)});
  config.gauge.value = 1;
}

}  // namespace

std::vector<MetricFamily> engine_metrics(const ServingEngine& engine,
                                         const std::string& model_name) {
  const ServingStats stats = engine.stats();
  Families families(model_name);
  families.gauge("vllm:num_requests_running", "Requests being computed", stats.running);
  families.gauge("vllm:num_requests_waiting", "Requests that wait", stats.waiting);
  families.gauge("nereid:request_sinks", "Requests whose tokens somebody holds or waits for",
                 static_cast<double>(openai::QueueSink::num_live()));
  add_cache(families, stats);
  families.counter("vllm:prompt_tokens_total", "Prompt tokens computed or found in the cache",
                   stats.prompt_tokens);
  families.counter("vllm:generation_tokens_total", "Tokens generated", stats.generation_tokens);
  families.counter("vllm:num_preemptions_total", "Requests that had to give up their pages",
                   stats.preemptions);
  add_finished(families, stats);
  add_step_tokens(families, stats);
  return families.take();
}

}  // namespace nereid::server
