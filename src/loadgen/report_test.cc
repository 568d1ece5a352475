// Figures from records made by hand.
#include "src/loadgen/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace nereid::loadgen {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

RequestRecord record(int start_ms, int first_ms, int end_ms, std::vector<float> gaps_s,
                     int tokens) {
  RequestRecord record{.gaps_s = std::move(gaps_s)};
  record.start = Clock::time_point(milliseconds(start_ms));
  record.first_token = Clock::time_point(milliseconds(first_ms));
  record.end = Clock::time_point(milliseconds(end_ms));
  record.num_chunks = static_cast<int32_t>(record.gaps_s.size()) + 1;
  record.prompt_tokens = 10;
  record.output_tokens = tokens;
  record.planned_tokens = 3;
  record.status = 200;
  return record;
}

TEST(Distribution, Percentiles) {
  const Distribution d = distribution({4, 1, 3, 2, 5});
  EXPECT_DOUBLE_EQ(d.mean, 3);
  EXPECT_DOUBLE_EQ(d.p50, 3);
  EXPECT_DOUBLE_EQ(d.p90, 4.6);
  EXPECT_DOUBLE_EQ(d.p99, 4.96);
  EXPECT_DOUBLE_EQ(d.max, 5);
  EXPECT_EQ(distribution({}).count, 0u);
  EXPECT_DOUBLE_EQ(distribution({7}).p99, 7);
}

TEST(Report, Figures) {
  RunResult run{.elapsed_s = 2};
  run.records.push_back(record(0, 100, 300, {0.1F, 0.1F}, 3));
  run.records.push_back(record(0, 300, 700, {0.1F, 0.3F}, 3));
  run.records.push_back(record(0, 0, 10, {}, -1));
  run.records.back().failure = "HTTP 429";
  run.records.back().detail = "queue is full";
  const Report report = summarise(run, {.ttft_ms = 200});
  EXPECT_EQ(report.num_done, 2);
  EXPECT_EQ(report.num_failed, 1);
  EXPECT_EQ(report.output_tokens, 6);
  EXPECT_EQ(report.input_tokens, 20);
  EXPECT_DOUBLE_EQ(report.output_tokens_per_s, 3);
  EXPECT_DOUBLE_EQ(report.ttft_ms.mean, 200);
  EXPECT_DOUBLE_EQ(report.e2e_ms.max, 700);
  EXPECT_NEAR(report.itl_ms.mean, 150, 1e-3);
  EXPECT_NEAR(report.tpot_ms.max, 200, 1e-3);
  EXPECT_DOUBLE_EQ(*report.goodput_per_s, 0.5);
  EXPECT_EQ(report.failures.at("HTTP 429").count, 1);
  EXPECT_THAT(report_text(report), HasSubstr("1 x HTTP 429: queue is full"));
  EXPECT_EQ(report_json(report)["failures"]["HTTP 429"]["count"], 1);
}

TEST(Report, NothingDone) {
  const Report report = summarise({}, {});
  EXPECT_THAT(report_text(report), HasSubstr("(none)"));
  EXPECT_EQ(report_json(report)["requests_done"], 0);
}

TEST(Goodput, Parse) {
  const auto goodput = parse_goodput("ttft:200,itl:12.5");
  ASSERT_TRUE(goodput);
  EXPECT_DOUBLE_EQ(*goodput->ttft_ms, 200);
  EXPECT_DOUBLE_EQ(*goodput->itl_ms, 12.5);
  EXPECT_FALSE(goodput->e2e_ms);
  for (const char* wrong :
       {"", "ttft", "ttft:", "ttft:x", "ttft:-1", "ttft:0", "ttft:inf", "ttft:nan", "ttft:1,ttft:2",
        "tpot:1", "ttft:1;itl:2", "ttft:1,,itl:2"}) {
    EXPECT_FALSE(parse_goodput(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace nereid::loadgen
