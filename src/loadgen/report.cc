// See report.h.
#include "src/loadgen/report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "src/base/json.h"

namespace nereid::loadgen {
namespace {

double ms_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - start).count();
}

double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

// Over what came after the first text; nothing to measure for a single token.
std::optional<double> per_token_ms(const RequestRecord& record) {
  if (record.tokens() < 2 || record.num_chunks < 2) return {};
  const double last_ms = 1e3 * std::accumulate(record.gaps_s.begin(), record.gaps_s.end(), 0.0);
  return last_ms / (record.tokens() - 1);
}

bool is_good(const RequestRecord& record, const Goodput& goodput) {
  const auto within = [](double value, const std::optional<double>& limit) {
    return !limit || value <= *limit;
  };
  return within(ms_between(record.start, record.first_token), goodput.ttft_ms) &&
         within(per_token_ms(record).value_or(0), goodput.itl_ms) &&
         within(ms_between(record.start, record.end), goodput.e2e_ms);
}

std::string row(std::string_view name, const Distribution& d) {
  if (d.count == 0) return fmt::format("{:<28} (none)\n", name);
  return fmt::format("{:<28} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f}\n", name, d.mean,
                     d.p50, d.p90, d.p99, d.max);
}

nlohmann::ordered_json json_of(const Distribution& d) {
  return {{"count", d.count}, {"mean", d.mean}, {"p50", d.p50},
          {"p90", d.p90},     {"p99", d.p99},   {"max", d.max}};
}

}  // namespace

Distribution distribution(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.count = values.size(),
          .mean = sum / static_cast<double>(values.size()),
          .p50 = percentile(values, 0.5),
          .p90 = percentile(values, 0.9),
          .p99 = percentile(values, 0.99),
          .max = values.back()};
}

Result<Goodput> parse_goodput(std::string_view text) {
  Goodput goodput;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const size_t colon = part.find(':');
    const std::string_view name = part.substr(0, colon);
    std::optional<double>* limit = name == "ttft"  ? &goodput.ttft_ms
                                   : name == "itl" ? &goodput.itl_ms
                                   : name == "e2e" ? &goodput.e2e_ms
                                                   : nullptr;
    double value = 0;
    const std::string_view number =
        colon == std::string_view::npos ? std::string_view() : part.substr(colon + 1);
    const auto [end, failure] =
        std::from_chars(number.data(), number.data() + number.size(), value);
    const bool is_number = failure == std::errc{} && end == number.data() + number.size();
    if (limit == nullptr || *limit || !is_number || !std::isfinite(value) || value <= 0) {
      return error("found '{}', expected ttft:MS, itl:MS and e2e:MS, each at most once",
                   printable(part));
    }
    *limit = value;
  }
  if (!goodput.is_asked()) return error("expected ttft:MS, itl:MS or e2e:MS");
  return goodput;
}

Report summarise(const RunResult& run, const Goodput& goodput) {
  Report report{.elapsed_s = run.elapsed_s,
                .num_dropped = run.num_dropped,
                .peak_in_flight = run.peak_in_flight,
                .was_stopped = run.was_stopped,
                .lost_server = run.lost_server};
  std::vector<double> ttft, itl, tpot, e2e;
  int64_t num_good = 0;
  for (const RequestRecord& record : run.records) {
    if (!record.failure.empty()) {
      ++report.num_failed;
      Failures& failures = report.failures[record.failure];
      if (failures.count++ == 0) failures.example = record.detail;
      continue;
    }
    ++report.num_done;
    report.input_tokens += std::max(0, record.prompt_tokens);
    report.output_tokens += record.tokens();
    report.counts_chunks = report.counts_chunks || record.output_tokens < 0;
    report.num_short += record.tokens() < record.planned_tokens ? 1 : 0;
    if (record.num_chunks > 0) ttft.push_back(ms_between(record.start, record.first_token));
    for (const float gap : record.gaps_s) itl.push_back(1e3 * double{gap});
    if (const auto per_token = per_token_ms(record)) tpot.push_back(*per_token);
    e2e.push_back(ms_between(record.start, record.end));
    num_good += is_good(record, goodput) ? 1 : 0;
  }
  if (run.elapsed_s > 0) {
    report.requests_per_s = static_cast<double>(report.num_done) / run.elapsed_s;
    report.output_tokens_per_s = static_cast<double>(report.output_tokens) / run.elapsed_s;
    report.total_tokens_per_s =
        static_cast<double>(report.input_tokens + report.output_tokens) / run.elapsed_s;
    if (goodput.is_asked()) report.goodput_per_s = static_cast<double>(num_good) / run.elapsed_s;
  }
  report.ttft_ms = distribution(std::move(ttft));
  report.itl_ms = distribution(std::move(itl));
  report.tpot_ms = distribution(std::move(tpot));
  report.e2e_ms = distribution(std::move(e2e));
  return report;
}

std::string report_text(const Report& report) {
  std::string text;
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<28} {:>10}\n", name, value);
  };
  line("requests done", std::to_string(report.num_done));
  line("requests failed", std::to_string(report.num_failed));
  if (report.num_dropped > 0) line("requests dropped", std::to_string(report.num_dropped));
  line("most at once", std::to_string(report.peak_in_flight));
  line("duration, s", fmt::format("{:.2f}", report.elapsed_s));
  line("input tokens", std::to_string(report.input_tokens));
  line("output tokens", std::to_string(report.output_tokens));
  line("requests/s", fmt::format("{:.2f}", report.requests_per_s));
  line("output tokens/s", fmt::format("{:.1f}", report.output_tokens_per_s));
  line("input+output tokens/s", fmt::format("{:.1f}", report.total_tokens_per_s));
  if (report.goodput_per_s)
    line("goodput, requests/s", fmt::format("{:.2f}", *report.goodput_per_s));
  text += fmt::format("\n{:<28} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "milliseconds", "mean",
                      "p50", "p90", "p99", "max");
  text += row("time to first token", report.ttft_ms);
  text += row("between tokens", report.itl_ms);
  text += row("per token, of a request", report.tpot_ms);
  text += row("whole request", report.e2e_ms);
  for (const auto& [name, failures] : report.failures) {
    text += fmt::format("\n{} x {}{}{}", failures.count, name, failures.example.empty() ? "" : ": ",
                        failures.example);
  }
  if (!report.failures.empty()) text += '\n';
  if (report.counts_chunks)
    text += "\nThe server sends no usage: tokens are chunks of the stream.\n";
  if (report.num_short > 0) {
    text += fmt::format("\n{} of the answers are shorter than asked for (--ignore-eos?).\n",
                        report.num_short);
  }
  if (report.lost_server)
    text += "\nThe server could not be reached any more; the run ended early.\n";
  return text;
}

nlohmann::ordered_json report_json(const Report& report) {
  nlohmann::ordered_json failures = nlohmann::ordered_json::object();
  for (const auto& [name, failure] : report.failures) {
    failures[name] = {{"count", failure.count}, {"example", failure.example}};
  }
  nlohmann::ordered_json json = {{"requests_done", report.num_done},
                                 {"requests_failed", report.num_failed},
                                 {"requests_dropped", report.num_dropped},
                                 {"peak_in_flight", report.peak_in_flight},
                                 {"stopped", report.was_stopped},
                                 {"lost_server", report.lost_server},
                                 {"duration_s", report.elapsed_s},
                                 {"input_tokens", report.input_tokens},
                                 {"output_tokens", report.output_tokens},
                                 {"tokens_are_chunks", report.counts_chunks},
                                 {"answers_shorter_than_asked", report.num_short},
                                 {"requests_per_s", report.requests_per_s},
                                 {"output_tokens_per_s", report.output_tokens_per_s},
                                 {"total_tokens_per_s", report.total_tokens_per_s},
                                 {"ttft_ms", json_of(report.ttft_ms)},
                                 {"itl_ms", json_of(report.itl_ms)},
                                 {"tpot_ms", json_of(report.tpot_ms)},
                                 {"e2e_ms", json_of(report.e2e_ms)},
                                 {"failures", std::move(failures)}};
  if (report.goodput_per_s) json["goodput_requests_per_s"] = *report.goodput_per_s;
  return json;
}

}  // namespace nereid::loadgen
