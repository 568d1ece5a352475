// The engine's own counters and gauges as Prometheus families under vLLM's names.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "src/engine/serving.h"

namespace nereid::server {

std::vector<prometheus::MetricFamily> engine_metrics(const ServingEngine& engine,
                                                     const std::string& model_name);

}  // namespace nereid::server
