// From the records of a run to figures: what is printed and what is written as JSON.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/loadgen/runner.h"

namespace nereid::loadgen {

struct Distribution {
  size_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};
// Percentiles between neighbouring values are interpolated.
Distribution distribution(std::vector<double> values);

// Milliseconds; absent: not asked for.
struct Goodput {
  std::optional<double> ttft_ms, itl_ms, e2e_ms;
  bool is_asked() const { return ttft_ms || itl_ms || e2e_ms; }
};
// "ttft:200,itl:50,e2e:5000", each at most once.
Result<Goodput> parse_goodput(std::string_view text);

struct Failures {
  int64_t count = 0;
  std::string example;
};

// Times in milliseconds, over requests without a failure.
struct Report {
  double elapsed_s = 0;
  int64_t num_done = 0, num_failed = 0, num_dropped = 0;
  int32_t peak_in_flight = 0;
  bool was_stopped = false, lost_server = false;
  int64_t input_tokens = 0, output_tokens = 0;
  bool counts_chunks = false;  // some answers had no usage: their tokens are their chunks
  int64_t num_short = 0;       // fewer tokens than asked for
  double requests_per_s = 0, output_tokens_per_s = 0, total_tokens_per_s = 0;
  Distribution ttft_ms;  // start to the first text
  Distribution itl_ms;   // between texts, all of all requests
  Distribution tpot_ms;  // per request: (end - first text) / (tokens - 1)
  Distribution e2e_ms;
  std::map<std::string, Failures> failures;
  std::optional<double>
      goodput_per_s;  // requests within every limit; `itl` limits a request's mean
};

Report summarise(const RunResult& run, const Goodput& goodput);
std::string report_text(const Report& report);
nlohmann::ordered_json report_json(const Report& report);

}  // namespace nereid::loadgen
