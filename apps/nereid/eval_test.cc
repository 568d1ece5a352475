// `eval` on a fake engine: what is scored, and errors with the line they are in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/nereid/commands_testing.h"

namespace nereid::commands {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST_F(Commands, EvalScoresJsonLines) {
  const std::string path =
      write_file("in.jsonl",
                 "{\"id\": 7, \"prompt\": \"ab\"}\n\n"
                 "{\"token_ids\": [1, 2, 3]}\n"
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n");
  const Outcome outcome = run({"eval", "--input", path.c_str(), "--top-logprobs", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<json> lines;
  std::istringstream stream(outcome.out);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["id"], 7);
  EXPECT_EQ(lines[0]["token_ids"], json(bytes("ab")));
  EXPECT_TRUE(lines[0]["logprobs"][0].is_null());
  EXPECT_NEAR(lines[0]["logprobs"][1].get<double>(), -1.098, 1e-6);
  EXPECT_EQ(lines[0]["top_logprobs"], json::parse("[[[0,-1.0],[1,-2.0]],[[0,-1.0],[1,-2.0]]]"));
  EXPECT_EQ(lines[1]["token_ids"], json({1, 2, 3}));
  EXPECT_EQ(lines[2]["token_ids"], json({258, 'a', 257}));
  const Outcome generated =
      run({"eval", "--input", "-"}, R"({"token_ids":[1,2,3],"generated_from":2})");
  EXPECT_NEAR(json::parse(generated.out)["logprobs"][1].get<double>(), -1.002, 1e-5);
  EXPECT_NEAR(json::parse(generated.out)["logprobs"][2].get<double>(), -102.003, 1e-4);
  EXPECT_FALSE(json::parse(run({"eval", "--input", "-"}, "{\"token_ids\":[1]}").out)
                   .contains("top_logprobs"));
}

TEST_F(Commands, EvalNamesTheLineOfAnError) {
  const auto message = [&](const char* input) {
    const Outcome outcome = run({"eval", "--input", "-"}, input);
    EXPECT_EQ(outcome.exit_code, 1);
    return outcome.err;
  };
  EXPECT_THAT(message("{\"prompt\":\"a\"}\n{"), HasSubstr("-:2: "));
  EXPECT_THAT(message("{}"), HasSubstr("expected one of \"prompt\""));
  EXPECT_THAT(message("{\"prompt\":5}"), HasSubstr("-:1: prompt: found 5, expected a string"));
  EXPECT_THAT(message("{\"token_ids\":{}}"), HasSubstr("token_ids: found an object, expected an"));
  EXPECT_THAT(message("{\"prompt\":\"a\",\"add_generation_prompt\":\"yes\"}"),
              HasSubstr("add_generation_prompt: found 'yes', expected true or false"));
  EXPECT_THAT(message(R"({"messages":[{"role":"user","content":"a"}],)"
                      R"("add_generation_prompt":"yes"})"),
              HasSubstr("add_generation_prompt: found 'yes', expected true or false"));
  EXPECT_THAT(message("{\"token_ids\":[1,-2]}"), HasSubstr("token_ids[1]: found -2"));
  EXPECT_THAT(message("{\"token_ids\":[1,2],\"generated_from\":3}"),
              HasSubstr("generated_from: found 3, expected 1 to 2"));
  EXPECT_THAT(message("{\"token_ids\":[1,2],\"generated_from\":\"1\"}"),
              HasSubstr("generated_from: found '1', expected 1 to 2"));
  EXPECT_THAT(message("{\"token_ids\":[],\"generated_from\":1}"), HasSubstr("no tokens to score"));
  EXPECT_THAT(message("{\"token_ids\":[]}"), HasSubstr("no tokens to score"));
  EXPECT_THAT(message("[1]"), HasSubstr("expected an object"));
}

// Every token but the first is scored exactly once, at the position its window gives it.
TEST_F(Commands, PerplexityScoresEachTokenOnce) {
  std::string letters;
  for (int index = 0; index < 23; ++index) letters += static_cast<char>('a' + index);
  const std::string path = write_file("text.txt", letters);
  const Outcome outcome =
      run({"eval", "--perplexity", path.c_str(), "--window", "10", "--stride", "4"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json object = json::parse(outcome.out);
  EXPECT_EQ(object["tokens"], 23);
  EXPECT_EQ(object["scored_tokens"], 22);
  // Windows [0,10) scores 1-9; [4,14), [8,18), [12,22) score their last 4 at 6-9; [16,23) scores
  // token 22 at 6.
  double sum = 45 + 3 * (6 + 7 + 8 + 9) + 6;
  for (int index = 1; index < 23; ++index) sum += ('a' + index) / 1000.0;
  EXPECT_NEAR(object["mean_negative_logprob"].get<double>(), sum / 22, 1e-5);
  EXPECT_NEAR(object["perplexity"].get<double>(), std::exp(sum / 22), std::exp(sum / 22) * 1e-4);
  EXPECT_THAT(run({"eval", "--perplexity", path.c_str(), "--window", "999"}).err,
              HasSubstr("window: found 999, expected 2 to 256"));
}

}  // namespace
}  // namespace nereid::commands
