// Reference dequantisation against values of the `gguf` Python package, and sizes of planes.
#include "src/quant/format.h"

#include <gtest/gtest.h>

#include <bit>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/json.h"
#include "src/base/mapped_file.h"

namespace nereid::quant {
namespace {

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> out;
  for (size_t at = 0; at + 1 < hex.size(); at += 2) {
    out.push_back(static_cast<std::byte>(std::stoi(hex.substr(at, 2), nullptr, 16)));
  }
  return out;
}

std::vector<StoredTensor> all_formats_of(int64_t columns) {
  std::vector<StoredTensor> out;
  for (int index = 0; index < kNumStorageFormats; ++index) {
    out.push_back(
        {.name = "t", .format = static_cast<StorageFormat>(index), .shape = {2, columns}});
  }
  return out;
}

TEST(Dequantise, GivesTheValuesOfTheReferenceImplementation) {
  const auto file = MappedFile::open(NEREID_SOURCE_DIR "/tests/quant/blocks.json");
  ASSERT_TRUE(file) << file.error().message;
  const auto golden = parse_json(
      {reinterpret_cast<const char*>(file->bytes().data()), static_cast<size_t>(file->size())});
  ASSERT_TRUE(golden) << golden.error().message;
  int compared = 0;
  for (const auto& entry : golden->at("formats")) {
    const auto name = entry.at("format").get<std::string>();
    const auto stored = from_hex(entry.at("stored"));
    const auto expected = from_hex(entry.at("values"));
    for (int index = 0; index < kNumStorageFormats; ++index) {
      const StorageInfo& info = storage_info(static_cast<StorageFormat>(index));
      if (info.name != name) continue;
      std::vector<float> values(expected.size() / sizeof(float));
      const StoredTensor tensor{.name = name,
                                .format = info.format,
                                .shape = {static_cast<int64_t>(values.size())},
                                .bytes = stored};
      dequantise(tensor, values);
      for (size_t at = 0; at < values.size(); ++at) {
        float wanted;
        std::memcpy(&wanted, expected.data() + at * sizeof(float), sizeof wanted);
        ASSERT_EQ(values[at], wanted) << name << " element " << at;
      }
      EXPECT_TRUE(check_finite(tensor, 0, 1)) << name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 8);
}

TEST(Dequantise, UnquantisedElements) {
  const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x7bff};  // 1, -2, 2^-24, 65504 as f16
  const StoredTensor f16{.name = "t",
                         .format = StorageFormat::kF16,
                         .shape = {4},
                         .bytes = std::as_bytes(std::span(halves))};
  std::vector<float> values(4);
  dequantise(f16, values);
  EXPECT_EQ(values, (std::vector<float>{1.0f, -2.0f, 0x1p-24f, 65504.0f}));
  const uint16_t brains[] = {0x3f80, 0xc000, 0x0001};  // 1, -2, 2^-133
  const StoredTensor bf16{.name = "t",
                          .format = StorageFormat::kBF16,
                          .shape = {3},
                          .bytes = std::as_bytes(std::span(brains))};
  values.resize(3);
  dequantise(bf16, values);
  EXPECT_EQ(values, (std::vector<float>{1.0f, -2.0f, 0x1p-133f}));
}

// Bytes of one block with an f16 or element NaN or infinity at a given place are refused; the row
// is named.
TEST(CheckFinite, NamesTheRow) {
  struct Place {
    StorageFormat format;
    size_t offset;  // of the f16 (or the upper half of an f32) in the block
  };
  const Place places[] = {
      {StorageFormat::kF32, 2},  {StorageFormat::kF16, 0},  {StorageFormat::kBF16, 0},
      {StorageFormat::kQ4_0, 0}, {StorageFormat::kQ4_1, 0}, {StorageFormat::kQ4_1, 2},
      {StorageFormat::kQ5_0, 0}, {StorageFormat::kQ5_1, 0}, {StorageFormat::kQ5_1, 2},
      {StorageFormat::kQ8_0, 0}, {StorageFormat::kQ4_K, 0}, {StorageFormat::kQ4_K, 2},
      {StorageFormat::kQ5_K, 0}, {StorageFormat::kQ5_K, 2}, {StorageFormat::kQ6_K, 208},
  };
  for (const auto& [format, offset] : places) {
    const StorageInfo& info = storage_info(format);
    std::vector<std::byte> bytes(size_t{3} * info.block_bytes);
    const StoredTensor tensor{.name = "t",
                              .format = format,
                              .shape = {3, static_cast<int64_t>(info.block_elements)},
                              .bytes = bytes};
    EXPECT_TRUE(check_finite(tensor, 0, 3));
    for (const std::byte top : {std::byte{0x7f}, std::byte{0xff}}) {
      bytes[info.block_bytes + offset] = std::byte{0xc0};
      bytes[info.block_bytes + offset + 1] = top;  // NaN in f16, bf16 and f32
      const Status status = check_finite(tensor, 0, 3);
      ASSERT_FALSE(status) << info.name;
      EXPECT_EQ(status.error().message,
                fmt::format("row 1: found a NaN or infinite {}, expected finite numbers",
                            info.block_elements == 1 ? "element" : "scale"));
    }
    EXPECT_TRUE(check_finite(tensor, 0, 1)) << info.name;
    EXPECT_TRUE(check_finite(tensor, 2, 1)) << info.name;
  }
}

TEST(PlaneBytes, OfEveryFormat) {
  struct Row {
    StorageFormat format;
    PlaneBytes bytes;  // of a weight [33, 256]: 64 rows after rounding up
  };
  const Row rows[] = {
      {StorageFormat::kF32, {65536, 0, 0}},         {StorageFormat::kF16, {32768, 0, 0}},
      {StorageFormat::kBF16, {32768, 0, 0}},        {StorageFormat::kQ4_0, {8192, 1024, 0}},
      {StorageFormat::kQ4_1, {8192, 1024, 1024}},   {StorageFormat::kQ5_0, {16384, 1024, 0}},
      {StorageFormat::kQ5_1, {16384, 1024, 1024}},  {StorageFormat::kQ8_0, {16384, 1024, 0}},
      {StorageFormat::kQ4_K, {8192, 2048, 2048}},   {StorageFormat::kQ5_K, {16384, 2048, 2048}},
      {StorageFormat::kQ6_K, {16384, 4096, 0}},     {StorageFormat::kF8E4M3, {16384, 132, 0}},
      {StorageFormat::kF8E4M3Block, {16384, 8, 0}},
  };
  for (const auto& [format, expected] : rows) {
    const PlaneBytes found = plane_bytes(plane_format(format), 33, 256);
    EXPECT_EQ(found.codes, expected.codes) << storage_info(format).name;
    EXPECT_EQ(found.scales, expected.scales) << storage_info(format).name;
    EXPECT_EQ(found.mins, expected.mins) << storage_info(format).name;
  }
  // Unquantised columns are rounded up to 32.
  EXPECT_EQ(plane_bytes(plane_format(StorageFormat::kF32), 1, 33).codes, 32u * 64 * 4);
}

std::vector<float> dequantised(const StoredTensor& tensor) {
  std::vector<float> values(tensor.bytes.size());
  dequantise(tensor, values);
  return values;
}

TEST(Float8, IsACodeTimesItsScale) {
  // 1, -2, the smallest number, the largest one, -0.9375, 1.125
  const std::byte codes[] = {std::byte{0x38}, std::byte{0xc0}, std::byte{0x01},
                             std::byte{0x7e}, std::byte{0xb7}, std::byte{0x39}};
  StoredTensor tensor{
      .name = "w", .format = StorageFormat::kF8E4M3, .shape = {2, 3}, .bytes = codes};
  const float one[] = {2.0f};
  tensor.scales = {.rows = 1, .columns = 1, .bytes = std::as_bytes(std::span(one))};
  EXPECT_EQ(dequantised(tensor), (std::vector{2.0f, -4.0f, 0.00390625f, 896.0f, -1.875f, 2.25f}));
  const uint16_t rows[] = {0x3f80, 0xbf00};  // bf16: 1, -0.5
  tensor.scales = {.format = StorageFormat::kBF16,
                   .rows = 2,
                   .columns = 1,
                   .bytes = std::as_bytes(std::span(rows))};
  EXPECT_EQ(dequantised(tensor),
            (std::vector{1.0f, -2.0f, 0.001953125f, -224.0f, 0.46875f, -0.5625f}));
}

TEST(Float8, BlocksHaveScalesOfTheirOwn) {
  const std::vector<std::byte> codes(size_t{129} * 130, std::byte{0x38});
  const float scales[] = {1, 2, 3, 4};
  const StoredTensor tensor{
      .name = "w",
      .format = StorageFormat::kF8E4M3Block,
      .shape = {129, 130},
      .bytes = codes,
      .scales = {.rows = 2, .columns = 2, .bytes = std::as_bytes(std::span(scales))}};
  const std::vector<float> values = dequantised(tensor);
  EXPECT_EQ(values[127 * 130 + 127], 1.0f);
  EXPECT_EQ(values[127 * 130 + 128], 2.0f);
  EXPECT_EQ(values[128 * 130 + 127], 3.0f);
  EXPECT_EQ(values[128 * 130 + 128], 4.0f);
}

TEST(Float8, NaNIsFound) {
  std::vector<std::byte> codes(4, std::byte{0x7e});
  const StoredTensor tensor{
      .name = "w", .format = StorageFormat::kF8E4M3, .shape = {2, 2}, .bytes = codes};
  EXPECT_TRUE(check_finite(tensor, 0, 2));
  codes[3] = std::byte{0xff};
  EXPECT_EQ(check_finite(tensor, 0, 2).error().message,
            "row 1: found a NaN or infinite element, expected finite numbers");
}

TEST(StorageBytes, RefusesWhatCannotBe) {
  const auto bytes = [](StorageFormat format, std::vector<int64_t> shape) {
    return storage_bytes(format, shape);
  };
  EXPECT_EQ(bytes(StorageFormat::kQ4_1, {576, 1536}).value(), 552960u);
  EXPECT_EQ(bytes(StorageFormat::kQ4_1, {3, 33}).error().message,
            "row length: found 33, expected a multiple of 32 (Q4_1 blocks)");
  EXPECT_EQ(bytes(StorageFormat::kF32, {4, 0}).error().message,
            "dimension: found 0, expected at least 1");
  EXPECT_EQ(bytes(StorageFormat::kF32, {int64_t{1} << 40, int64_t{1} << 40}).error().message,
            "dimensions multiply past 2^62 elements");
  EXPECT_EQ(bytes(StorageFormat::kF32, {int64_t{1} << 31, int64_t{1} << 31}).error().message,
            "tensor is larger than 2^62 bytes");
}

TEST(StoredRows, OfEveryFormat) {
  for (StoredTensor& tensor : all_formats_of(512)) {
    const uint64_t bytes = storage_bytes(tensor.format, tensor.shape).value();
    const std::vector<std::byte> storage(bytes);
    tensor.bytes = storage;
    const StoredRows rows = stored_rows(tensor);
    EXPECT_EQ(rows.rows, 2);
    EXPECT_EQ(rows.columns, 512);
    EXPECT_EQ(rows.row_bytes * 2, bytes);
  }
}

}  // namespace
}  // namespace nereid::quant
