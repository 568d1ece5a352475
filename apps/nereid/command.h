// What a command is: a function that adds its flags to the command line and, when it was chosen,
// leaves an action to run. One file per command; the table is in app.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "apps/nereid/output.h"
#include "src/base/result.h"
#include "src/engine/engine.h"
#include "src/engine/serving.h"

namespace CLI {
class App;
}

namespace nereid::commands {

constexpr int kExitFailure = 1;
constexpr int kExitWrongUsage = 2;
constexpr int kExitInterrupted = 130;  // as a shell reports a process that Ctrl-C ended

// The outside world of a command; tests put a fake engine and their own descriptors here.
struct Environment {
  std::function<Result<std::unique_ptr<Engine>>(const LoadOptions&)> load_engine;
  std::function<Result<std::string>(const CompileOptions&)> compile_pack;
  std::function<Result<std::unique_ptr<ServingEngine>>(const LoadOptions&, const ServingOptions&)>
      start_serving;
  Output out{1};
  int input_fd = 0;
  std::function<Result<int>()> action;  // set by the chosen command; returns the exit code
};

void add_run(CLI::App& app, Environment& environment);
void add_chat(CLI::App& app, Environment& environment);
void add_eval(CLI::App& app, Environment& environment);
void add_bench(CLI::App& app, Environment& environment);
void add_bench_serve(CLI::App& app, Environment& environment);
void add_inspect(CLI::App& app, Environment& environment);
void add_devices(CLI::App& app, Environment& environment);
void add_compile(CLI::App& app, Environment& environment);
void add_serve(CLI::App& app, Environment& environment);

// Parses, runs the chosen command, prints "nereid: error: ..." on failure. Returns the exit code.
int run_app(int argc, const char* const* argv, Environment& environment);

}  // namespace nereid::commands
