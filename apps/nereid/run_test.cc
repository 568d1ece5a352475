// `run` and `chat` on a fake engine: prompts, templates, sampling, and how a reply is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "apps/nereid/commands_testing.h"

namespace nereid::commands {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(Commands, RunAppliesTheChatTemplate) {
  const Outcome outcome = run({"run", "hello", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json object = json::parse(outcome.out);
  std::vector<int32_t> expected{258, 'h', 'e', 'l', 'l', 'o', 257, 259};
  EXPECT_EQ(object["prompt_token_ids"].get<std::vector<int32_t>>(), expected);
  EXPECT_EQ(object["text"], "hello");
  EXPECT_EQ(object["token_ids"].get<std::vector<int32_t>>(), bytes("hello"));
  EXPECT_EQ(object["stop"], "eos");
  EXPECT_EQ(object["timings"]["prefill_tokens_per_second"], 16);  // 8 tokens in 0.5 s
  EXPECT_EQ(object["timings"]["decode_tokens_per_second"], 32);   // 4 tokens in 0.125 s
  EXPECT_EQ(loaded.model_path, "from-environment.gguf");
}

TEST_F(Commands, RunRawAndWithoutTemplate) {
  EXPECT_EQ(json::parse(run({"run", "hi", "--raw", "--json"}).out)["prompt_token_ids"],
            json(bytes("hi")));
  fake.with_chat_template = false;
  EXPECT_EQ(json::parse(run({"run", "hi", "--json"}).out)["prompt_token_ids"], json(bytes("hi")));
  EXPECT_THAT(run({"run", "hi", "--system", "s"}).err, HasSubstr("needs a chat template"));
}

TEST_F(Commands, ATemplateThatCannotBeReadStopsOnlyWhoNeedsIt) {
  fake.broken_chat_template = true;
  for (const std::vector<const char*>& args :
       std::vector<std::vector<const char*>>{{"run", "hi"}, {"chat"}}) {
    const Outcome outcome = run(args, "hi\n");
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.err, "nereid: error: fake template: broken\n");
  }
  EXPECT_EQ(run({"run", "hi", "--raw"}).out, "hi\n");
  EXPECT_EQ(run({"eval", "--input", "-"}, "{\"prompt\":\"ab\"}").exit_code, 0);
  EXPECT_EQ(run({"bench"}).exit_code, 0);
}

TEST_F(Commands, ATokenizerThatCannotBeReadStopsOnlyWhoNeedsIt) {
  fake.broken_tokenizer = true;
  for (const std::vector<const char*>& args :
       std::vector<std::vector<const char*>>{{"run", "hi"}, {"run", "hi", "--raw"}, {"chat"}}) {
    const Outcome outcome = run(args, "hi\n");
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.err, "nereid: error: fake tokenizer: broken\n");
  }
  EXPECT_EQ(run({"eval", "--input", "-"}, "{\"prompt\":\"ab\"}").err,
            "nereid: error: -:1: fake tokenizer: broken\n");
  EXPECT_EQ(run({"eval", "--input", "-"}, "{\"token_ids\":[1,2]}").exit_code, 0);
  EXPECT_EQ(run({"bench"}).exit_code, 0);
}

TEST_F(Commands, RunStreamsTextAndEndsTheLine) {
  EXPECT_EQ(run({"run", "héllo"}).out, "héllo\n");
  EXPECT_EQ(run({"run", "hello\n"}).out, "hello\n");
  EXPECT_EQ(run({"run", "-"}, "from a pipe").out, "from a pipe\n");
  EXPECT_EQ(run({"run", "hello", "-n", "3"}).out, "hel\n");
  EXPECT_THAT(run({"run", "hello", "--timings"}).err, HasSubstr("8 prompt tokens in 0.50 s"));
}

TEST_F(Commands, RunCutUtf8IsReplacedInJson) {
  const json object = json::parse(run({"run", "h\u00e9", "-n", "2", "--json"}).out);
  EXPECT_EQ(object["text"], "h\uFFFD");
  EXPECT_EQ(object["stop"], "length");
}

TEST_F(Commands, RunTakesAConversation) {
  const std::string path = write_file(
      "talk.json",
      R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}])");
  const Outcome outcome = run({"run", "--messages", path.c_str(), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out)["prompt_token_ids"].get<std::vector<int32_t>>(),
            (std::vector<int32_t>{258, 'a', 257, 259, 'b', 257, 258, 'c', 257, 259}));
  const std::string wrong = write_file("wrong.json", R"([{"content":"a"}])");
  const Outcome failed = run({"run", "--messages", wrong.c_str()});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_EQ(failed.err, "nereid: error: " + wrong + ": messages[0].role: found nothing, expected " +
                            "a string\n");
  EXPECT_EQ(run({"run", "--messages", "gone.json"}).exit_code, 1);
}

TEST_F(Commands, MessagesAreCheckedBeforeTheTemplate) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([{"role":"user","content":null}])", "messages[0].content: found null, expected a string"},
      {R"([{"role":"user"}])", "messages[0].content: found nothing, expected a string"},
      {R"([{"role":"user","content":[]}])",
       "messages[0].content: found an empty array, expected a string"},
      {R"([{"role":"user","content":"a"},{"role":"user","content":5}])",
       "messages[1].content: found 5, expected a string"},
      {R"([{"role":"user","content":[{"type":"image"}]}])",
       "messages[0].content[0].type: found 'image', expected 'text'"},
      {R"([{"role":"user","content":[{"type":"text"}]}])",
       "messages[0].content[0].text: found nothing, expected a string"},
      {R"([{"role":"assistant","content":null,"tool_calls":[]}])",
       "messages[0].content: found null, expected a string"},
      {R"([{"role":"assistant","tool_calls":5}])",
       "messages[0].tool_calls: found 5, expected an array"},
      {R"({"messages":[{"role":"user","content":"a"}],"tools":5})",
       "tools: found 5, expected an array"},
      {R"({"messages":[{"role":"user","content":"a"}],"add_generation_prompt":"yes"})",
       "add_generation_prompt: found 'yes', expected true or false"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string path = write_file("talk.json", text);
    EXPECT_EQ(run({"run", "--messages", path.c_str()}).err,
              fmt::format("nereid: error: {}: {}\n", path, expected));
  }
  const std::string called = write_file(
      "talk.json", R"([{"role":"user","content":[{"type":"text","text":"a"}]},)"
                   R"({"role":"assistant","content":null,"tool_calls":[{"name":"f"}]}])");
  EXPECT_THAT(run({"run", "--messages", called.c_str()}).err, testing::Not(HasSubstr("expected")));
}

TEST_F(Commands, SamplingIsGreedyUnlessModelOrFlagsSayOtherwise) {
  SamplingParams seen;
  environment_.load_engine = [&](const LoadOptions&) -> Result<std::unique_ptr<Engine>> {
    struct Spy : FakeEngine {
      Spy(const FakeEngineOptions& options, SamplingParams& seen)
          : FakeEngine(options), seen_(seen) {}
      Result<GenerateResult> generate(const GenerateParams& params) override {
        seen_ = params.sampling;
        return FakeEngine::generate(params);
      }
      SamplingParams& seen_;
    };
    return std::make_unique<Spy>(fake, seen);
  };
  run({"run", "x"});
  EXPECT_EQ(seen.temperature, 0.0f);
  EXPECT_EQ(seen.top_p, 1.0f);
  fake.defaults.temperature = 0.6f;
  fake.defaults.top_k = 20;
  run({"run", "x", "--seed", "9", "--logit-bias", "5:-1.5", "--logit-bias", "6:2"});
  EXPECT_EQ(seen.temperature, 0.6f);
  EXPECT_EQ(seen.top_k, 20);
  EXPECT_EQ(seen.seed, 9u);
  EXPECT_THAT(seen.logit_bias, ElementsAre(std::pair(5, -1.5f), std::pair(6, 2.0f)));
  run({"run", "x", "--temperature", "0", "--top-k", "0"});
  EXPECT_EQ(seen.temperature, 0.0f);
  EXPECT_EQ(seen.top_k, 0);
  EXPECT_THAT(run({"run", "x", "--logit-bias", "5=1"}).err, HasSubstr("expected ID:VALUE"));
}

TEST_F(Commands, AnInterruptStopsTheReply) {
  environment_.load_engine = [&](const LoadOptions&) -> Result<std::unique_ptr<Engine>> {
    struct Interrupted : FakeEngine {
      using FakeEngine::FakeEngine;
      Result<GenerateResult> generate(const GenerateParams& params) override {
        GenerateParams with_signal = params;
        with_signal.on_token = [&](int32_t id) {
          params.on_token(id);
          if (id == 'l') std::raise(SIGINT);
        };
        return FakeEngine::generate(with_signal);
      }
    };
    return std::make_unique<Interrupted>(fake);
  };
  const Outcome outcome = run({"run", "help me"});
  EXPECT_EQ(outcome.exit_code, kExitInterrupted);
  EXPECT_EQ(outcome.out, "hel\n");
}

TEST_F(Commands, ChatKeepsTheConversation) {
  // The fake engine says all of the conversation again.
  EXPECT_EQ(run({"chat"}, "one\ntwo\n").out, "one\noneonetwo\n");
  EXPECT_EQ(run({"chat"}, "one\n/reset\ntwo\\\nthree").out, "one\ntwo\nthree\n");
  EXPECT_EQ(run({"chat", "--system", "s:"}, "one\n/exit\ntwo").out, "<|system|>s:one\n");
  EXPECT_THAT(run({"chat"}, "/what\n").out, HasSubstr("unknown command '/what'"));
  fake.with_chat_template = false;
  EXPECT_EQ(run({"chat"}, "one\n").exit_code, 1);
}

}  // namespace
}  // namespace nereid::commands
