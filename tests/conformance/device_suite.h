// What the tests of the device contract share: one suite, run for every driver of the table.
#pragma once

#include <elf.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/paths.h"
#include "src/device/drivers.h"
#include "src/device/testing/test_kernels.h"
#include "tests/conformance/exemptions.h"

namespace nereid::testing {

// Of a program of `use_scratch`, rounded up to 128.
inline constexpr uint64_t kScratchBytes = 100'096;

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
    const std::string missing = what_is_missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
    device_ = open();
  }

  static bool is_gpu() { return GetParam()->count != nullptr; }
  // The variable that names a stand-in for the driver's library; with one the tests must run.
  static std::optional<std::string> stand_in() {
    const std::string driver = GetParam()->name;
    return environment(driver == "cuda" ? "NEREID_CUDA_LIBRARY" : "NEREID_HIP_LIBRARY");
  }
  // Why the tests can't run on this driver here; "" if they can.
  static std::string what_is_missing() {
    if (!is_gpu() || stand_in()) return "";
    auto device = GetParam()->create({});
    if (!device) return device.error().message;
    return environment("NEREID_TEST_GPU_KERNELS") ? "" : "NEREID_TEST_GPU_KERNELS is not set";
  }

  // The object with the kernels of src/device/testing/kernels.c, or for a GPU what stands for it.
  static const std::string& object() {
    static const std::map<std::string, std::string> objects = [] {
      const std::string plain = test_object_bytes();
      std::map<std::string, std::string> made = {{"cpu", plain}, {"null", plain}};
      for (const auto& [driver, machine] : {std::pair{"cuda", char(190)}, {"hip", char(224)}}) {
        made[driver] = plain;
        made[driver][offsetof(Elf64_Ehdr, e_machine)] = machine;
      }
      return made;
    }();
    if (!is_gpu() || stand_in()) return objects.at(GetParam()->name);
    static const std::string real = file_bytes(*environment("NEREID_TEST_GPU_KERNELS"));
    return real;
  }
  static std::string file_bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file.good()) << path;
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  static KernelImage image(const std::string& entry, uint32_t num_args) {
    return image(entry, num_args, object());
  }
  static KernelImage image(const std::string& entry, uint32_t num_args, const std::string& bytes) {
    KernelImage made{.blob = std::as_bytes(std::span(bytes)), .entry = entry, .num_args = num_args};
    if (is_gpu()) {  // on CPUs the object says so
      made.num_warps = 1;
      made.scratch_bytes = entry == "use_scratch" ? kScratchBytes : 0;
    }
    return made;
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

}  // namespace nereid::testing
