// The device contract (src/device/device.h), checked on every driver of the table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "src/device/drivers.h"
#include "src/device/testing/test_kernels.h"
#include "tests/conformance/exemptions.h"

namespace nereid {
namespace {

using testing::Axpy;
using testing::CountPrograms;
using testing::Exemption;
using ::testing::HasSubstr;
using testing::kExemptions;

const std::string& object() {
  static const std::string bytes = testing::test_object_bytes();
  return bytes;
}

KernelImage image(const std::string& entry, uint32_t num_args,
                  const std::string& bytes = object()) {
  return {.blob = std::as_bytes(std::span(bytes)), .entry = entry, .num_args = num_args};
}

class DeviceTest : public ::testing::TestWithParam<const Driver*> {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");  // devices have threads
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    const std::string test = name.substr(0, name.find('/'));
    for (const Exemption& exemption : kExemptions) {
      if (exemption.driver == GetParam()->name && exemption.test == test) {
        GTEST_SKIP() << exemption.reason;
      }
    }
    device_ = open();
  }

  static std::unique_ptr<Device> open(int num_threads = 3) {
    auto device = GetParam()->create({.num_threads = num_threads});
    EXPECT_TRUE(device.has_value()) << device.error().message;
    return device ? std::move(*device) : nullptr;
  }

  static const LoadedKernel* load(Device& device, const KernelImage& from) {
    auto kernel = device.load(from);
    EXPECT_TRUE(kernel.has_value()) << kernel.error().message;
    return kernel ? *kernel : nullptr;
  }

  template <typename T>
  static DevicePtr put(Device& device, const std::vector<T>& values) {
    const DevicePtr pointer = *device.alloc(values.size() * sizeof(T));
    EXPECT_TRUE(device.upload(pointer, std::as_bytes(std::span(values))));
    return pointer;
  }
  template <typename T>
  static std::vector<T> get(Device& device, DevicePtr pointer, size_t count) {
    std::vector<T> values(count);
    EXPECT_TRUE(device.download(std::as_writable_bytes(std::span(values)), pointer));
    return values;
  }
  static Status axpy(Device& device, const LoadedKernel* kernel, const Axpy::Args& args) {
    const auto slots = Axpy::pack_args(args);
    return device.launch({.kernel = kernel,
                          .grid = {static_cast<uint32_t>((args.n + 63) / 64)},
                          .args = slots,
                          .label = "axpy",
                          .decl = &Axpy::decl()});
  }

  std::unique_ptr<Device> device_;
};

TEST_P(DeviceTest, Info) {
  const DeviceInfo& info = device_->info();
  EXPECT_EQ(info.driver, GetParam()->name);
  EXPECT_FALSE(info.name.empty());
  ASSERT_FALSE(info.targets.empty());
  EXPECT_EQ(info.target, info.targets.front());
  EXPECT_GT(info.memory_bytes, 0u);
  EXPECT_LE(info.free_bytes, info.memory_bytes);
  EXPECT_GE(info.num_workers, 1);
}

TEST_P(DeviceTest, AllocationsAreAlignedAndApart) {
  std::vector<std::pair<DevicePtr, uint64_t>> blocks;
  for (const uint64_t bytes : {0, 1, 255, 256, 4097, 1 << 20, (1 << 21) + 1, 5 << 20, 0, 1}) {
    const auto pointer = device_->alloc(bytes);
    ASSERT_TRUE(pointer.has_value()) << pointer.error().message;
    EXPECT_NE(*pointer, 0u);
    EXPECT_EQ(*pointer % 256, 0u) << bytes;
    blocks.emplace_back(*pointer, std::max<uint64_t>(bytes, 1));
  }
  std::ranges::sort(blocks);
  for (size_t at = 1; at < blocks.size(); ++at) {
    EXPECT_LE(blocks[at - 1].first + blocks[at - 1].second, blocks[at].first);
  }
  for (const auto& [pointer, bytes] : blocks) device_->free(pointer);
  device_->free(0);
}

TEST_P(DeviceTest, TooMuchMemoryIsAnError) {
  for (const uint64_t bytes : {uint64_t{1} << 60, ~uint64_t{0}, ~uint64_t{0} - 4096}) {
    const auto pointer = device_->alloc(bytes);
    ASSERT_FALSE(pointer.has_value()) << bytes;
    EXPECT_THAT(pointer.error().message, HasSubstr("out of memory"));
  }
  EXPECT_TRUE(device_->alloc(4096).has_value());
}

TEST_P(DeviceTest, FreeingTwiceIsABug) {
  const DevicePtr pointer = *device_->alloc(100);
  device_->free(pointer);
  EXPECT_DEATH(device_->free(pointer), "not allocated here, or is free already");
}

TEST_P(DeviceTest, MemoryIsUsedAgain) {
  for (int round = 0; round < 2000; ++round) {
    const auto pointer = device_->alloc(uint64_t{64} << 20);
    ASSERT_TRUE(pointer.has_value()) << round << ": " << pointer.error().message;
    device_->free(*pointer);
  }
}

TEST_P(DeviceTest, UploadAndDownload) {
  std::vector<int64_t> values(100'000);
  std::iota(values.begin(), values.end(), 7);
  const DevicePtr pointer = put(*device_, values);
  EXPECT_EQ(get<int64_t>(*device_, pointer, values.size()), values);
  // A part, and nothing.
  const std::vector<int64_t> part = {-1, -2};
  ASSERT_TRUE(device_->upload(pointer + 16, std::as_bytes(std::span(part))));
  ASSERT_TRUE(device_->upload(pointer, {}));
  EXPECT_EQ(get<int64_t>(*device_, pointer, 5), (std::vector<int64_t>{7, 8, -1, -2, 11}));
}

TEST_P(DeviceTest, CopiesAreOrderedAmongLaunches) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const size_t n = 20'000;
  const DevicePtr out = put(*device_, std::vector<float>(n, 0.0f));
  const DevicePtr x = *device_->alloc(n * 4);
  std::vector<float> source(n);
  for (int round = 1; round <= 20; ++round) {
    std::ranges::fill(source, static_cast<float>(round));
    ASSERT_TRUE(device_->upload(x, std::as_bytes(std::span(source))));
    std::ranges::fill(source, -1.0f);  // may be reused on return
    ASSERT_TRUE(axpy(*device_, kernel, {.x = x, .out = out, .n = static_cast<int32_t>(n), .a = 1}));
  }
  EXPECT_EQ(get<float>(*device_, out, n), std::vector<float>(n, 210.0f));
}

TEST_P(DeviceTest, LaunchesRunInOrder) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const size_t n = 1000;
  const DevicePtr x = put(*device_, std::vector<float>(n, 1.0f));
  // out = 2 * out each time (a = 1, x = out): one launch out of order or twice shows.
  for (int round = 0; round < 2000; ++round) {
    const float a = round % 2 == 0 ? 1.0f : -0.5f;  // times 2, times 1/2
    ASSERT_TRUE(axpy(*device_, kernel, {.x = x, .out = x, .n = static_cast<int32_t>(n), .a = a}));
  }
  ASSERT_TRUE(device_->synchronize());
  EXPECT_EQ(get<float>(*device_, x, n), std::vector<float>(n, 1.0f));
}

TEST_P(DeviceTest, EveryProgramOnce) {
  const LoadedKernel* kernel = load(*device_, image("count_programs", 1));
  for (const KernelDecl* decl : {&CountPrograms::decl(), &CountPrograms::uneven_decl()}) {
    for (const Grid grid :
         {Grid{1}, Grid{2}, Grid{3}, Grid{100}, Grid{5, 7}, Grid{3, 4, 5}, Grid{1, 1, 9}}) {
      const size_t programs = grid.programs();
      const DevicePtr counts = put(*device_, std::vector<int32_t>(programs + 64, 0));
      const uint64_t slots[] = {counts};
      ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = grid, .args = slots, .decl = decl}));
      const auto seen = get<int32_t>(*device_, counts, programs + 64);
      for (size_t pid = 0; pid < seen.size(); ++pid) {
        const size_t x = pid % grid.x;
        const size_t y = pid / grid.x % grid.y;
        const size_t z = pid / grid.x / grid.y;
        const size_t expected = pid < programs ? 1 + x + 16 * y + 256 * z : 0;
        ASSERT_EQ(static_cast<size_t>(seen[pid]), expected) << pid;
      }
      device_->free(counts);
    }
  }
}

TEST_P(DeviceTest, EmptyAndHugeGrids) {
  const LoadedKernel* kernel = load(*device_, image("empty", 0));
  const auto launch = [&](Grid grid) {
    return device_->launch({.kernel = kernel, .grid = grid, .label = "empty"});
  };
  for (const Grid grid : {Grid{0}, Grid{5, 0}, Grid{5, 5, 0}, Grid{0, 0xFFFFFFFF, 0xFFFFFFFF}}) {
    EXPECT_TRUE(launch(grid).has_value());
  }
  EXPECT_TRUE(launch({2147483647}).has_value());
  EXPECT_TRUE(launch({32768, 32768, 1}).has_value());
  for (const Grid grid :
       {Grid{0x80000000}, Grid{65536, 65536}, Grid{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
        Grid{1 << 16, 1 << 16, 1 << 16}}) {
    const Status status = launch(grid);
    ASSERT_FALSE(status.has_value());
    EXPECT_THAT(status.error().message, HasSubstr("has more than 2147483647 programs"));
  }
}

TEST_P(DeviceTest, WrongNumberOfArgumentsIsABug) {
  const LoadedKernel* kernel = load(*device_, image("axpy", 4));
  const uint64_t slots[] = {0};
  EXPECT_DEATH((void)device_->launch({.kernel = kernel, .args = slots, .label = "axpy(n=1)"}),
               "axpy\\(n=1\\): 1 arguments, expected 4");
  EXPECT_DEATH((void)device_->launch({.label = "x"}), "launch of 'x' without a kernel");
}

TEST_P(DeviceTest, ScratchIsPrivateAndAligned) {
  const LoadedKernel* kernel = load(*device_, image("use_scratch", 2));
  const size_t programs = 64;
  const DevicePtr sums = *device_->alloc(programs * 8);
  const DevicePtr alignment = *device_->alloc(programs * 8);
  const uint64_t slots[] = {sums, alignment};
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(device_->launch({.kernel = kernel, .grid = {programs}, .args = slots}));
    const auto got = get<int64_t>(*device_, sums, programs);
    for (size_t pid = 0; pid < programs; ++pid)
      ASSERT_EQ(got[pid], static_cast<int64_t>(pid) * 25000);
    EXPECT_EQ(get<int64_t>(*device_, alignment, programs), std::vector<int64_t>(programs, 0));
  }
}

TEST_P(DeviceTest, LoadFailures) {
  const auto message = [&](const std::string& bytes) {
    auto kernel = device_->load(image("axpy", 4, bytes));
    return kernel ? "" : kernel.error().message;
  };
  EXPECT_EQ(message("this is no code"), "axpy: 15 bytes, no ELF object");
  EXPECT_EQ(message(std::string(100, 'x')), "axpy: no ELF object");
  EXPECT_EQ(message(object().substr(0, 64)), "axpy: program headers outside the object");
  EXPECT_THAT(message(object().substr(0, object().size() / 4)), HasSubstr("truncated"));
  std::string foreign = object();
  foreign[18] = 2;  // e_machine: SPARC
  EXPECT_THAT(message(foreign), HasSubstr("axpy: ELF machine 2, this processor's is"));
  EXPECT_FALSE(device_->load({.entry = "axpy", .num_args = 4}).has_value());
  EXPECT_EQ(device_->load(image("none", 4)).error().message, "none: no symbol 'none'");
  EXPECT_EQ(device_->load(image("no_info", 0)).error().message,
            "no_info: no symbol 'no_info_info'");
  EXPECT_EQ(device_->load(image("wrong_abi", 0)).error().message,
            "wrong_abi: kernel ABI 99, expected 1");
  EXPECT_EQ(device_->load(image("axpy", 5)).error().message,
            "axpy: compiled with 4 arguments, expected 5");
  EXPECT_TRUE(device_->load(image("axpy", 4)).has_value());
}

TEST_P(DeviceTest, LoadsManyKernels) {
  for (int round = 0; round < 1500; ++round) {
    ASSERT_TRUE(device_->load(image("empty", 0)).has_value()) << round;
  }
}

// Objects of the same size and symbols, loaded one after the other, are different kernels.
TEST_P(DeviceTest, ObjectsStayApart) {
  std::vector<const LoadedKernel*> kernels;
  const std::string mark = "NEREID-TAG-";
  for (int tag = 0; tag < 8; ++tag) {
    std::string bytes = object();
    const size_t at = bytes.find(mark);
    ASSERT_NE(at, std::string::npos);
    bytes[at + mark.size()] = static_cast<char>('0' + tag);
    kernels.push_back(load(*device_, image("read_tag", 1, bytes)));
  }
  const DevicePtr out = *device_->alloc(4);
  const uint64_t slots[] = {out};
  for (int tag = 0; tag < 8; ++tag) {
    ASSERT_TRUE(device_->launch({.kernel = kernels[static_cast<size_t>(tag)], .args = slots}));
    EXPECT_EQ(get<int32_t>(*device_, out, 1)[0], tag);
  }
}

TEST_P(DeviceTest, DevicesInSeveralThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      auto device = open(2);
      const LoadedKernel* kernel = load(*device, image("axpy", 4));
      const size_t n = 5000;
      const DevicePtr x = put(*device, std::vector<float>(n, static_cast<float>(thread)));
      const DevicePtr out = put(*device, std::vector<float>(n, 0.0f));
      for (int round = 0; round < 500; ++round) {
        if (!axpy(*device, kernel, {.x = x, .out = out, .n = static_cast<int32_t>(n), .a = 1}))
          return;
      }
      const std::vector<float> expected(n, 500.0f * static_cast<float>(thread));
      good += get<float>(*device, out, n) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 3);
}

// One device used by one thread after another, as the contract allows.
TEST_P(DeviceTest, HandedToAnotherThread) {
  const LoadedKernel* kernel = load(*device_, image("empty", 0));
  for (int round = 0; round < 20; ++round) {
    std::thread([&] {
      EXPECT_TRUE(device_->launch({.kernel = kernel, .grid = {64}}).has_value());
      EXPECT_TRUE(device_->synchronize().has_value());
    }).join();
  }
}

std::vector<const Driver*> all_drivers() {
  std::vector<const Driver*> list;
  for (const Driver& driver : drivers()) list.push_back(&driver);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Drivers, DeviceTest, ::testing::ValuesIn(all_drivers()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(Drivers, OpenByName) {
  EXPECT_EQ((*create_device("auto", {.num_threads = 1}))->info().driver, "cpu");
  EXPECT_EQ((*create_device("null", {.target = "cuda:90"}))->info().target, "cuda:90");
  EXPECT_EQ(create_device("tpu").error().message,
            "unknown device 'tpu', expected one of auto, cpu, null");
  EXPECT_FALSE(create_device("cpu", {.num_threads = -1}).has_value());
  EXPECT_EQ((*create_device("cpu", {.num_threads = 5}))->info().num_workers, 5);
}

// An exemption of a test or driver that does not exist is a mistake in the table.
TEST(Drivers, ExemptionsNameTestsThatExist) {
  std::vector<std::string> tests;
  const auto& all = *::testing::UnitTest::GetInstance();
  for (int suite = 0; suite < all.total_test_suite_count(); ++suite) {
    const auto& tests_of = *all.GetTestSuite(suite);
    for (int at = 0; at < tests_of.total_test_count(); ++at)
      tests.emplace_back(tests_of.GetTestInfo(at)->name());
  }
  for (const Exemption& exemption : kExemptions) {
    EXPECT_THAT(tests, ::testing::Contains(fmt::format("{}/{}", exemption.test, exemption.driver)));
    EXPECT_FALSE(exemption.reason.empty());
  }
}

}  // namespace
}  // namespace nereid
