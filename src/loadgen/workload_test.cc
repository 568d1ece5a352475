// Bodies, lengths, arrivals, files of prompts, URLs.
#include "src/loadgen/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/loadgen/url.h"

namespace nereid::loadgen {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

size_t num_words(const std::string& text) {
  return static_cast<size_t>(std::ranges::count(text, ' ')) + 1;
}

TEST(Workload, Words) {
  Workload workload({.model = "a\"b",
                     .input = {20, 30},
                     .output = {5, 6},
                     .ignore_eos = true,
                     .temperature = 0.5});
  for (int at = 0; at < 50; ++at) {
    const PlannedRequest request = workload.next();
    const json body = json::parse(request.body);
    EXPECT_EQ(body["model"], "a\"b");
    EXPECT_EQ(body["max_tokens"], request.output_len);
    EXPECT_TRUE(request.output_len == 5 || request.output_len == 6);
    EXPECT_TRUE(body["ignore_eos"]);
    EXPECT_TRUE(body["stream"]);
    EXPECT_TRUE(body["stream_options"]["include_usage"]);
    EXPECT_EQ(body["temperature"], 0.5);
    const size_t words = num_words(body["prompt"]);
    EXPECT_GE(words, 20u);
    EXPECT_LE(words, 30u);
  }
}

TEST(Workload, SeedDecides) {
  const auto bodies = [](uint64_t seed) {
    Workload workload({.mix = LengthMix::kShareGpt, .seed = seed});
    return workload.next().body + workload.next().body;
  };
  EXPECT_EQ(bodies(1), bodies(1));
  EXPECT_NE(bodies(1), bodies(2));
}

TEST(Workload, ChatIdsAndPrefix) {
  Workload chat({.endpoint = Endpoint::kChat, .input = {8, 8}});
  const json messages = json::parse(chat.next().body)["messages"];
  EXPECT_EQ(messages[0]["role"], "user");
  EXPECT_EQ(num_words(messages[0]["content"]), 8u);
  Workload ids(
      {.prompt_kind = PromptKind::kIds, .input = {9, 9}, .shared_prefix = 4, .vocab_size = 2000});
  const auto first = json::parse(ids.next().body)["prompt"].get<std::vector<int>>();
  const auto second = json::parse(ids.next().body)["prompt"].get<std::vector<int>>();
  ASSERT_EQ(first.size(), 9u);
  EXPECT_TRUE(std::ranges::all_of(first, [](int id) { return id >= 1000 && id < 2000; }));
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 4, second.begin()));
  EXPECT_NE(first, second);
}

TEST(Workload, ShareGptMix) {
  Workload workload({.mix = LengthMix::kShareGpt});
  std::vector<int32_t> lengths;
  for (int at = 0; at < 2000; ++at) lengths.push_back(workload.next().output_len);
  std::ranges::sort(lengths);
  EXPECT_NEAR(lengths[1000], 115, 15);
  EXPECT_LE(lengths.back(), 1024);
  EXPECT_GE(lengths.front(), 4);
}

TEST(Workload, GapsHaveTheirMean) {
  for (const double burstiness : {0.2, 1.0, 10.0}) {
    Workload workload({});
    double sum = 0;
    for (int at = 0; at < 20'000; ++at) sum += workload.next_gap(50, burstiness);
    EXPECT_NEAR(sum / 20'000, 0.02, 0.002);
  }
}

TEST(LengthRanges, Parse) {
  EXPECT_EQ(parse_length_range("12", "--x")->max, 12);
  EXPECT_EQ(parse_length_range("3:9", "--x")->min, 3);
  for (const char* wrong : {"", "0", "-1", "9:3", "1:", ":1", "1:2:3", "x", "99999999999"}) {
    const auto range = parse_length_range(wrong, "--x");
    ASSERT_FALSE(range) << wrong;
    EXPECT_THAT(range.error().message, HasSubstr("--x"));
  }
}

class PromptFile : public ::testing::Test {
 protected:
  Result<std::vector<FilePrompt>> read(const std::string& content, Endpoint endpoint) {
    std::ofstream(path_) << content;
    return read_prompts(path_, endpoint);
  }
  ~PromptFile() override { std::filesystem::remove(path_); }
  std::string path_ = std::filesystem::temp_directory_path() /
                      ("nereid_prompts_" + std::to_string(::getpid()) + ".jsonl");
};

TEST_F(PromptFile, Reads) {
  const auto prompts = read(
      "{\"prompt\": \"a\", \"max_tokens\": 7}\n\n{\"messages\": [{\"role\": "
      "\"user\", \"content\": \"b\"}]}\n",
      Endpoint::kCompletions);
  ASSERT_TRUE(prompts) << prompts.error().message;
  EXPECT_EQ((*prompts)[0].json, "\"a\"");
  EXPECT_EQ((*prompts)[0].max_tokens, 7);
  EXPECT_EQ((*prompts)[1].json, "\"b\"");
  Workload workload({.prompt_kind = PromptKind::kFile, .prompts = *prompts});
  EXPECT_EQ(json::parse(workload.next().body)["max_tokens"], 7);
  EXPECT_EQ(json::parse(workload.next().body)["prompt"], "b");
  EXPECT_EQ(json::parse(workload.next().body)["prompt"], "a");
  const auto chat = read("{\"prompt\": \"a\"}", Endpoint::kChat);
  EXPECT_EQ(json::parse((*chat)[0].json)[0]["content"], "a");
}

TEST_F(PromptFile, Refuses) {
  const auto message = [this](const std::string& content) {
    return read(content, Endpoint::kCompletions).error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("no prompt in it"));
  EXPECT_THAT(message("{\"prompt\": \"a\"}\n{"), HasSubstr("line 2"));
  EXPECT_THAT(message("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(message("{\"prompt\": 7}"), HasSubstr("expected \"prompt\""));
  EXPECT_THAT(message("{\"prompt\": \"a\", \"max_tokens\": 0}"), HasSubstr("max_tokens"));
  EXPECT_THAT(read_prompts("/no/such/file", Endpoint::kChat).error().message,
              HasSubstr("cannot be read"));
}

TEST(Urls, Parse) {
  const auto url = parse_url("http://localhost:8000/api/v1/");
  ASSERT_TRUE(url) << url.error().message;
  EXPECT_EQ(url->host, "localhost");
  EXPECT_EQ(url->port, "8000");
  EXPECT_EQ(url->prefix, "/api");
  EXPECT_EQ(parse_url("http://h/v1")->prefix, "");
  EXPECT_EQ(parse_url("http://h")->port, "80");
  EXPECT_EQ(parse_url("http://[::1]:99")->authority(), "[::1]:99");
  for (const char* wrong : {"", "localhost:8000", "https://h", "http://", "http://:80",
                            "http://h:0", "http://h:x", "http://h:99999", "http://u@h",
                            "http://h/?a", "http://h /", "http://[::1", "http://[::1]x"}) {
    EXPECT_FALSE(parse_url(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace nereid::loadgen
