// Cache lookup and the run of `python -m kernels.pack`.
#include "src/pack/pack_cache.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/base/atomic_file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/base/paths.h"
#include "src/base/sha256.h"
#include "src/base/subprocess.h"

namespace nereid {
namespace {

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

// What a failed build says: the first line of its error message, else the last line of its output.
std::string failure_text(std::string_view output) {
  constexpr std::string_view kMark = "kernels.pack: error: ";
  if (const size_t mark = output.rfind(kMark); mark != std::string_view::npos) {
    const std::string_view message = output.substr(mark + kMark.size());
    const std::string_view first = message.substr(0, message.find('\n'));
    const auto lines = std::count(message.begin(), message.end(), '\n');
    return lines > 1 ? fmt::format("{} (and {} more lines; NEREID_LOG=debug shows them)", first,
                                   lines - 1)
                     : std::string(first);
  }
  while (!output.empty() && (output.back() == '\n' || output.back() == ' '))
    output.remove_suffix(1);
  const size_t start = output.rfind('\n');
  return std::string(start == std::string_view::npos ? output : output.substr(start + 1));
}

void report_progress(std::string_view line, const PackBuildOptions& options) {
  auto parsed = parse_json(line, {.max_bytes = 1 << 16, .max_depth = 4});
  if (!parsed || !parsed->is_object() || !options.on_progress) return;
  const auto number = [&](const char* name) {
    const auto found = parsed->find(name);
    return found != parsed->end() && found->is_number_integer() ? found->get<int>() : 0;
  };
  const auto what = parsed->find("what");
  options.on_progress(number("done"), number("total"),
                      what != parsed->end() && what->is_string() ? what->get<std::string>() : "");
}

std::string compile_hint(const PackRequest& request) {
  return fmt::format("`{}` builds it where the toolchain is", compile_command(request));
}

std::vector<std::string> runnable_targets(const PackRequest& request,
                                          const PackBuildOptions& options) {
  return options.targets.empty() ? std::vector{request.target} : options.targets;
}

Result<PackRequest> request_for(const std::string& target, const PackRequest& request,
                                const PackBuildOptions& options) {
  if (options.request_for) return options.request_for(target);
  PackRequest other = request;
  other.target = target;
  return other;
}

// The model's kernels for an older machine that this one can stand in for.
std::optional<Pack> find_older_pack(const PackRequest& request, const PackBuildOptions& options) {
  for (const std::string& target : options.targets) {
    if (target == request.target) continue;
    const auto other = request_for(target, request, options);
    if (!other) continue;
    const auto path = cached_pack_path(*other);
    if (!path || !is_file(*path)) continue;
    if (auto pack = open_pack(*path, *other, options)) return std::move(*pack);
  }
  return std::nullopt;
}

}  // namespace

std::string compile_command(const PackRequest& request) {
  return fmt::format("nereid compile {} --target {}{}", request.model, request.target,
                     request.flags);
}

Result<Pack> open_pack(const std::string& path, const PackRequest& request,
                       const PackBuildOptions& options) {
  NEREID_TRY(Pack pack, Pack::open(path, runnable_targets(request, options)));
  if (pack.sources_sha256() != request.sources_sha256) {
    return error("{}: made from other kernel sources ({:.12}, this program has {:.12})", path,
                 pack.sources_sha256(), request.sources_sha256);
  }
  return pack;
}

Result<std::string> cached_pack_path(const PackRequest& request) {
  NEREID_TRY(const std::string cache, cache_dir());
  const std::string identity =
      fmt::format("{}\n{}\n{}\n{}\n", request.target, request.sources_sha256, request.toolchain,
                  request.request_json);
  return fmt::format("{}/packs/{}-{:.32}.pack", cache, replaced(request.target, ':', '-'),
                     sha256_hex(identity));
}

Result<PackToolchain> find_toolchain() {
  PackToolchain found;
  found.kernels_dir = environment("NEREID_KERNELS_DIR").value_or(NEREID_DEFAULT_KERNELS_DIR);
  found.python = environment("NEREID_PYTHON").value_or(NEREID_DEFAULT_PYTHON);
  if (auto compiler = environment("NEREID_CC")) {
    found.compiler = *compiler;
  } else {
    auto here = executable_dir();
    found.compiler = here ? *here + "/nereid-cc" : "";
    if (!is_file(found.compiler)) found.compiler = NEREID_DEFAULT_CC;
  }
  if (!is_file(found.kernels_dir + "/pack.py")) {
    return error("no kernel sources in {} (NEREID_KERNELS_DIR)", found.kernels_dir);
  }
  if (!is_file(found.python)) return error("no Python at {} (NEREID_PYTHON)", found.python);
  if (!is_file(found.compiler)) return error("no nereid-cc at {} (NEREID_CC)", found.compiler);
  return found;
}

Status build_pack(const PackRequest& request, const PackBuildOptions& options,
                  const std::string& path) {
  NEREID_TRY(const PackToolchain tools, find_toolchain());
  namespace fs = std::filesystem;
  const fs::path kernels = fs::absolute(fs::path(tools.kernels_dir) / "").parent_path();
  // Links are followed here: /dev/stdout would be another file in the builder.
  NEREID_TRY(const OutputPlace place, OutputPlace::find(fs::absolute(path).string()));
  ProcessOptions run;
  run.input = request.request_json;
  run.argv = {fs::absolute(tools.python).string(), "-m", kernels.filename().string() + ".pack"};
  const auto flag = [&](const char* name, std::string value) {
    run.argv.emplace_back(name);
    run.argv.push_back(std::move(value));
  };
  flag("--request", "/dev/stdin");
  flag("--target", request.target);
  flag("--out", place.path);
  flag("--cc", fs::absolute(tools.compiler).string());
  flag("--progress-fd", "3");
  flag("--expect-sources", request.sources_sha256);
  if (options.jobs > 0) flag("--jobs", std::to_string(options.jobs));
  run.working_dir = kernels.parent_path().string();
  run.on_progress_line = [&](std::string_view line) { report_progress(line, options); };
  NEREID_TRY(const ProcessResult result, run_process(run));
  if (result.exit_code != 0) {
    log_debug("kernels.pack said:\n{}", result.output);
    return error("building kernels for {} failed: {}", request.target, failure_text(result.output));
  }
  return {};
}

Result<Pack> open_or_build_pack(const PackRequest& request, const PackBuildOptions& options) {
  NEREID_TRY(const std::string path, cached_pack_path(request));
  std::string problem = fmt::format("no kernel pack for {} at {}", request.target, path);
  const bool is_there = is_file(path);
  if (is_there) {
    auto cached = open_pack(path, request, options);
    if (cached) return cached;
    problem = cached.error().message;
  }
  const auto tools = find_toolchain();
  if (!options.allow_build || !tools) {
    if (auto older = find_older_pack(request, options)) {
      log_warn("{}; taking {}, which may be slower", problem, older->path());
      return std::move(*older);
    }
  }
  if (!options.allow_build) return error("{}; {}", problem, compile_hint(request));
  if (!tools) {
    return error("{}, and it cannot be built here: {}; {}", problem, tools.error().message,
                 compile_hint(request));
  }
  if (is_there) log_warn("{}; building it again", problem);
  NEREID_RETURN_IF_ERROR(make_directories(std::filesystem::path(path).parent_path().string()));
  NEREID_RETURN_IF_ERROR(build_pack(request, options, path));
  return open_pack(path, request, options);
}

}  // namespace nereid
