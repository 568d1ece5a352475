// The commands on a fake engine: flags, output formats, errors and exit codes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "apps/nereid/commands_testing.h"

namespace nereid::commands {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Commands, HelpNamesEveryCommand) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* name : {"run", "chat", "eval", "bench", "inspect", "devices", "compile"}) {
    EXPECT_THAT(outcome.out, HasSubstr(name));
    EXPECT_EQ(run({name, "--help"}).exit_code, 0) << name;
  }
}

TEST_F(Commands, WrongUsageIsExitCodeTwoAndOneLine) {
  for (const std::vector<const char*>& args : std::vector<std::vector<const char*>>{
           {},
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
           {"compile", "m", "--max-model-len", "8"},
           {"compile", "m", "--max-batch", "8"},
           {"compile", "m", "--threads", "1"},
           {"compile", "m", "--device", "cpu"},
           {"compile", "m", "--trace", "t"},
           {"compile", "m", "--pack", "p"},
           {"run", "x", "--seed", "-1"},
           {"run", "x", "--temperature", "nan"},
           {"run", "x", "--top-k", "-5"},
           {"run", "x", "--logit-bias", "5=1"},
           {"run", "x", "--max-model-len", "99999999999"},
           {"run", "x", "--kv-cache-memory", "-1"},
           {"run", "x", "--memory-utilization", "2"},
           {"run", "x", "--memory-utilization", "0.5", "--kv-cache-memory", "1GiB"},
           {"bench", "--batch", "0"}}) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, testing::StartsWith("nereid: error: "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty());
  }
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

TEST_F(Commands, BenchPrintsATableOrJson) {
  const Outcome table = run({"bench", "--prefill", "64", "--decode", "8", "--batch", "1,4"});
  EXPECT_EQ(table.exit_code, 0);
  // The fake step moves 40 MB and computes 4 GFLOP: at 256 tokens per second and 64 tokens, 4 of
  // them in a second; at 32 tokens per second and 4 sequences, 8 steps in a second.
  EXPECT_THAT(table.out, HasSubstr("     4          256.0           16.0           1.6%"));
  EXPECT_THAT(table.out, HasSubstr("           32.0            0.3           3.2%"));
  EXPECT_THAT(table.out, HasSubstr("memory 10.0 GB/s read"));
  EXPECT_THAT(table.out,
              HasSubstr("memory: weights 100 B, activations 50 B, KV cache 256 B for 256 tokens"));
  const json object = json::parse(run({"bench", "--prefill", "64", "--decode", "8", "--context",
                                       "100", "--batch", "1,4", "--json"})
                                      .out);
  EXPECT_EQ(object["dtype"], "bf16");  // what the engine computes with, not "auto"
  EXPECT_EQ(object["results"][1]["batch"], 4);
  EXPECT_EQ(object["results"][1]["prefill_tokens_per_second"], 256.0);
  EXPECT_DOUBLE_EQ(object["results"][1]["prefill_limit_share"], 0.016);
  EXPECT_DOUBLE_EQ(object["results"][1]["decode_limit_share"], 0.032);
  EXPECT_EQ(object["limits"]["read_bytes_per_second"], 10e9);
  EXPECT_EQ(loaded.max_batch, 4);
  EXPECT_EQ(loaded.max_context, 108);
  EXPECT_EQ(object["memory"]["kv_cache_tokens"], 256);
}

TEST_F(Commands, MemoryFlagsReachTheEngine) {
  EXPECT_EQ(run({"bench", "--max-model-len", "700", "--kv-cache-memory", "1.5GiB"}).exit_code, 0);
  EXPECT_EQ(loaded.max_context, 700);
  EXPECT_EQ(loaded.memory.kv_cache_memory, uint64_t{3} << 29);
  EXPECT_EQ(run({"bench", "--max-context", "800", "--gpu-memory-utilization", "0.5"}).exit_code, 0);
  EXPECT_EQ(loaded.max_context, 800);  // the older name
  EXPECT_EQ(loaded.memory.memory_utilization, 0.5);
}

TEST_F(Commands, BenchWithoutLimitsHasNoShares) {
  fake.limits = error("no toolchain");
  for (const std::vector<const char*>& flags :
       std::vector<std::vector<const char*>>{{}, {"--no-limits"}}) {
    std::vector<const char*> args = {"bench", "--prefill", "64", "--json"};
    args.insert(args.end(), flags.begin(), flags.end());
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.err.find("no toolchain") == std::string::npos, !flags.empty());
    const json object = json::parse(outcome.out);
    EXPECT_TRUE(object["limits"].is_null());
    EXPECT_EQ(object["results"][0]["prefill_limit_share"], 0);
  }
}

TEST_F(Commands, BenchPrintsATableOfOperators) {
  const Outcome table = run({"bench", "--operators", "--batch", "2", "--context", "7"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, HasSubstr("prefill of 512"));
  EXPECT_THAT(table.out, HasSubstr("decode of 2 at 7"));
  // 40 MB in 8 ms are 5 of 10 GB/s, 4 GFLOP 500 of 1000 GFLOP/s: both half of the limits.
  EXPECT_THAT(table.out, HasSubstr("5.0    500.0  50.0%"));
  EXPECT_THAT(table.out, HasSubstr("sample"));
  const json object = json::parse(run({"bench", "--operators", "--prefill", "0", "--json"}).out);
  ASSERT_EQ(object["steps"].size(), 1);
  const json& step = object["steps"][0];
  EXPECT_EQ(step["operators"][0]["operator"], "qkv");
  EXPECT_DOUBLE_EQ(step["operators"][0]["limit_share"], 0.5);
  EXPECT_EQ(step["operators"][1]["limit"], "-");
  EXPECT_EQ(step["step_seconds"], 0.0115);
  EXPECT_TRUE(loaded.profile);
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
