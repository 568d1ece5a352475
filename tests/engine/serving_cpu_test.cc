// The serving engine on the cpu driver over tiny real models: what a request gets does not depend
// on the company it is in, and is what the single-sequence engine gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "src/engine/model_engine.h"
#include "src/engine/serving.h"
#include "tests/engine/collecting_sink.h"

namespace nereid {
namespace {

struct Param {
  const char* model;
  ComputeType dtype;
};

std::string path_of(const Param& param) {
  return std::string(NEREID_TEST_DATA) + "/" + param.model;
}

class ServingCpu : public testing::TestWithParam<Param> {
 protected:
  static LoadOptions load_options() {
    return {.model_path = path_of(GetParam()),
            .device = "cpu",
            .threads = 2,
            .dtype = GetParam().dtype};
  }
  static std::unique_ptr<Engine> load_single() {
    auto engine = ModelEngine::load(load_options());
    EXPECT_TRUE(engine) << engine.error().message;
    return std::move(*engine);
  }
  static std::unique_ptr<ServingEngine> start(const ServingOptions& options) {
    auto engine = ServingEngine::start(load_options(), options);
    EXPECT_TRUE(engine) << engine.error().message;
    return std::move(*engine);
  }
};

// Requests of many kinds, the same ones for the same number.
ServeRequest numbered_request(uint32_t number, int32_t vocab_size) {
  std::mt19937 random(number * 977 + 5);
  ServeRequest request;
  const uint32_t length = 1 + random() % 100;
  for (uint32_t index = 0; index < length; ++index) {
    request.prompt_ids.push_back(
        static_cast<int32_t>(random() % static_cast<uint32_t>(vocab_size)));
  }
  request.max_tokens = 24;
  request.ignore_eos = true;
  request.top_logprobs = number % 3 == 0 ? 2 : -1;
  request.sampling.seed = number;
  if (number % 2 == 1) request.sampling.temperature = 0.9f;
  if (number % 4 == 1) request.sampling.top_p = 0.8f;
  if (number % 4 == 3) request.sampling.top_k = 20;
  if (number % 5 == 2) request.sampling.repetition_penalty = 1.2f;
  if (number % 7 == 3) request.sampling.logit_bias = {{3, 2.0f}};
  return request;
}

using Outcome = std::vector<std::pair<int32_t, float>>;  // ids and log-probabilities

Outcome outcome_of(CollectingSink& sink) {
  EXPECT_TRUE(sink.wait());
  Outcome outcome;
  for (const OutputToken& token : sink.tokens[0]) {
    outcome.emplace_back(token.id, std::isnan(token.logprob) ? 0.0f : token.logprob);
  }
  return outcome;
}

TEST_P(ServingCpu, OutputDoesNotDependOnTheBatch) {
  constexpr uint32_t kCount = 32;
  const ServingOptions options = {
      .max_sequences = 32, .max_step_tokens = 96, .prefix_cache = false};
  std::vector<Outcome> alone, together;
  const auto engine = start(options);
  const int32_t vocab_size = engine->config().vocab_size;
  for (uint32_t number = 0; number < kCount; ++number) {
    const auto sink = std::make_shared<CollectingSink>();
    ASSERT_TRUE(engine->submit(numbered_request(number, vocab_size), sink));
    alone.push_back(outcome_of(*sink));
    EXPECT_EQ(alone.back().size(), 24u);
  }
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  for (uint32_t number = 0; number < kCount; ++number) {
    sinks.push_back(std::make_shared<CollectingSink>());
    ASSERT_TRUE(engine->submit(numbered_request(number, vocab_size), sinks.back()));
  }
  for (const auto& sink : sinks) together.push_back(outcome_of(*sink));
  for (uint32_t number = 0; number < kCount; ++number) {
    EXPECT_EQ(alone[number], together[number]) << "request " << number;
  }
}

TEST_P(ServingCpu, EqualsTheSingleSequenceEngine) {
  const auto single = load_single();
  const auto engine = start({.max_sequences = 4});
  for (uint32_t number = 0; number < 8; ++number) {
    ServeRequest request = numbered_request(number, engine->config().vocab_size);
    const auto expected = single->generate({.prompt_ids = request.prompt_ids,
                                            .max_tokens = request.max_tokens,
                                            .ignore_eos = true,
                                            .sampling = request.sampling});
    ASSERT_TRUE(expected);
    const auto sink = std::make_shared<CollectingSink>();
    ASSERT_TRUE(engine->submit(std::move(request), sink));
    ASSERT_TRUE(sink->wait());
    EXPECT_EQ(sink->ids(), expected->token_ids) << "request " << number;
  }
}

// With the prompt found in the cache, or as one of several choices: the same.
TEST_P(ServingCpu, PrefixCacheAndChoicesChangeNothing) {
  const auto engine = start({.max_sequences = 8});
  ServeRequest request = numbered_request(1, engine->config().vocab_size);
  while (request.prompt_ids.size() < 90) request.prompt_ids.push_back(7);
  std::vector<std::vector<int32_t>> outputs;
  for (int round = 0; round < 2; ++round) {
    const auto sink = std::make_shared<CollectingSink>();
    ASSERT_TRUE(engine->submit(request, sink));
    ASSERT_TRUE(sink->wait());
    outputs.push_back(sink->ids());
    EXPECT_EQ(sink->usage().cached_tokens, round == 0 ? 0 : 64);
  }
  EXPECT_EQ(outputs[0], outputs[1]);
  ServeRequest several = request;
  several.n = 3;
  several.sampling.seed = request.sampling.seed - 2;  // the third choice has the request's seed
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(several, sink));
  ASSERT_TRUE(sink->wait());
  EXPECT_EQ(sink->ids(2), outputs[0]);
  EXPECT_NE(sink->ids(0), sink->ids(1));
}

TEST_P(ServingCpu, PromptLogprobsAreThoseOfScore) {
  const auto single = load_single();
  const auto engine = start({.max_sequences = 4});
  ServeRequest request = numbered_request(3, engine->config().vocab_size);
  request.prompt_logprobs = true;
  request.top_logprobs = 3;
  const auto expected = single->score({.ids = request.prompt_ids, .top_n = 3});
  ASSERT_TRUE(expected);
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request, sink));
  ASSERT_TRUE(sink->wait());
  ASSERT_EQ(sink->prompt.size(), request.prompt_ids.size());
  for (size_t at = 1; at < sink->prompt.size(); ++at) {
    EXPECT_NEAR(sink->prompt[at].logprob, expected->logprobs[at], 2e-3) << at;
    ASSERT_EQ(sink->prompt[at].top.size(), 3u);
    EXPECT_EQ(sink->prompt[at].top[0].first, expected->top[at - 1][0].first) << at;
  }
}

// Scored one by one behind their prompt, tokens have the log-probabilities they were drawn with.
TEST_P(ServingCpu, GeneratedTokensScoreAsTheyWereDrawn) {
  const auto single = load_single();
  const auto engine = start({.max_sequences = 4});
  ServeRequest request = numbered_request(0, engine->config().vocab_size);
  const auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request, sink));
  const Outcome drawn = outcome_of(*sink);
  std::vector<int32_t> ids = request.prompt_ids;
  for (const auto& [id, logprob] : drawn) ids.push_back(id);
  const auto prompt = static_cast<int32_t>(request.prompt_ids.size());
  const auto scores = single->score({.ids = ids, .generated_from = prompt});
  ASSERT_TRUE(scores);
  ASSERT_EQ(scores->logprobs.size(), ids.size());
  for (size_t at = 0; at < drawn.size(); ++at) {
    EXPECT_EQ(scores->logprobs[request.prompt_ids.size() + at], drawn[at].second) << at;
  }
  for (const int32_t wrong : {0, static_cast<int32_t>(ids.size()) + 1}) {
    EXPECT_FALSE(single->score({.ids = ids, .generated_from = wrong}));
  }
}

TEST_P(ServingCpu, BannedUntilMinTokens) {
  const auto engine = start({.max_sequences = 4});
  ServeRequest request = numbered_request(0, engine->config().vocab_size);
  auto sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request, sink));
  ASSERT_TRUE(sink->wait());
  request.stop_ids = {sink->ids()[0]};
  request.min_tokens = 5;
  sink = std::make_shared<CollectingSink>();
  ASSERT_TRUE(engine->submit(request, sink));
  ASSERT_TRUE(sink->wait());
  EXPECT_GE(sink->ids().size(), 5u);
  EXPECT_THAT(sink->ids(), testing::Not(testing::Contains(request.stop_ids[0])));
}

INSTANTIATE_TEST_SUITE_P(Models, ServingCpu,
                         testing::Values(Param{"tiny_llama", ComputeType::kF32},
                                         Param{"tiny_llama_q4_1.gguf", ComputeType::kBF16},
                                         Param{"tiny_llama_q8_0.gguf", ComputeType::kBF16},
                                         Param{"tiny_llama_bf16.gguf", ComputeType::kBF16},
                                         Param{"wide_llama_q6_k.gguf", ComputeType::kBF16}),
                         [](const auto& info) {
                           std::string name =
                               std::string(info.param.model) +
                               (info.param.dtype == ComputeType::kF32 ? "_f32" : "_default");
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace nereid
