// nereid compile: makes the pack of kernels that a model needs, ahead of time and for any target.
#include <CLI/CLI.hpp>

#include "apps/nereid/command.h"
#include "apps/nereid/options.h"
#include "apps/nereid/progress.h"

namespace nereid::commands {
namespace {

struct CompileFlags {
  ModelOptions model;
  std::string model_argument, target, out;
};

constexpr const char* kCompileFooter = R"(
The other commands do this by themselves when a pack is missing and the kernel toolchain is there
(./dev setup). The pack goes into the cache ($NEREID_CACHE_DIR, else ~/.cache/nereid) unless --out is
given; --pack of the other commands takes such a file. The target needs not be this machine's. --dtype
must be that of later runs. Prints the path of the pack.

Examples:
  nereid compile model.gguf
  nereid compile model.gguf --target cpu:x86-64-v3 --out model.v3.pack
  nereid compile model.gguf --target cuda:90)";

Result<int> compile(const CompileFlags& flags, Environment& environment) {
  ModelOptions model = flags.model;
  if (!flags.model_argument.empty()) model.model = flags.model_argument;
  CompileOptions options;
  NEREID_TRY(options.load, load_options(model, {}));
  show_progress(options.load);
  options.target = flags.target;
  options.out_path = flags.out;
  NEREID_TRY(const std::string path, environment.compile_pack(options));
  environment.out.line(path);
  return 0;
}

}  // namespace

void add_compile(CLI::App& app, Environment& environment) {
  const auto flags = std::make_shared<CompileFlags>();
  CLI::App* command = app.add_subcommand("compile", "Make the pack of kernels a model needs");
  CLI::Option* argument =
      command->add_option("MODEL", flags->model_argument, "The model, the same as -m");
  command->add_option(
      "--target", flags->target,
      "cpu:native, cpu:znver4, cpu:x86-64-v4, cpu:x86-64-v3, ..., cuda:90, hip:gfx942, ... (a "
      "wrong one names all of its kind); default: what this machine's processor runs best");
  command->add_option("-o,--out", flags->out, "Where to write the pack; default: the cache");
  add_model_option(*command, flags->model);
  add_dtype_option(*command, flags->model);
  add_load_format_options(*command, flags->model);
  argument->excludes(command->get_option("--model"));
  command->footer(kCompileFooter);
  command->callback([flags, &environment] {
    environment.action = [flags, &environment] { return compile(*flags, environment); };
  });
}

}  // namespace nereid::commands
