// The device contract (src/device/device.h): memory, copies and loading; and the table of drivers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/conformance/device_suite.h"

namespace nereid::testing {
namespace {

using ::testing::HasSubstr;

TEST_P(DeviceTest, Info) {
  const DeviceInfo& info = device_->info();
  EXPECT_EQ(info.driver, GetParam()->name);
  EXPECT_FALSE(info.name.empty());
  ASSERT_FALSE(info.targets.empty());
  EXPECT_EQ(info.target, info.targets.front());
  EXPECT_GT(info.memory_bytes, 0u);
  EXPECT_GE(info.allocation_unit, 1u);
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

TEST_P(DeviceTest, FreeMemory) {
  const auto before = device_->free_bytes();
  ASSERT_TRUE(before.has_value()) << before.error().message;
  EXPECT_GT(*before, 0u);
  EXPECT_LE(*before, device_->info().memory_bytes);
  constexpr uint64_t kBytes = uint64_t{64} << 20;
  const auto pointer = device_->alloc(kBytes);
  ASSERT_TRUE(pointer.has_value()) << pointer.error().message;
  // Others use the machine too.
  constexpr uint64_t kOthers = kBytes / 2;
  EXPECT_LT(*device_->free_bytes(), *before - kBytes + kOthers);
  device_->free(*pointer);
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

TEST_P(DeviceTest, LoadFailures) {
  const auto message = [&](const std::string& bytes) {
    auto kernel = device_->load(image("axpy", 4, bytes));
    return kernel ? "" : kernel.error().message;
  };
  EXPECT_EQ(message("this is no code"), "15 bytes, no ELF object");
  EXPECT_EQ(message(std::string(100, 'x')), "no ELF object");
  EXPECT_EQ(message(object().substr(0, 64)), "program headers outside the object");
  EXPECT_THAT(message(object().substr(0, object().size() / 4)), HasSubstr("truncated"));
  std::string foreign = object();
  foreign[18] = 2;  // e_machine: SPARC
  EXPECT_THAT(message(foreign), HasSubstr("ELF machine 2, this processor's is"));
  EXPECT_FALSE(device_->load({.entry = "axpy", .num_args = 4}).has_value());
  EXPECT_EQ(device_->load(image("none", 4)).error().message, "no symbol 'none'");
  EXPECT_EQ(device_->load(image("no_info", 0)).error().message, "no symbol 'no_info_info'");
  EXPECT_EQ(device_->load(image("wrong_abi", 0)).error().message, "kernel ABI 99, expected 1");
  EXPECT_EQ(device_->load(image("axpy", 5)).error().message,
            "compiled with 4 arguments, expected 5");
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

std::vector<const Driver*> all_drivers() {
  std::vector<const Driver*> list;
  for (const Driver& driver : drivers()) list.push_back(&driver);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Drivers, DeviceTest, ::testing::ValuesIn(all_drivers()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(Drivers, OpenByName) {
  EXPECT_NE((*create_device("auto", {.num_threads = 1}))->info().driver, "null");
  EXPECT_EQ((*create_device("null", {.target = "cuda:90"}))->info().target, "cuda:90");
  EXPECT_EQ(
      create_device("tpu").error().message,
      "unknown device 'tpu', expected one of auto, cuda[:N], hip[:N], cpu[:TARGET], null[:BYTES]");
  EXPECT_THAT(create_device("cpu:1").error().message,
              ::testing::StartsWith("cpu: this processor cannot run cpu:1, expected one of cpu:"));
  EXPECT_EQ((*create_device("null:64MiB"))->info().memory_bytes, 64u << 20);
  EXPECT_FALSE((*create_device("null:64MiB"))->alloc((64 << 20) + 1).has_value());
  EXPECT_EQ(create_device("null:x").error().message,
            "device null:x: found 'x', expected bytes such as 8589934592 or 8GiB");
  EXPECT_EQ(create_device("cuda:x").error().message,
            "device cuda:x: number of the GPU: found 'x', expected an integer");
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
}  // namespace nereid::testing
