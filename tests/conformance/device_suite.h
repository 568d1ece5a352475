// What the tests of the device contract share: one suite, run for every driver of the table.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/device/drivers.h"
#include "src/device/testing/test_kernels.h"
#include "tests/conformance/exemptions.h"

namespace nereid::testing {

inline const std::string& object() {
  static const std::string bytes = test_object_bytes();
  return bytes;
}

inline KernelImage image(const std::string& entry, uint32_t num_args,
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

}  // namespace nereid::testing
