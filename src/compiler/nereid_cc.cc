// nereid-cc: compiles Triton IR to native code. Flags in, one line per error out.
#include <pthread.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "src/compiler/compile.h"
#include "src/compiler/target.h"

namespace {

using nereid::EmitKind;

// A bug in the compiler ends in a message and exit code 70, not in a bare signal.
void on_fatal_signal(int signal_number) {
  constexpr char kMessage[] =
      "nereid-cc: internal error: the compiler crashed on this input; please report it\n";
  [[maybe_unused]] ssize_t written = ::write(2, kMessage, sizeof(kMessage) - 1);
  ::_exit(70);
}

void install_signal_handlers() {
  if (std::getenv("NEREID_CC_CORE")) return;  // let a debugger see the signal
  static char stack[64 << 10];
  stack_t alternate = {.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof(stack)};
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = SA_ONSTACK;
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    ::sigaction(number, &action, nullptr);
}

std::string stage_list() {
  std::string text;
  for (const auto& stage : nereid::compile_stages())
    text += fmt::format("  {:<10} {}\n", stage.name, stage.meaning);
  return text;
}

struct Job {
  const nereid::CompileOptions* options;
  nereid::Status status;
};

// The work runs on a thread with a large stack: MLIR and LLVM recurse over nested input.
void* run_job(void* pointer) {
  install_signal_handlers();
  auto* job = static_cast<Job*>(pointer);
  job->status = nereid::compile(*job->options);
  return nullptr;
}

nereid::Status compile_on_large_stack(const nereid::CompileOptions& options) {
  Job job{&options, {}};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, size_t{512} << 20);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, run_job, &job) != 0)
    return nereid::error("cannot start a thread");
  pthread_join(thread, nullptr);
  return job.status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "nereid-cc compiles Triton IR (TTIR text, as Triton 3.9 prints it) to native code.\n"
      "Every public tt.func becomes an exported function `name` and a record `name_info`;\n"
      "the entry ABI is in docs/cpu-compiler.md."};
  nereid::CompileOptions options;
  bool list_stages = false;
  bool print_cpu = false;
  app.add_option("inputs", options.inputs, "TTIR files; - reads standard input");
  app.add_option("-o,--output", options.output, "Output file; - writes text to standard output");
  std::string cpu_names;
  for (auto name : nereid::common_target_names())
    cpu_names += (cpu_names.empty() ? "" : ", ") + std::string(name);
  app.add_option("--cpu", options.cpu,
                 "CPU to compile for: " + cpu_names + ", or another CPU name of LLVM")
      ->capture_default_str();
  const std::map<std::string, EmitKind> kinds = {{"ttir", EmitKind::kTtir},
                                                 {"llvm", EmitKind::kLlvm},
                                                 {"asm", EmitKind::kAssembly},
                                                 {"obj", EmitKind::kObject},
                                                 {"so", EmitKind::kSharedObject}};
  std::string kind_name = "so";
  app.add_option("--emit", kind_name, "What to write: ttir, llvm, asm, obj or so")
      ->check(CLI::IsMember({"ttir", "llvm", "asm", "obj", "so"}))
      ->capture_default_str();
  std::vector<std::string> stage_names;
  for (const auto& stage : nereid::compile_stages()) stage_names.emplace_back(stage.name);
  app.add_option("--dump-after", options.dump_after, "Print the code after this stage to stderr")
      ->check(CLI::IsMember(stage_names));
  app.add_flag("--list-stages", list_stages, "List the stages and exit");
  app.add_flag("--print-cpu", print_cpu,
               "Print the name of the CPU of --cpu, or say that it is not known, and exit");
  app.footer("Stages:\n" + stage_list() +
             "\nExample:\n  nereid-cc add.ttir -o add.so --cpu znver4");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is an error, not the end

  if (list_stages) {
    std::fputs(stage_list().c_str(), stdout);
    return 0;
  }
  if (print_cpu) {
    auto target = nereid::make_target(options.cpu);
    if (target) return std::puts(target->cpu.c_str()) < 0 ? 1 : 0;
    std::fprintf(stderr, "nereid-cc: error: %s\n", target.error().message.c_str());
    return 1;
  }
  options.emit = kinds.at(kind_name);
  bool is_text = options.emit != EmitKind::kObject && options.emit != EmitKind::kSharedObject;
  if (options.output.empty() && is_text) options.output = "-";
  nereid::Status status;
  if (options.inputs.empty())
    status = nereid::error("found no input, expected TTIR files (see --help)");
  else if (options.output.empty() || (options.output == "-" && !is_text))
    status = nereid::error("found no output file, expected -o FILE");
  else
    status = compile_on_large_stack(options);
  if (status) return 0;
  std::fprintf(stderr, "nereid-cc: error: %s\n", status.error().message.c_str());
  return 1;
}
