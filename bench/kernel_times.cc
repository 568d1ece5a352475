// Times tile choices of kernels on a device, as launches of our own drivers: what `./dev tune`
// decides by.
//
//   kernel_times --device cuda --info
//   kernel_times --device cuda --pack FILE --jobs FILE --out FILE
//
// A choice runs twice on the same numbers first: its results must be the same both times, and near
// those of the first choice of its job. Then it runs as a sequence of launches, which GPUs replay
// as a graph, over more memory than caches hold; the time is the median of several such runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/kernel_arrays.h"
#include "bench/kernel_jobs.h"
#include "src/base/atomic_file.h"
#include "src/base/check.h"
#include "src/device/drivers.h"
#include "tests/conformance/compare.h"

namespace nereid::bench {
namespace {

constexpr double kSequenceSeconds = 4e-3, kSampleSeconds = 3e-3;
constexpr int kMinLaunches = 4, kSamples = 7;
constexpr size_t kTogether = 24;
constexpr double kMaxDifference = 0.02;  // of the root mean squares

struct Options {
  std::string device = "auto", pack, jobs, out;
  uint64_t cold_bytes = uint64_t{192} << 20;
  int threads = 0;
  bool info = false;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// "" or how far `got` is from `expected`.
std::string difference(DType dtype, std::span<const std::byte> got,
                       std::span<const std::byte> expected) {
  double off = 0, size = 0;
  for (size_t at = 0; at < got.size() / dtype_size(dtype); ++at) {
    const double a = testing::widen(dtype, got, at), b = testing::widen(dtype, expected, at);
    off += (a - b) * (a - b);
    size += b * b;
  }
  const double relative = std::sqrt(off / std::max(size, 1e-30));
  if (relative <= kMaxDifference) return "";  // false for NaN
  return fmt::format("results differ from the first choice's by {:.3g}", relative);
}

class Timer {
 public:
  Timer(Device& device, const Options& options) : device_(device), options_(options) {}

  // One entry for each wanted choice: {"us": ...} or {"problem": ...}.
  Result<nlohmann::json> run(const Job& job) {
    Arrays arrays(device_, job, options_.cold_bytes);
    NEREID_RETURN_IF_ERROR(arrays.place());
    expected_.clear();
    std::vector<Candidate> candidates;
    for (const size_t index : job.which) {
      NEREID_TRY(Candidate made, candidate(job, job.variant->choices[index], arrays));
      candidates.push_back(std::move(made));
    }
    // In turn, so that a GPU that gets warm is as warm for each; a few at a time, for their graphs.
    for (size_t first = 0; first < candidates.size(); first += kTogether) {
      const size_t count = std::min(kTogether, candidates.size() - first);
      NEREID_RETURN_IF_ERROR(time(std::span(candidates).subspan(first, count), arrays));
    }
    nlohmann::json results = nlohmann::json::array();
    for (Candidate& from : candidates) {
      std::ranges::sort(from.seconds);
      results.push_back(from.problem.empty()
                            ? nlohmann::json{{"us", from.seconds[from.seconds.size() / 2] * 1e6}}
                            : nlohmann::json{{"problem", from.problem}});
    }
    return results;
  }

 private:
  struct Candidate {
    LaunchParams launch;  // without arguments
    bool takes_workspace = false;
    std::string problem;
    int launches = 0, times = 0;  // of a sample: the sequence's, and how often it comes
    std::vector<double> seconds;  // of one launch, each sample's
  };

  Result<Candidate> candidate(const Job& job, const PackChoice& from, Arrays& arrays) {
    std::vector<int64_t> tiles;
    for (const char* name : job.decl->tile_names) {
      const auto found =
          std::ranges::find(from.tiles, name, &std::pair<std::string, int64_t>::first);
      if (found == from.tiles.end()) return error("{}: no tile constant {}", job.label, name);
      tiles.push_back(found->second);
    }
    NEREID_TRY_CONTEXT(const LoadedKernel* kernel,
                       device_.load({.blob = from.blob,
                                     .entry = from.entry,
                                     .num_args = from.num_args,
                                     .scratch_bytes = from.scratch_bytes,
                                     .shared_bytes = from.shared_bytes,
                                     .num_warps = from.num_warps}),
                       job.label);
    const std::vector<uint64_t> plain = arrays.slots(0, false);
    Candidate made;
    made.launch = {.kernel = kernel, .label = job.label.c_str(), .decl = job.decl};
    made.launch.grid = job.decl->grid(job.key.data(), plain.data(), tiles.data());
    if (job.decl->workspace != nullptr) {
      const int64_t wanted = job.decl->workspace(job.key.data(), plain.data(), tiles.data());
      NEREID_RETURN_IF_ERROR(arrays.reserve_workspace(static_cast<uint64_t>(wanted)));
      made.takes_workspace = wanted > 0;
    }
    NEREID_TRY(made.problem, check(job, made.launch, arrays, made.takes_workspace));
    return made;
  }

  Result<std::string> check(const Job& job, LaunchParams launch, Arrays& arrays, bool workspace) {
    const std::vector<uint64_t> args = arrays.slots(0, workspace);
    launch.args = args;
    std::vector<std::vector<std::byte>> first, second;
    for (auto* into : {&first, &second}) {
      NEREID_RETURN_IF_ERROR(arrays.restore());
      NEREID_RETURN_IF_ERROR(device_.launch(launch));
      NEREID_TRY(*into, arrays.written());
    }
    if (first != second) return std::string("results differ from run to run");
    if (expected_.empty()) expected_ = first;
    const std::vector<DType> dtypes = arrays.written_dtypes();
    for (size_t at = 0; at < first.size(); ++at) {
      std::string found = difference(dtypes[at], first[at], expected_[at]);
      if (!found.empty()) return found;
    }
    return std::string();
  }

  // Samples of every candidate that has no problem.
  Status time(std::span<Candidate> candidates, const Arrays& arrays) {
    for (int sample = -1; sample < kSamples; ++sample) {
      for (Candidate& one : candidates) {
        if (!one.problem.empty()) continue;
        if (sample < 0) {
          NEREID_RETURN_IF_ERROR(plan(one, arrays));
          continue;
        }
        NEREID_TRY(const double seconds, timed(one, arrays));
        one.seconds.push_back(seconds);
      }
    }
    return {};
  }

  // How long a sample has to be; and a GPU has a graph of the sequence afterwards.
  Status plan(Candidate& one, const Arrays& arrays) {
    one.launches = kMinLaunches;
    one.times = 1;
    NEREID_TRY(double seconds, timed(one, arrays));
    one.launches =
        std::clamp(static_cast<int>(kSequenceSeconds / seconds), kMinLaunches, Arrays::kMaxCopies);
    one.times = 3;
    NEREID_TRY(seconds, timed(one, arrays));
    one.times = std::clamp(static_cast<int>(kSampleSeconds / seconds / one.launches), 1, 50);
    return {};
  }

  // Seconds of one launch.
  Result<double> timed(const Candidate& one, const Arrays& arrays) {
    NEREID_RETURN_IF_ERROR(device_.synchronize());
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < one.times; ++i) NEREID_RETURN_IF_ERROR(sequence(one, arrays));
    NEREID_RETURN_IF_ERROR(device_.synchronize());
    return seconds_since(start) / one.launches / one.times;
  }

  Status sequence(const Candidate& one, const Arrays& arrays) {
    NEREID_RETURN_IF_ERROR(device_.begin_sequence());
    const Status launched = launch_all(one, arrays);
    const Status ended = device_.end_sequence();
    return launched ? ended : launched;
  }

  Status launch_all(const Candidate& one, const Arrays& arrays) {
    LaunchParams launch = one.launch;
    for (int turn = 0; turn < one.launches; ++turn) {
      const std::vector<uint64_t> args =
          arrays.slots(static_cast<size_t>(turn), one.takes_workspace);
      launch.args = args;
      NEREID_RETURN_IF_ERROR(device_.launch(launch));
    }
    return {};
  }

  Device& device_;
  const Options& options_;
  std::vector<std::vector<std::byte>> expected_;  // of the first choice that ran
};

Status run(const Options& options) {
  NEREID_TRY(std::unique_ptr<Device> device,
             create_device(options.device, {.num_threads = options.threads}));
  nlohmann::ordered_json report = {{"driver", device->info().driver},
                                   {"name", device->info().name},
                                   {"target", device->info().target},
                                   {"workers", device->info().num_workers}};
  if (options.info) {
    fmt::print("{}\n", report.dump());
    return {};
  }
  if (!device->info().computes) return error("{} runs nothing", options.device);
  NEREID_TRY(const Pack pack, Pack::open(options.pack, device->info().targets));
  NEREID_TRY(const std::vector<Job> jobs, read_jobs(options.jobs, pack));
  Timer timer(*device, options);
  report["jobs"] = nlohmann::json::array();
  for (const Job& job : jobs) {
    NEREID_TRY_CONTEXT(nlohmann::json times, timer.run(job), job.label);
    report["jobs"].push_back({{"label", job.label}, {"times", std::move(times)}});
    fmt::print("{} of {} {}\n", report["jobs"].size(), jobs.size(), job.label);
    std::fflush(stdout);
  }
  NEREID_TRY(AtomicFile file, AtomicFile::create(options.out));
  NEREID_RETURN_IF_ERROR(file.write(report.dump() + "\n"));
  return file.commit();
}

}  // namespace
}  // namespace nereid::bench

int main(int argc, char** argv) {
  nereid::bench::Options options;
  CLI::App app("Times tile choices of kernels on a device.");
  app.add_option("--device", options.device, "device, as nereid's --device")->capture_default_str();
  app.add_flag("--info", options.info, "only say what the device is, as JSON");
  app.add_option("--pack", options.pack, "pack whose choices are timed");
  app.add_option("--jobs", options.jobs, "the launches (bench/kernel_jobs.h)");
  app.add_option("--out", options.out, "the times, as JSON");
  app.add_option("--cold-bytes", options.cold_bytes,
                 "what is read before the same bytes come again")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads of the cpu driver; 0: one per core");
  CLI11_PARSE(app, argc, argv);
  const auto done = nereid::bench::run(options);
  if (!done) {
    fmt::print(stderr, "kernel_times: error: {}\n", done.error().message);
    return 2;
  }
  return 0;
}
