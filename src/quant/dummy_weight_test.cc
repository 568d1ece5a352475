// Made-up weights on the null device: every plane is filled whole, and nothing is read.
#include "src/quant/dummy_weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/device/drivers.h"

namespace nereid::quant {
namespace {

using ::testing::ElementsAre;

class NoPages : public TensorPages {
 public:
  void release(const StoredTensor& tensor) const override {
    ADD_FAILURE() << tensor.name << " lies in no file";
  }
};

class DummyWeightTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = create_device("null", {});
    ASSERT_TRUE(device) << device.error().message;
    device_ = std::move(*device);
    launcher_ = std::make_unique<Launcher>(*device_, nullptr);
  }

  std::vector<std::string> variants() const {
    std::vector<std::string> out;
    for (const KernelVariant& variant : launcher_->variants()) {
      out.push_back(variant_text(*variant.decl, variant.key));
    }
    return out;
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Launcher> launcher_;
  NoPages pages_;
  Buffer staging_;
};

StoredTensor dummy(std::string name, StorageFormat format, std::vector<int64_t> shape) {
  return {.name = std::move(name), .format = format, .shape = std::move(shape), .dummy = true};
}

TEST_F(DummyWeightTest, EveryFormatHasItsPlanes) {
  for (int index = 0; index < kNumStorageFormats; ++index) {
    const auto format = static_cast<StorageFormat>(index);
    const StoredTensor q = dummy("q", format, {70, 256});
    const StoredTensor k = dummy("k", format, {10, 256});
    const StoredTensor* const parts[] = {&q, &k};
    const auto weight = load_weight(*launcher_, pages_, parts, staging_);
    ASSERT_TRUE(weight) << weight.error().message;
    const PlaneBytes bytes = plane_bytes(plane_format(format), 80, 256);
    EXPECT_EQ(weight->n, 80);
    EXPECT_EQ(weight->codes.bytes(), bytes.codes) << storage_info(format).name;
    EXPECT_EQ(weight->scales ? weight->scales.bytes() : 0, bytes.scales);
    EXPECT_EQ(weight->mins ? weight->mins.bytes() : 0, bytes.mins);
  }
}

TEST_F(DummyWeightTest, NormsAndBiasesAreNotRandom) {
  const StoredTensor norm = dummy("model.norm.weight", StorageFormat::kF32, {64});
  const StoredTensor* const norms[] = {&norm};
  const auto filled = load_vector_f32(*launcher_, pages_, norms);
  ASSERT_TRUE(filled) << filled.error().message;
  EXPECT_EQ(filled->bytes(), 64 * sizeof(float));
  EXPECT_THAT(variants(), ElementsAre("fill(dtype=f32)"));
}

TEST(StoredBytes, OfWhatNoFileHolds) {
  EXPECT_EQ(stored_bytes(dummy("q", StorageFormat::kQ4_1, {3, 64})), 3u * 2 * 20);
  EXPECT_EQ(stored_bytes({.name = "empty", .shape = {3, 64}}), 0u);
}

}  // namespace
}  // namespace nereid::quant
