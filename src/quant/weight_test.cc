// Loading on the null device: which kernels a weight needs, and that planes and launches agree in
// size.
#include "src/quant/weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "src/device/drivers.h"
#include "src/quant/testing/counting_pages.h"

namespace nereid::quant {
namespace {

using ::testing::ElementsAre;

class WeightTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = create_device("null", {});
    ASSERT_TRUE(device) << device.error().message;
    device_ = std::move(*device);
    launcher_ = std::make_unique<Launcher>(*device_, nullptr);
  }

  StoredTensor stored(std::string name, StorageFormat format, std::vector<int64_t> shape) {
    storage_.emplace_back(storage_bytes(format, shape).value());
    return {.name = std::move(name), .format = format, .shape = shape, .bytes = storage_.back()};
  }

  std::vector<std::string> variants() const {
    std::vector<std::string> out;
    for (const KernelVariant& variant : launcher_->variants()) {
      out.push_back(variant_text(*variant.decl, variant.key));
    }
    return out;
  }

  std::vector<std::vector<std::byte>> storage_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Launcher> launcher_;
  CountingPages pages_;
  Buffer staging_;
};

TEST_F(WeightTest, FusesParts) {
  const StoredTensor q = stored("q", StorageFormat::kQ4_1, {70, 64});
  const StoredTensor k = stored("k", StorageFormat::kQ4_1, {10, 64});
  const StoredTensor* const parts[] = {&q, &k};
  const auto weight = load_weight(*launcher_, pages_, parts, staging_);
  ASSERT_TRUE(weight) << weight.error().message;
  EXPECT_EQ(weight->n, 80);
  EXPECT_EQ(weight->k, 64);
  EXPECT_EQ(weight->codes.bytes(), 96u * 64 / 2);
  EXPECT_EQ(weight->scales.bytes(), 96u * 2 * 2);
  EXPECT_EQ(weight->mins.bytes(), 96u * 2 * 2);
  EXPECT_THAT(pages_.released, ElementsAre("q", "k"));
  EXPECT_THAT(variants(),
              ElementsAre("repack_blocks(format=3,block=32,block_bytes=20,bits=4,code_dtype=u8,"
                          "group=32,scale_dtype=f16,has_min=1,k=64)"));
}

TEST_F(WeightTest, EveryFormatHasARepackKernel) {
  for (int index = 0; index < kNumStorageFormats; ++index) {
    const auto format = static_cast<StorageFormat>(index);
    const StoredTensor tensor = stored("w", format, {33, 256});
    const StoredTensor* const parts[] = {&tensor};
    const auto weight = load_weight(*launcher_, pages_, parts, staging_);
    ASSERT_TRUE(weight) << storage_info(format).name << ": " << weight.error().message;
    EXPECT_EQ(weight->format, plane_format(format, launcher_->target()));
  }
  // One for both kinds of e4m3.
  EXPECT_EQ(variants().size(), static_cast<size_t>(kNumStorageFormats) - 1);
}

// e4m3 codes with `rows` x `columns` scales.
StoredTensor with_scales(StoredTensor tensor, StorageFormat format, int64_t rows, int64_t columns,
                         std::span<const std::byte> bytes) {
  tensor.scales = {
      .format = format,
      .rows = rows,
      .columns = columns,
      .bytes = bytes.first(static_cast<size_t>(rows * columns) * storage_info(format).block_bytes)};
  return tensor;
}

TEST_F(WeightTest, ScalesOfRowsAndOfWholeTensorsBecomeAPlane) {
  const std::vector<std::byte> scales(1024);
  const auto part = [&](int64_t n, int64_t rows) {
    return with_scales(stored("w", StorageFormat::kF8E4M3, {n, 64}), StorageFormat::kBF16, rows, 1,
                       scales);
  };
  const StoredTensor q = part(36, 36), k = part(10, 10), whole = part(36, 1), odd = part(9, 9);
  const StoredTensor* const by_row[] = {&q, &k};
  ASSERT_TRUE(can_fuse(by_row));
  const auto weight = load_weight(*launcher_, pages_, by_row, staging_);
  ASSERT_TRUE(weight) << weight.error().message;
  EXPECT_EQ(weight->codes.bytes(), 64u * 64);
  EXPECT_EQ(weight->scales.bytes(), 46u * 4);
  EXPECT_THAT(variants(), ElementsAre("convert(x_dtype=bf16,out_dtype=f32)", "repack_bytes(k=64)"));
  const StoredTensor* const mixed[] = {&whole, &k};
  EXPECT_FALSE(can_fuse(mixed));
  const StoredTensor* const unaligned[] = {&odd, &k};
  EXPECT_FALSE(can_fuse(unaligned));
  const StoredTensor* const of_all[] = {&whole};
  ASSERT_TRUE(load_weight(*launcher_, pages_, of_all, staging_));
  EXPECT_THAT(variants(), ::testing::Contains("fill(dtype=f32)"));
}

TEST_F(WeightTest, BlocksFuseWhereTheyEndWithTheirPart) {
  const std::vector<std::byte> scales(1024);
  const auto part = [&](int64_t n) {
    return with_scales(stored("w", StorageFormat::kF8E4M3Block, {n, 200}), StorageFormat::kF32,
                       (n + 127) / 128, 2, scales);
  };
  const StoredTensor q = part(256), k = part(100);
  const StoredTensor* const fits[] = {&q, &k};
  ASSERT_TRUE(can_fuse(fits));
  const auto weight = load_weight(*launcher_, pages_, fits, staging_);
  ASSERT_TRUE(weight) << weight.error().message;
  EXPECT_EQ(weight->scales.bytes(), 3u * 2 * 4);
  const StoredTensor* const shifted[] = {&k, &q};
  EXPECT_FALSE(can_fuse(shifted));
}

TEST_F(WeightTest, RefusesScalesThatAreNoNumbers) {
  auto device = create_device("cpu", {.num_threads = 1});
  ASSERT_TRUE(device) << device.error().message;
  Launcher launcher(**device, nullptr);
  Buffer staging;
  const float scales[] = {1.0f, std::numeric_limits<float>::infinity()};
  const StoredTensor tensor =
      with_scales(stored("w", StorageFormat::kF8E4M3, {2, 32}), StorageFormat::kF32, 2, 1,
                  std::as_bytes(std::span(scales)));
  const StoredTensor* const parts[] = {&tensor};
  const auto weight = load_weight(launcher, pages_, parts, staging);
  ASSERT_FALSE(weight);
  EXPECT_EQ(weight.error().message,
            "tensor 'w': scales: row 1: found a NaN or infinite element, expected finite numbers");
}

TEST_F(WeightTest, CodesHaveTheSignsThatTheTargetWants) {
  for (const auto& [target, variant] :
       {std::pair{"cpu:znver4", "code_dtype=u8"}, std::pair{"cpu:x86-64-v3", "code_dtype=i8"},
        std::pair{"cpu:neoverse-n1", "code_dtype=i8"}, std::pair{"cuda:90", "code_dtype=i8"}}) {
    auto device = create_device("null", {.target = target});
    ASSERT_TRUE(device) << device.error().message;
    Launcher launcher(**device, nullptr);
    const StoredTensor tensor = stored("w", StorageFormat::kQ8_0, {33, 64});
    const StoredTensor* const parts[] = {&tensor};
    Buffer staging;
    const auto weight = load_weight(launcher, pages_, parts, staging);
    ASSERT_TRUE(weight) << weight.error().message;
    EXPECT_EQ(weight->format.zero, weight->format.code_dtype == DType::kU8 ? 128 : 0);
    const KernelVariant repack = launcher.variants().front();
    EXPECT_THAT(variant_text(*repack.decl, repack.key), ::testing::HasSubstr(variant)) << target;
  }
}

TEST_F(WeightTest, ScalesAreInPairsWhereAnInstructionMultipliesThem) {
  struct Expected {
    const char* target;
    StorageFormat format;
    int64_t k;
    bool pairs;
  };
  for (const auto& [target, format, k, pairs] : {
           Expected{"cpu:znver4", StorageFormat::kQ4_0, 576, true},
           Expected{"cpu:znver4", StorageFormat::kQ4_1, 576, true},
           Expected{"cpu:znver4", StorageFormat::kQ4_K, 512, true},
           Expected{"cpu:znver4", StorageFormat::kQ8_0, 576, true},
           Expected{"cpu:znver4", StorageFormat::kQ5_0, 576, false},  // signed codes
           Expected{"cpu:znver4", StorageFormat::kQ5_1, 576, false},  // minima, of 8-bit codes
           Expected{"cpu:znver4", StorageFormat::kQ6_K, 512, false},  // groups of 16
           Expected{"cpu:znver4", StorageFormat::kQ4_0, 96, false},   // an odd number of groups
           Expected{"cpu:znver4", StorageFormat::kBF16, 64, false},
           Expected{"cpu:x86-64-v3", StorageFormat::kQ4_0, 576, false},
           Expected{"cuda:90", StorageFormat::kQ4_0, 576, false},
       }) {
    auto device = create_device("null", {.target = target});
    ASSERT_TRUE(device) << device.error().message;
    Launcher launcher(**device, nullptr);
    const StoredTensor tensor = stored("w", format, {70, k});
    const StoredTensor* const parts[] = {&tensor};
    Buffer staging;
    auto weight = load_weight(launcher, pages_, parts, staging);
    ASSERT_TRUE(weight) << weight.error().message;
    const std::string label = fmt::format("{} {} {}", target, storage_info(format).name, k);
    ASSERT_EQ(takes_pairs(launcher, *weight), pairs) << label;
    EXPECT_FALSE(weight->paired()) << label;
    if (!pairs) continue;
    const uint64_t before = weight->bytes();
    ASSERT_TRUE(pair_scales(launcher, *weight)) << label;
    EXPECT_TRUE(weight->paired()) << label;
    const uint64_t row = 96u * 4;
    const auto rows = static_cast<uint64_t>(k) / 64;
    EXPECT_EQ(weight->pairs.scales.bytes(), row * (rows + 1)) << label;  // with units
    EXPECT_EQ(weight->pairs.mins.bytes(), weight->format.has_min ? row * rows : 0) << label;
    EXPECT_EQ(weight->bytes(), before + weight->pairs.bytes()) << label;
  }
}

TEST_F(WeightTest, UnquantisedStaysAsStoredOnGpus) {
  auto device = create_device("null", {.target = "cuda:90"});
  ASSERT_TRUE(device) << device.error().message;
  Launcher launcher(**device, nullptr);
  const StoredTensor q = stored("q", StorageFormat::kBF16, {33, 70});
  const StoredTensor k = stored("k", StorageFormat::kBF16, {10, 70});
  const StoredTensor* const parts[] = {&q, &k};
  Buffer staging;
  const auto weight = load_weight(launcher, pages_, parts, staging);
  ASSERT_TRUE(weight) << weight.error().message;
  EXPECT_TRUE(weight->by_rows);
  EXPECT_EQ(weight->codes.bytes(), 43u * 70 * 2);
  EXPECT_THAT(pages_.released, ElementsAre("q", "k"));
  EXPECT_TRUE(launcher.variants().empty());
}

TEST_F(WeightTest, VectorsBecomeF32) {
  const StoredTensor a = stored("a", StorageFormat::kBF16, {6});
  const StoredTensor b = stored("b", StorageFormat::kBF16, {3});
  const StoredTensor* const parts[] = {&a, &b};
  const auto vector = load_vector_f32(*launcher_, pages_, parts);
  ASSERT_TRUE(vector) << vector.error().message;
  EXPECT_EQ(vector->bytes(), 9 * sizeof(float));
  EXPECT_THAT(variants(), ElementsAre("convert(x_dtype=bf16,out_dtype=f32)"));

  const StoredTensor c = stored("c", StorageFormat::kF32, {3});
  const StoredTensor* const mixed[] = {&a, &c};
  const auto refused = load_vector_f32(*launcher_, pages_, mixed);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "tensor 'c': found format F32, expected BF16 as tensor 'a'");
}

// The file is read on a real device only, and what it holds is looked at before it is uploaded.
TEST_F(WeightTest, RefusesNaN) {
  auto device = create_device("cpu", {.num_threads = 1});
  ASSERT_TRUE(device) << device.error().message;
  Launcher launcher(**device, nullptr);
  StoredTensor tensor = stored("w", StorageFormat::kQ4_1, {3, 32});
  tensor.file_name = "blk.0.w";
  storage_.back()[2 * 20 + 1] = std::byte{0x7e};  // the scale of row 2
  const StoredTensor* const parts[] = {&tensor};
  Buffer staging;
  const auto weight = load_weight(launcher, pages_, parts, staging);
  ASSERT_FALSE(weight);
  EXPECT_EQ(weight.error().message,
            "tensor 'blk.0.w': row 2: found a NaN or infinite scale, expected finite numbers");

  const StoredTensor norm = stored("n", StorageFormat::kBF16, {2});
  storage_.back()[3] = std::byte{0xff};
  storage_.back()[2] = std::byte{0x80};  // -infinity
  const StoredTensor* const norms[] = {&norm};
  const auto vector = load_vector_f32(launcher, pages_, norms);
  ASSERT_FALSE(vector);
  EXPECT_EQ(vector.error().message,
            "tensor 'n': row 0: found a NaN or infinite element, expected finite numbers");
}

}  // namespace
}  // namespace nereid::quant
