// nereid serve on a fake engine: where settings come from, what is refused, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "apps/nereid/command.h"
#include "apps/nereid/serve_options.h"
#include "src/server/testing/fake_serving_engine.h"
#include "src/server/testing/test_client.h"

namespace nereid::commands {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Serve : public testing::Test {
 protected:
  void SetUp() override {
    setenv("NEREID_LOG", "error", 1);
    environment_.start_serving =
        [this](const LoadOptions& load,
               const ServingOptions& serving) -> Result<std::unique_ptr<ServingEngine>> {
      loaded = load;
      asked = serving;
      if (load.model_path != "served.gguf") return error("stop here");
      return std::make_unique<server::FakeServingEngine>();
    };
  }
  void TearDown() override {
    for (const std::string& name : set_) unsetenv(name.c_str());
    for (const std::string& path : files_) std::filesystem::remove(path);
  }

  void set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }
  std::string file(const std::string& content) {
    const std::string path =
        testing::TempDir() + fmt::format("nereid-serve-{}-{}", getpid(), files_.size());
    std::ofstream(path) << content;
    files_.push_back(path);
    return path;
  }
  // Exit code; what was said on standard error is in `err`.
  int run(const std::vector<std::string>& args) {
    std::vector<const char*> argv = {"nereid", "serve"};
    for (const std::string& arg : args) argv.push_back(arg.c_str());
    testing::internal::CaptureStderr();
    const int code = run_app(static_cast<int>(argv.size()), argv.data(), environment_);
    err = testing::internal::GetCapturedStderr();
    return code;
  }

  Environment environment_;
  LoadOptions loaded;
  ServingOptions asked;
  std::string err;

 private:
  std::vector<std::string> set_, files_;
};

TEST_F(Serve, TakesSettingsFromThreePlaces) {
  set("NEREID_MAX_WAITING", "11");
  set("NEREID_THREADS", "3");
  const std::string config = file(
      "# comment\nmax-waiting = 22\nmax-sequences = 5\nthreads = 4\nno-prefix-cache = true\n"
      "dtype = \"f32\"\napi-key = [\"a\", \"b\"]\n");
  EXPECT_EQ(run({"x.gguf", "--config", config, "--threads", "2"}), 1);
  EXPECT_THAT(err, HasSubstr("stop here"));
  EXPECT_EQ(loaded.model_path, "x.gguf");
  EXPECT_EQ(loaded.threads, 2);       // command line
  EXPECT_EQ(asked.max_waiting, 11);   // environment
  EXPECT_EQ(asked.max_sequences, 5);  // file
  EXPECT_FALSE(asked.prefix_cache);
  EXPECT_EQ(loaded.dtype, ComputeType::kF32);
  set("NEREID_CONFIG", config);
  EXPECT_EQ(run({"-m", "y.gguf"}), 1);
  EXPECT_EQ(loaded.model_path, "y.gguf");
  EXPECT_EQ(loaded.threads, 3);
}

TEST_F(Serve, OlderNamesOfFlagsAreTaken) {
  set("NEREID_MAX_CONTEXT", "300");
  EXPECT_EQ(run({"x.gguf", "--config", file("gpu-memory-utilization = 0.5\n")}), 1);
  EXPECT_EQ(loaded.max_context, 300);
  EXPECT_EQ(loaded.memory.memory_utilization, 0.5);
  set("NEREID_MAX_MODEL_LEN", "400");
  set("NEREID_KV_CACHE_MEMORY", "2GiB");
  EXPECT_EQ(run({"x.gguf"}), 1);
  EXPECT_EQ(loaded.max_context, 400);
  EXPECT_EQ(loaded.memory.kv_cache_memory, uint64_t{2} << 30);
  EXPECT_EQ(run({"x.gguf", "--max-context", "200"}), 1);
  EXPECT_EQ(loaded.max_context, 200);
}

TEST_F(Serve, NamesWhatIsWrong) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"x.gguf", "--port", "70000"},
       "--port: found '70000', expected a whole number from 0 to 65535"},
      {{"x.gguf", "--read-timeout", "0"},
       "--read-timeout: found '0', expected a number from 0.01 to 604800"},
      {{"x.gguf", "--max-sequences", "0"},
       "--max-sequences: found '0', expected a whole number from 1 to 1024"},
      {{"x.gguf", "--max-body-bytes", "8MB"}, "--max-body-bytes: found '8MB', expected a whole"},
      {{"x.gguf", "--kv-cache-memory", "lots"},
       "--kv-cache-memory: found 'lots', expected bytes such as 8589934592 or 8GiB"},
      {{"x.gguf", "--kv-cache-memory", "1GiB", "--cache-tokens", "5"}, "--kv-cache-memory"},
      {{"x.gguf", "-m", "y.gguf"}, "MODEL"},
      {{"x.gguf", "--config", "/no/such/file"}, "/no/such/file: cannot be read"},
      {{"x.gguf", "--config", file("prot = 8000\n")}, "'prot' is not a setting"},
      {{"x.gguf", "--config", file("[serve]\nport = 8000\n")}, "is not a setting"},
      {{"x.gguf", "--config", file("port = many\n")}, "port: "},
      {{"x.gguf", "--config", file("config = other\n")}, "'config' is not a setting"},
      {{"x.gguf", "--config", file("max-waiting\n")}, "max-waiting"},
  };
  for (const auto& [args, message] : cases) {
    EXPECT_EQ(run(args), 2) << message;
    EXPECT_THAT(err, HasSubstr(message));
  }
  const std::pair<std::vector<std::string>, const char*> contradictions[] = {
      {{"x.gguf", "--api-key-file", "/no/such/keys"}, "/no/such/keys"},
      {{"x.gguf", "--trace", "/no/such/folder/t.json"}, "--trace: /no/such/folder/t.json"},
      {{"x.gguf", "--api-key-file", file("# none\n\n")}, "no key in it"},
      {{"x.gguf", "--api-key", " "}, "empty key"},
      {{"x.gguf", "--cors-origin", "chat.example"}, "--cors-origin"},
      {{"x.gguf", "--allowed-host", "https://chat.example"}, "--allowed-host"},
      {{"x.gguf", "--allowed-host", "chat.example:80"}, "expected a name without port"},
      {{"x.gguf", "--max-pending-body-bytes", "2000"}, "--max-pending-body-bytes"},
      {{"served.gguf", "--tls-cert", "cert.pem"}, "--tls-key"},
      {{"served.gguf", "--host", "no.such.host.invalid"}, "no.such.host.invalid"},
  };
  for (const auto& [args, message] : contradictions) {
    EXPECT_EQ(run(args), 1) << message;
    EXPECT_THAT(err, HasSubstr(message));
  }
}

TEST_F(Serve, NamesTheModel) {
  ServeOptions options;
  EXPECT_EQ(served_name(options, "models/a.b.gguf"), "a.b");
  EXPECT_EQ(served_name(options, "models/folder-1.5"), "folder-1.5");
  EXPECT_EQ(served_name(options, "models/folder/"), "folder");
  options.served_model_name = "given";
  EXPECT_EQ(served_name(options, "models/a.gguf"), "given");
}

TEST_F(Serve, RunsUntilASignal) {
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  environment_.out = Output(pipe_ends[1]);
  const std::string keys = file("# of tests\nsecret\r\n");
  int code = -1;
  std::thread thread([&] { code = run({"served.gguf", "--port", "0", "--api-key-file", keys}); });
  std::array<char, 256> line{};
  const ssize_t size = read(pipe_ends[0], line.data(), line.size());
  const std::string said(line.data(), static_cast<size_t>(std::max<ssize_t>(size, 0)));
  EXPECT_THAT(said, testing::MatchesRegex("listening on http://127.0.0.1:[0-9]+\n"));
  if (said.starts_with("listening")) {
    server::TestClient client(static_cast<uint16_t>(std::stoi(said.substr(said.rfind(':') + 1))));
    EXPECT_EQ(client.get("/v1/models")->status, 401);
    const auto models = client.get("/v1/models", "Authorization: Bearer secret\r\n");
    EXPECT_THAT(models->body, HasSubstr("\"id\":\"served\""));
    kill(getpid(), SIGTERM);
  }
  thread.join();
  EXPECT_EQ(code, 0);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

}  // namespace
}  // namespace nereid::commands
