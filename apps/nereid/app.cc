// The command line as a whole: table of commands, help, wrong usage, how errors are printed.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <sstream>

#include "apps/nereid/command.h"
#include "src/base/json.h"

namespace nereid::commands {
namespace {

constexpr const char* kDescription =
    "Nereid runs language models with Triton kernels only, compiled ahead of time.";
constexpr const char* kFooter =
    "\n'nereid COMMAND --help' explains each command. Exit codes: 0 done, 1 failed, 2 wrong "
    "usage,\n"
    "130 stopped by Ctrl-C. Environment: NEREID_MODEL (default model), NEREID_CACHE_DIR (packs).";

using AddCommand = void (*)(CLI::App&, Environment&);
constexpr AddCommand kCommands[] = {add_run,     add_chat,    add_serve,
                                    add_eval,    add_bench,   add_bench_serve,
                                    add_inspect, add_devices, add_compile};

int print_error(const std::string& message, int exit_code) {
  fmt::print(stderr, "nereid: error: {}\n", message);
  return exit_code;
}

// `exit_code`, unless the output got lost.
int report_output(const Output& out, int exit_code) {
  const Status status = out.status();
  return status ? exit_code : print_error(status.error().message, kExitFailure);
}

int run_command(int argc, const char* const* argv, Environment& environment) {
  std::signal(SIGPIPE, SIG_IGN);  // output.h tells a closed pipe from other failures
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is an error, not the end
  CLI::App app(kDescription, "nereid");
  app.set_version_flag("--version", "nereid " NEREID_VERSION, "Print the version");
  app.require_subcommand(1);
  app.footer(kFooter);
  for (const AddCommand add : kCommands) add(app, environment);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    std::ostringstream text;
    app.exit(wanted, text);
    environment.out.write(text.view());
    return report_output(environment.out, 0);
  } catch (const CLI::ParseError& wrong) {
    return print_error(fmt::format("{} (see --help)", wrong.what()), kExitWrongUsage);
  }
  const Result<int> exit_code = environment.action();
  if (!exit_code) return print_error(exit_code.error().message, kExitFailure);
  return report_output(environment.out, *exit_code);
}

}  // namespace

int run_app(int argc, const char* const* argv, Environment& environment) {
  try {
    return run_command(argc, argv, environment);
  } catch (const std::exception& unexpected) {  // of a library, or no memory
    return print_error(printable(unexpected.what(), 512), kExitFailure);
  }
}

}  // namespace nereid::commands
