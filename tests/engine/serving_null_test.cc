// The serving engine on the null device, where every logit is 0 and so token 0 is drawn: life and
// death of requests, limits, counters; and random traffic after which nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "src/engine/serving.h"
#include "tests/engine/collecting_sink.h"

namespace nereid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::unique_ptr<ServingEngine> start(const ServingOptions& options) {
  auto engine = ServingEngine::start(
      {.model_path = std::string(NEREID_TEST_DATA) + "/tiny_llama_q4_1.gguf", .device = "null"},
      options);
  EXPECT_TRUE(engine) << engine.error().message;
  return std::move(*engine);
}

constexpr ServingOptions kOptions = {.max_sequences = 4, .max_step_tokens = 64, .max_waiting = 8};

ServeRequest request(int32_t prompt, int32_t max_tokens) {
  return {.prompt_ids = std::vector<int32_t>(static_cast<size_t>(prompt), 1),
          .max_tokens = max_tokens,
          .ignore_eos = true};
}

void expect_idle(const ServingEngine& engine) {
  ServingStats stats = engine.stats();
  for (int tries = 0; tries < 100 && stats.running + stats.pages_used > 0; ++tries) {
    std::this_thread::sleep_for(milliseconds(10));
    stats = engine.stats();
  }
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.pages_used, 0);
}

TEST(ServingNull, RunsToItsLength) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request(100, 20), sink));
  ASSERT_TRUE(sink->wait());
  EXPECT_EQ(sink->ids(), std::vector<int32_t>(20, 0));
  EXPECT_EQ(sink->finishes.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(sink->usage().prompt_tokens, 100);
  EXPECT_EQ(sink->usage().output_tokens, 20);
  EXPECT_LE(sink->usage().arrived, sink->usage().scheduled);
  EXPECT_LE(sink->usage().scheduled, sink->usage().first_token);
  EXPECT_LE(sink->usage().first_token, sink->usage().finished);
  expect_idle(*engine);
}

TEST(ServingNull, StepsAreAsLargeAsSuitsTheDevice) {
  const auto engine = start({.max_sequences = 4});
  EXPECT_EQ(engine->stats().step_tokens.back().first, 512);
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request(100, 2), sink));
  ASSERT_TRUE(sink->wait());
  EXPECT_EQ(sink->usage().output_tokens, 2);
}

TEST(ServingNull, StopIdsEndAndAreNotEmitted) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  ServeRequest stops = request(3, 20);
  stops.stop_ids = {0};
  stops.min_tokens = 4;  // banned that long, so another token has to be drawn: on zeros, id 0 again
  ASSERT_TRUE(engine->submit(stops, sink));
  ASSERT_TRUE(sink->wait());
  EXPECT_EQ(sink->finishes.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(sink->finishes.at(0).stop_id, 0);
  EXPECT_TRUE(sink->ids().empty());
}

TEST(ServingNull, ChoicesSharePagesAndEndOneByOne) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  ServeRequest several = request(100, 30);
  several.n = 6;
  const auto id = engine->submit(several, sink);
  ASSERT_TRUE(id);
  engine->stop_choice(*id, 5);
  ASSERT_TRUE(sink->wait());
  EXPECT_EQ(sink->finishes.size(), 6u);
  EXPECT_EQ(sink->finishes.at(5).reason, FinishReason::kStop);
  for (int32_t choice = 0; choice < 5; ++choice) EXPECT_EQ(sink->ids(choice).size(), 30u);
  EXPECT_GE(engine->stats().prefix_hits, 4u * 96u);
  expect_idle(*engine);
}

TEST(ServingNull, CancelEndsWithinAStep) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  const auto id = engine->submit(request(10, 400), sink);
  ASSERT_TRUE(id);
  ASSERT_TRUE(sink->wait_for_tokens(2));
  engine->cancel(*id);
  engine->cancel(*id);
  engine->cancel(12345);
  ASSERT_TRUE(sink->wait());
  EXPECT_THAT(sink->finishes.at(0).reason,
              testing::AnyOf(FinishReason::kCancelled, FinishReason::kLength));
  expect_idle(*engine);
}

TEST(ServingNull, PromptLogprobs) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  ServeRequest echo = request(150, 2);
  echo.prompt_logprobs = true;
  echo.top_logprobs = 2;
  ASSERT_TRUE(engine->submit(echo, sink));
  ASSERT_TRUE(sink->wait());
  ASSERT_EQ(sink->prompt.size(), 150u);
  EXPECT_TRUE(std::isnan(sink->prompt[0].logprob));
  for (const OutputToken& token : sink->prompt) EXPECT_EQ(token.id, 1);
  EXPECT_EQ(sink->prompt[149].top.size(), 2u);
  EXPECT_EQ(sink->tokens[0].at(0).top.size(), 2u);
}

TEST(ServingNull, RefusesByName) {
  const auto engine = start(kOptions);
  const auto refused = [&](ServeRequest bad) {
    const auto result = engine->submit(std::move(bad), std::make_shared<CollectingSink>());
    EXPECT_FALSE(result);
    return result ? std::string() : result.error().parameter;
  };
  ServeRequest bad = request(0, 1);
  EXPECT_EQ(refused(bad), "prompt");
  EXPECT_EQ(refused(request(engine->max_context(), 1)), "prompt");
  bad = request(3, 1);
  bad.prompt_ids[1] = -1;
  EXPECT_EQ(refused(bad), "prompt");
  bad.prompt_ids[1] = engine->config().vocab_size;
  EXPECT_EQ(refused(bad), "prompt");
  EXPECT_EQ(refused(request(3, 0)), "max_tokens");
  bad = request(3, 1);
  bad.n = 1000;
  EXPECT_EQ(refused(bad), "n");
  bad = request(3, 1);
  bad.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(refused(bad), "temperature");
  bad = request(3, 1);
  bad.stop_ids = {-5};
  EXPECT_EQ(refused(bad), "stop_token_ids");
  bad = request(3, 1);
  bad.top_logprobs = 1000;
  EXPECT_EQ(refused(bad), "top_logprobs");
}

TEST(ServingNull, ABoundedQueue) {
  ServingOptions options = kOptions;
  options.max_sequences = 1;
  options.max_waiting = 2;
  const auto engine = start(options);
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  int refused = 0;
  for (int index = 0; index < 50; ++index) {
    auto sink = std::make_shared<CollectingSink>();
    const auto id = engine->submit(request(100, 300), sink);
    if (id) {
      sinks.push_back(sink);
    } else {
      EXPECT_EQ(id.error().kind, SubmitError::Kind::kQueueFull);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  for (const auto& sink : sinks) EXPECT_TRUE(sink->wait());
  EXPECT_GE(sinks.size(), 3u);
}

TEST(ServingNull, DrainsAndThenRefuses) {
  const auto engine = start(kOptions);
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request(10, 50), sink));
  EXPECT_TRUE(engine->drain(ServeClock::now() + seconds(30)));
  EXPECT_EQ(sink->finishes.at(0).reason, FinishReason::kLength);
  const auto late = engine->submit(request(10, 5), std::make_shared<CollectingSink>());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, SubmitError::Kind::kShuttingDown);
}

TEST(ServingNull, TheDeadlineCancelsTheRest) {
  const auto engine = start(kOptions);
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  for (int index = 0; index < 8; ++index) {
    sinks.push_back(std::make_shared<CollectingSink>());
    ASSERT_TRUE(engine->submit(request(150, 90), sinks.back()));
  }
  engine->drain(ServeClock::now());
  for (const auto& sink : sinks) EXPECT_EQ(sink->finishes.size(), 1u);
  expect_idle(*engine);
}

TEST(ServingNull, DestructionEndsEveryRequest) {
  const auto sink = std::make_shared<CollectingSink>();
  {
    const auto engine = start(kOptions);
    ASSERT_TRUE(engine->submit(request(10, 400), sink));
  }
  EXPECT_EQ(sink->finishes.size(), 1u);
}

// The cache is what the memory of the device allows, and too little of it is an account.
TEST(ServingNull, TheCacheIsPlanned) {
  const auto start_on = [](const std::string& device, const ServingOptions& options,
                           const MemoryOptions& memory = {}) {
    return ServingEngine::start(
        {.model_path = std::string(NEREID_TEST_DATA) + "/tiny_llama_q4_1.gguf",
         .device = device,
         .memory = memory},
        options);
  };
  const auto plenty = start_on("null", kOptions);
  ASSERT_TRUE(plenty) << plenty.error().message;
  EXPECT_EQ((*plenty)->options().cache_tokens, 4 * (*plenty)->max_context());

  const auto exact = start_on("null", kOptions, {.kv_cache_memory = 1 << 20});
  ASSERT_TRUE(exact) << exact.error().message;
  const ServingStats stats = (*exact)->stats();
  const int64_t page = (1 << 20) / stats.pages_total;
  EXPECT_EQ((*exact)->options().cache_tokens, int64_t{stats.pages_total} * stats.page_size);
  EXPECT_GT(page, 0);
  EXPECT_EQ((1 << 20) % page, 0);

  const auto share = start_on("null:64MiB", kOptions, {.memory_utilization = 0.5});
  ASSERT_TRUE(share) << share.error().message;
  EXPECT_GT((*share)->options().cache_tokens, (*plenty)->options().cache_tokens);
  const auto less = start_on("null:64MiB", kOptions, {.memory_utilization = 0.3});
  ASSERT_TRUE(less) << less.error().message;
  EXPECT_LT((*less)->options().cache_tokens, (*share)->options().cache_tokens);

  const auto none = start_on("null:1MiB", kOptions);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message,
              testing::AllOf(testing::HasSubstr("tiny_llama_q4_1.gguf: out of memory"),
                             testing::HasSubstr("of the 1.0 MiB free on null device"),
                             testing::HasSubstr("weights "), testing::HasSubstr("activations "),
                             testing::HasSubstr("KV cache ")));
}

// Several threads submit, cancel and stop at random under a cache that is far too small.
TEST(ServingNull, RandomTrafficLeavesNothingBehind) {
  ServingOptions options = kOptions;
  options.cache_tokens = 700;
  options.max_waiting = 20;
  const auto engine = start(options);
  std::atomic<int> accepted{0}, refused{0};
  const auto client = [&](uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    std::vector<RequestId> ids;
    for (int index = 0; index < 150; ++index) {
      ServeRequest next = request(1 + static_cast<int32_t>(random() % 200),
                                  1 + static_cast<int32_t>(random() % 200));
      for (int32_t& id : next.prompt_ids) id = static_cast<int32_t>(random() % 3);
      next.n = 1 + static_cast<int32_t>(random() % 3);
      next.priority = static_cast<int32_t>(random() % 3);
      next.prompt_logprobs = random() % 8 == 0;
      if (random() % 4 == 0) next.sampling = {.temperature = 1.0f, .presence_penalty = 0.5f};
      auto sink = std::make_shared<CollectingSink>();
      if (const auto id = engine->submit(std::move(next), sink)) {
        sinks.push_back(std::move(sink));
        ids.push_back(*id);
        ++accepted;
      } else {
        ++refused;
        std::this_thread::sleep_for(milliseconds(1));
      }
      if (!ids.empty() && random() % 3 == 0) engine->cancel(ids[random() % ids.size()]);
      if (!ids.empty() && random() % 5 == 0) engine->stop_choice(ids[random() % ids.size()], 1);
    }
    for (const auto& sink : sinks) ASSERT_TRUE(sink->wait());
  };
  {
    std::vector<std::jthread> clients;
    for (uint32_t seed = 0; seed < 3; ++seed) clients.emplace_back(client, seed);
  }
  EXPECT_GT(accepted, 0);
  expect_idle(*engine);
  const ServingStats stats = engine->stats();
  EXPECT_GT(stats.preemptions, 0u);
  EXPECT_EQ(stats.finished_error, 0u);
}

}  // namespace
}  // namespace nereid
