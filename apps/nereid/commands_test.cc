// The commands on a fake engine: flags, prompts, output formats, errors and exit codes.
#include "apps/nereid/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/nereid/fake_engine.h"

namespace nereid::commands {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Outcome {
  int exit_code = 0;
  std::string out, err;
};

std::string read_back(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, text.data(), text.size(), 0), std::ssize(text));
  return text;
}

class Commands : public testing::Test {
 protected:
  void SetUp() override {
    setenv("NEREID_MODEL", "from-environment.gguf", 1);
    environment_.load_engine = [this](const LoadOptions& load) -> Result<std::unique_ptr<Engine>> {
      loaded = load;
      if (load.model_path == "missing.gguf") return error("missing.gguf: no such file");
      auto made = std::make_unique<FakeEngine>(fake);
      engine = made.get();
      return made;
    };
    environment_.compile_pack = [this](const CompileOptions& options) -> Result<std::string> {
      compiled = options;
      return "/cache/some.pack";
    };
  }

  Outcome run(std::vector<const char*> args, const std::string& input = "") {
    args.insert(args.begin(), "nereid");
    std::FILE* out = std::tmpfile();
    std::FILE* in = std::tmpfile();
    EXPECT_EQ(pwrite(fileno(in), input.data(), input.size(), 0), std::ssize(input));
    environment_.out = Output(fileno(out));
    environment_.input_fd = fileno(in);
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    Outcome outcome;
    outcome.exit_code = run_app(static_cast<int>(args.size()), args.data(), environment_);
    outcome.out = testing::internal::GetCapturedStdout() + read_back(fileno(out));
    outcome.err = testing::internal::GetCapturedStderr();
    std::fclose(out);
    std::fclose(in);
    return outcome;
  }

  std::string write_file(const std::string& name, const std::string& text) {
    const std::string path = testing::TempDir() + name;
    std::ofstream(path) << text;
    return path;
  }

  FakeEngineOptions fake;
  FakeEngine* engine = nullptr;
  LoadOptions loaded;
  CompileOptions compiled;
  Environment environment_;
};

std::vector<int32_t> bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

TEST_F(Commands, HelpNamesEveryCommand) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* name : {"run", "chat", "eval", "bench", "inspect", "devices", "compile"}) {
    EXPECT_THAT(outcome.out, HasSubstr(name));
    EXPECT_EQ(run({name, "--help"}).exit_code, 0) << name;
  }
}

TEST_F(Commands, WrongUsageIsExitCodeTwoAndOneLine) {
  for (const std::vector<const char*>& args :
       std::vector<std::vector<const char*>>{{},
                                             {"fly"},
                                             {"run"},
                                             {"run", "x", "--no-such-flag"},
                                             {"run", "x", "--dtype", "f8"},
                                             {"run", "x", "--threads", "-1"},
                                             {"run", "x", "--max-tokens", "0"},
                                             {"eval"},
                                             {"bench", "--prefill", "0", "--decode", "0"},
                                             {"run", "x", "--messages", "y"},
                                             {"bench", "--batch", "1,x"},
                                             {"eval", "--input", "a", "--perplexity", "b"},
                                             {"eval", "--input", "a", "--window", "8"},
                                             {"eval", "--input", "a", "--stride", "8"},
                                             {"eval", "--perplexity", "a", "--top-logprobs", "1"},
                                             {"compile", "m", "--max-context", "8"},
                                             {"compile", "m", "--max-batch", "8"},
                                             {"compile", "m", "--threads", "1"},
                                             {"compile", "m", "--device", "cpu"},
                                             {"compile", "m", "--trace", "t"},
                                             {"compile", "m", "--pack", "p"},
                                             {"run", "x", "--seed", "-1"},
                                             {"run", "x", "--temperature", "nan"},
                                             {"run", "x", "--top-k", "-5"},
                                             {"run", "x", "--logit-bias", "5=1"},
                                             {"run", "x", "--max-context", "99999999999"},
                                             {"bench", "--batch", "0"}}) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, testing::StartsWith("nereid: error: "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

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

TEST_F(Commands, ATraceThatCannotBeWrittenIsAnError) {
  fake.finish = error("--trace: t.json: no space");
  for (const std::vector<const char*>& args : std::vector<std::vector<const char*>>{
           {"run", "hi"}, {"chat"}, {"eval", "--input", "-"}, {"bench"}}) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, 1) << args.front();
    EXPECT_EQ(outcome.err, "nereid: error: --trace: t.json: no space\n") << args.front();
  }
  EXPECT_EQ(run({"eval", "--input", "-"}, "{").err.find("--trace"), std::string::npos);
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

TEST_F(Commands, HelpThatCannotBeWrittenIsAnError) {
  const int read_only = open("/dev/null", O_RDONLY);
  for (const char* flag : {"--help", "--version"}) {
    environment_.out = Output(read_only);
    const char* const args[] = {"nereid", flag};
    testing::internal::CaptureStderr();
    EXPECT_EQ(run_app(2, args, environment_), 1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "nereid: error: cannot write the output: Bad file descriptor\n");
  }
  close(read_only);
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

TEST_F(Commands, ErrorsAreOneLineAndExitCodeOne) {
  const Outcome outcome = run({"run", "x", "-m", "missing.gguf"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.err, "nereid: error: missing.gguf: no such file\n");
  EXPECT_EQ(run({"run", "x", "--trace", "/no/such/folder/t.json"}).err,
            "nereid: error: --trace: /no/such/folder/t.json: cannot create: No such file or "
            "directory\n");
  EXPECT_EQ(run({"run", "x", "--trace", "/"}).err,
            "nereid: error: --trace: /: is a directory, expected a file\n");
  fake.max_context = 4;
  EXPECT_THAT(run({"run", "too long"}).err, HasSubstr("at most 3 fit"));
}

TEST_F(Commands, TextThatIsNotUtf8IsAnErrorWithItsByte) {
  const char* broken = "caf\xe9";
  const auto message = [&](std::vector<const char*> args, const std::string& input = "") {
    const Outcome outcome = run(std::move(args), input);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.out, IsEmpty());
    return outcome.err;
  };
  EXPECT_EQ(message({"run", broken}), "nereid: error: prompt: invalid UTF-8 at byte 3\n");
  EXPECT_EQ(message({"run", "-"}, "\u00e9\xed\xa0\x80"),
            "nereid: error: prompt: invalid UTF-8 at byte 2\n");
  EXPECT_EQ(message({"run", "x", "--system", broken}),
            "nereid: error: system message: invalid UTF-8 at byte 3\n");
  EXPECT_EQ(message({"chat", "--system", broken}),
            "nereid: error: system message: invalid UTF-8 at byte 3\n");
  EXPECT_EQ(message({"chat"}, "ab\xff\n"), "nereid: error: message: invalid UTF-8 at byte 2\n");
  const Outcome skipped = run({"chat"}, "one\nab\xff\ntwo\n");
  EXPECT_EQ(skipped.out, "one\noneonetwo\n");  // the echo of the conversation without it
  EXPECT_EQ(skipped.err, "nereid: error: message: invalid UTF-8 at byte 2\n");
  EXPECT_EQ(skipped.exit_code, 1);
  EXPECT_EQ(run({"chat"}, "/system a\xff\nhi\n").out,
            "system message: invalid UTF-8 at byte 1\nhi\n");
  EXPECT_EQ(run({"run", "\U0001F600 \u00e9"}).out, "\U0001F600 \u00e9\n");
}

TEST_F(Commands, AnExceptionIsOneLineAndExitCodeOne) {
  environment_.load_engine = [](const LoadOptions&) -> Result<std::unique_ptr<Engine>> {
    throw std::runtime_error("two\nlines");
  };
  const Outcome outcome = run({"run", "x"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.err, "nereid: error: two\\x0alines\n");
}

TEST_F(Commands, BenchRefusesMoreTokensThanItCanCount) {
  const Outcome outcome = run({"bench", "--context", "2147483647", "--decode", "1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("found 2147483648 tokens, expected at most 2147483647"));
}

TEST_F(Commands, PackIsPassedOn) {
  run({"run", "x", "--pack", "my.pack"});
  EXPECT_EQ(loaded.pack_path, "my.pack");
}

TEST_F(Commands, ABrokenPipeIsAQuietEndAndAFullDiskIsNot) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  environment_.out = Output(ends[1]);
  const char* const args[] = {"nereid", "run", "hello"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_app(3, args, environment_), 0);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), IsEmpty());
  close(ends[1]);
  const int full = open("/dev/full", O_WRONLY);
  environment_.out = Output(full);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_app(3, args, environment_), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("No space left"));
  close(full);
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

TEST_F(Commands, BenchPrintsATableOrJson) {
  const Outcome table = run({"bench", "--prefill", "64", "--decode", "8", "--batch", "1,4"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, HasSubstr("     4          256.0           32.0"));
  const json object = json::parse(run({"bench", "--prefill", "64", "--decode", "8", "--context",
                                       "100", "--batch", "1,4", "--json"})
                                      .out);
  EXPECT_EQ(object["dtype"], "bf16");  // what the engine computes with, not "auto"
  EXPECT_EQ(object["results"][1]["batch"], 4);
  EXPECT_EQ(object["results"][1]["prefill_tokens_per_second"], 256.0);
  EXPECT_EQ(loaded.max_batch, 4);
  EXPECT_EQ(loaded.max_context, 108);
}

TEST_F(Commands, CompilePassesItsFlagsOn) {
  const Outcome outcome =
      run({"compile", "m.gguf", "--target", "cpu:x86-64-v3", "-o", "x.pack", "--dtype", "f32"});
  EXPECT_EQ(outcome.out, "/cache/some.pack\n");
  EXPECT_EQ(compiled.load.model_path, "m.gguf");
  EXPECT_EQ(compiled.load.dtype, ComputeType::kF32);
  EXPECT_EQ(compiled.target, "cpu:x86-64-v3");
  EXPECT_EQ(compiled.out_path, "x.pack");
}

TEST_F(Commands, InspectReportsWhatItCannotRead) {
  EXPECT_EQ(run({"inspect", "/nonexistent/model.gguf"}).exit_code, 1);
  const std::string path = write_file("broken.pack", "NEREIDPKxxxx");
  const Outcome outcome = run({"inspect", path.c_str()});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("broken.pack"));
}

TEST_F(Commands, DevicesListsTheDrivers) {
  const json list = json::parse(run({"devices", "--json"}).out);
  std::vector<std::string> names;
  for (const json& device : list) names.push_back(device["device"]);
  EXPECT_THAT(names, testing::IsSupersetOf({"cpu", "null"}));
}

}  // namespace
}  // namespace nereid::commands
