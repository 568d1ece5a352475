// What a launch costs on the cpu driver: the hand-over to the workers and the launcher's lookup.
//
//   bench_device_launch --benchmark_filter=pool
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "src/base/check.h"
#include "src/device/cpu/worker_pool.h"
#include "src/device/drivers.h"
#include "src/device/launcher.h"
#include "src/device/testing/test_kernels.h"

namespace nereid {
namespace {

using testing::Axpy;

// 64 empty programs; arguments: threads, chunk.
void pool_run(benchmark::State& state) {
  auto pool = WorkerPool::create({.num_threads = static_cast<int>(state.range(0))});
  const auto nothing = [](void*, uint32_t, uint32_t, uint32_t) {};
  const PoolWork work{.run = nothing, .count = 64, .chunk = static_cast<uint32_t>(state.range(1))};
  for (auto _ : state) (*pool)->run(work);
}
BENCHMARK(pool_run)->Args({1, 32})->Args({2, 32})->Args({2, 8})->Args({2, 2})->UseRealTime();

std::unique_ptr<Device> open_device(const std::string& driver, int threads) {
  auto device = create_device(driver, {.num_threads = threads});
  NEREID_CHECK(device.has_value(), "{}", device.error().message);
  return std::move(*device);
}

// Device::launch of an empty kernel of 64 programs; argument: threads.
void device_launch(benchmark::State& state) {
  auto device = open_device("cpu", static_cast<int>(state.range(0)));
  const std::string object = testing::test_object_bytes();
  auto kernel = device->load({.blob = std::as_bytes(std::span(object)), .entry = "empty"});
  NEREID_CHECK(kernel.has_value(), "{}", kernel.error().message);
  const LaunchParams params{.kernel = *kernel, .grid = {64}};
  for (auto _ : state) benchmark::DoNotOptimize(device->launch(params));
}
BENCHMARK(device_launch)->Arg(1)->Arg(2)->UseRealTime();

// Typed launch through the launcher: four variants in turn, an empty grid, so that only lookup,
// choice, checks and grid are measured.
void launcher_overhead(benchmark::State& state) {
  auto device = open_device("cpu", 1);
  const std::string path = std::filesystem::temp_directory_path() / "nereid_bench.pack";
  testing::write_test_pack(path, device->info().target, {});
  auto pack = Pack::open(path, device->info().targets);
  NEREID_CHECK(pack.has_value(), "{}", pack.error().message);
  std::filesystem::remove(path);
  Launcher launcher(*device, &*pack);
  const DevicePtr x = *device->alloc(64);
  int64_t variant = 0;
  for (auto _ : state) {
    variant = (variant + 1) % 4;
    benchmark::DoNotOptimize(launcher.launch<Axpy>({.dtype = DType::kF32, .variant = variant},
                                                   {.x = x, .out = x, .n = 0, .a = 1}));
  }
}
BENCHMARK(launcher_overhead);

}  // namespace
}  // namespace nereid

BENCHMARK_MAIN();
