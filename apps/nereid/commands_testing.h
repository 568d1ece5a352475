// What the tests of the commands share: a run of the program on a fake engine, with its output.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "apps/nereid/command.h"
#include "apps/nereid/fake_engine.h"

namespace nereid::commands {

struct Outcome {
  int exit_code = 0;
  std::string out, err;
};

inline std::string read_back(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, text.data(), text.size(), 0), std::ssize(text));
  return text;
}

// Runs commands on a FakeEngine and takes in what they write.
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

// The tokens that FakeEngine makes of a text.
inline std::vector<int32_t> bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

}  // namespace nereid::commands
