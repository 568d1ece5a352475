// Runs exported kernel cases through the launcher on a driver, as the engine launches them.
//
//   kernel_cases --driver cpu --pack FILE --cases DIR
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/identity.h"
#include "kernels/kernels.h"
#include "src/base/check.h"
#include "src/device/drivers.h"
#include "src/device/launcher.h"
#include "src/pack/pack.h"
#include "tests/conformance/case_file.h"
#include "tests/conformance/compare.h"

namespace nereid::testing {
namespace {

constexpr size_t kGuardBytes = 256;  // before and after each array
constexpr std::byte kGuard{0xA5};

struct Options {
  std::string driver = "cpu", pack, cases, only;
  int threads = 0;
  bool verbose = false;
};

// Memory of one pointer argument, between guards.
struct Placed {
  DevicePtr block = 0;
  std::vector<std::byte> content;  // guards and array

  DevicePtr pointer() const { return block + kGuardBytes; }
};

class CaseRunner {
 public:
  CaseRunner(Device& device, Launcher& launcher, bool has_results)
      : device_(device), launcher_(launcher), has_results_(has_results) {}

  // "" if the case passes, else what is wrong.
  std::string run(const KernelDecl& decl, const KernelCase& from);

 private:
  Status place(const KernelCase& from);
  Status launch(const KernelDecl& decl, const KernelCase& from);
  std::string check(const CaseArg& arg, const Placed& placed);

  Device& device_;
  Launcher& launcher_;
  bool has_results_;
  std::map<std::string, Placed> memory_;
};

Status CaseRunner::place(const KernelCase& from) {
  for (const CaseArg& arg : from.args) {
    if (!arg.is_pointer || arg.is_null || !arg.alias.empty()) continue;
    Placed placed;
    placed.content.assign(arg.input.size() + 2 * kGuardBytes, kGuard);
    std::ranges::copy(arg.input, placed.content.begin() + kGuardBytes);
    NEREID_TRY(placed.block, device_.alloc(placed.content.size()));
    const DevicePtr block = placed.block;
    const auto& stored = memory_[arg.name] = std::move(placed);
    NEREID_RETURN_IF_ERROR(device_.upload(block, stored.content));
  }
  return {};
}

Status CaseRunner::launch(const KernelDecl& decl, const KernelCase& from) {
  NEREID_TRY(const std::vector<int64_t> key, key_values(decl, from));
  if (from.args.size() != decl.args.size()) {
    return error("{} arguments, declared are {}", from.args.size(), decl.args.size());
  }
  std::vector<uint64_t> slots;
  for (size_t at = 0; at < from.args.size(); ++at) {
    const CaseArg& arg = from.args[at];
    if (arg.name != decl.args[at].name || arg.is_pointer != (decl.args[at].kind == ArgKind::kPtr)) {
      return error("argument {} is '{}', declared is '{}'", at, arg.name, decl.args[at].name);
    }
    const std::string& owner = arg.alias.empty() ? arg.name : arg.alias;
    slots.push_back(!arg.is_pointer ? arg.slot : arg.is_null ? 0 : memory_.at(owner).pointer());
  }
  NEREID_RETURN_IF_ERROR(launcher_.launch_slots(decl, key, slots));
  return device_.synchronize();
}

std::string CaseRunner::check(const CaseArg& arg, const Placed& placed) {
  std::vector<std::byte> now(placed.content.size());
  if (auto status = device_.download(now, placed.block); !status) return status.error().message;
  const auto guard_hit = [&](size_t begin) {
    const auto guard = std::span(now).subspan(begin, kGuardBytes);
    return std::ranges::any_of(guard, [](std::byte byte) { return byte != kGuard; });
  };
  if (guard_hit(0)) return arg.name + ": memory before the array was written";
  if (guard_hit(now.size() - kGuardBytes)) return arg.name + ": memory after the array was written";
  const auto array = std::span<const std::byte>(now).subspan(kGuardBytes, arg.input.size());
  if (arg.expected) {
    const std::string difference = compare(arg.dtype, array, *arg.expected, arg.tolerance);
    return difference.empty() ? "" : arg.name + ": " + difference;
  }
  if (!arg.is_scratch && !std::ranges::equal(array, arg.input)) {
    return arg.name + ": changed, but it is not declared as written";
  }
  return "";
}

std::string CaseRunner::run(const KernelDecl& decl, const KernelCase& from) {
  memory_.clear();
  Status status = place(from);
  if (status) status = launch(decl, from);
  std::string problems = status ? "" : status.error().message;
  for (const CaseArg& arg : from.args) {
    const auto placed = memory_.find(arg.name);
    if (placed == memory_.end()) continue;
    if (status && has_results_) {
      const std::string problem = check(arg, placed->second);
      if (!problem.empty()) problems += (problems.empty() ? "" : "; ") + problem;
    }
    device_.free(placed->second.block);
  }
  return problems;
}

const KernelDecl* find_kernel(const std::string& name) {
  for (const KernelDecl* decl : kernels::all_kernels()) {
    if (name == decl->name) return decl;
  }
  return nullptr;
}

Result<int> run_all(const Options& options) {
  NEREID_TRY(const CaseFile file, CaseFile::open(options.cases));
  NEREID_TRY(std::unique_ptr<Device> device,
             create_device(options.driver, {.num_threads = options.threads}));
  const bool has_results = device->info().driver != "null";
  std::optional<Pack> pack;
  if (has_results) {
    NEREID_TRY(pack, Pack::open(options.pack, device->info().targets));
    if (pack->sources_sha256() != kernels::kKernelSourcesSha256) {
      return error("{}: made from other kernel sources than this program", options.pack);
    }
  }
  Launcher launcher(*device, pack ? &*pack : nullptr);
  CaseRunner runner(*device, launcher, has_results);
  int run = 0;
  int failed = 0;
  std::map<std::string, std::pair<int, int>> by_kernel;  // passed, run
  for (const KernelCase& from : file.cases()) {
    if (!options.only.empty() && from.label().find(options.only) == std::string::npos) continue;
    const KernelDecl* decl = find_kernel(from.kernel);
    const std::string problem =
        decl == nullptr ? "no such kernel in this program" : runner.run(*decl, from);
    ++run;
    failed += problem.empty() ? 0 : 1;
    auto& [passed, of] = by_kernel[from.kernel];
    passed += problem.empty() ? 1 : 0;
    ++of;
    if (!problem.empty()) fmt::print("FAIL {}: {}\n", from.label(), problem);
    if (problem.empty() && options.verbose) fmt::print("ok   {}\n", from.label());
  }
  for (const auto& [kernel, counts] : by_kernel) {
    fmt::print("{:24} {:4} of {:4}\n", kernel, counts.first, counts.second);
  }
  fmt::print("{} on {}: {} of {} cases passed, {} variants{}\n", options.driver,
             device->info().target, run - failed, run, launcher.variants().size(),
             has_results ? "" : " (launches checked, nothing run)");
  if (run == 0) return error("no cases");
  return failed;
}

}  // namespace
}  // namespace nereid::testing

int main(int argc, char** argv) {
  nereid::testing::Options options;
  CLI::App app("Runs the cases that kernels.export_cases wrote.");
  app.add_option("--driver", options.driver, "device driver")->capture_default_str();
  app.add_option("--pack", options.pack,
                 "pack with the variants of DIR/request.json; not for null");
  app.add_option("--cases", options.cases, "folder of the exported cases")->required();
  app.add_option("--only", options.only, "cases whose kernel[name] contains this");
  app.add_option("--threads", options.threads, "threads of the cpu driver; 0: one per core");
  app.add_flag("-v,--verbose", options.verbose, "name passing cases as well");
  CLI11_PARSE(app, argc, argv);
  auto failed = nereid::testing::run_all(options);
  if (!failed) {
    fmt::print(stderr, "kernel_cases: error: {}\n", failed.error().message);
    return 2;
  }
  return *failed == 0 ? 0 : 1;
}
