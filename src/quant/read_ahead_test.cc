// Reading ahead gives what checking on the spot gives, in any order, and ends at once.
#include "src/quant/read_ahead.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "src/quant/format.h"
#include "src/quant/testing/counting_pages.h"

namespace nereid::quant {
namespace {

class ReadAheadTest : public ::testing::Test {
 protected:
  // f32 [rows, columns] of zeros.
  const StoredTensor& add(const std::string& name, int64_t rows, int64_t columns) {
    storage_.push_back(std::make_unique<std::vector<std::byte>>(
        static_cast<size_t>(rows * columns) * sizeof(float)));
    tensors_.push_back(std::make_unique<StoredTensor>(StoredTensor{.name = name,
                                                                   .format = StorageFormat::kF32,
                                                                   .shape = {rows, columns},
                                                                   .bytes = *storage_.back()}));
    order_.push_back(tensors_.back().get());
    return *tensors_.back();
  }
  // An infinity at the start of a row of the tensor added last.
  void break_row(int64_t row) {
    const uint32_t infinity = 0x7f800000;
    const uint64_t row_bytes = stored_rows(*tensors_.back()).row_bytes;
    std::memcpy(storage_.back()->data() + static_cast<uint64_t>(row) * row_bytes, &infinity,
                sizeof(infinity));
  }

  std::vector<std::unique_ptr<std::vector<std::byte>>> storage_;
  std::vector<std::unique_ptr<StoredTensor>> tensors_;
  std::vector<const StoredTensor*> order_;
  CountingPages pages_;
};

constexpr int64_t kWide = 1 << 18;  // columns: 1 MiB a row, 4 rows a piece

TEST_F(ReadAheadTest, GivesEveryRow) {
  for (const int threads : {0, 1, 3}) {
    for (int tensor = 0; tensor < 20; ++tensor)
      add(fmt::format("t{}", tensor), tensor % 7 + 1, 1000);
    add("wide", 13, kWide);
    const ReadAhead ahead(pages_, order_, threads);
    for (const StoredTensor* tensor : order_) {
      const int64_t rows = stored_rows(*tensor).rows;
      for (int64_t first = 0; first < rows; first += 3) {
        EXPECT_TRUE(ahead.check(*tensor, first, std::min<int64_t>(3, rows - first)));
      }
      EXPECT_TRUE(ahead.check(*tensor, rows, 0));
      ahead.release(*tensor);
    }
    EXPECT_EQ(pages_.released.size(), order_.size());
    EXPECT_EQ(pages_.released.back(), "wide");
    pages_.released.clear();
  }
}

TEST_F(ReadAheadTest, ErrorsNameTheRow) {
  const StoredTensor& good = add("good", 3, 10);
  const StoredTensor& bad = add("bad", 9, kWide);
  break_row(6);
  for (const int threads : {0, 2}) {
    const ReadAhead ahead(pages_, order_, threads);
    EXPECT_TRUE(ahead.check(good, 0, 3));
    EXPECT_TRUE(ahead.check(bad, 0, 4));
    EXPECT_EQ(ahead.check(bad, 4, 4).error().message,
              "row 6: found a NaN or infinite element, expected finite numbers");
    EXPECT_TRUE(ahead.check(bad, 8, 1));
  }
}

// More than is read ahead, asked for from the end.
TEST_F(ReadAheadTest, AnotherOrderCostsTimeOnly) {
  std::vector<std::byte> zeros(size_t{64} << 20);
  for (int at = 0; at < 6; ++at) {
    tensors_.push_back(std::make_unique<StoredTensor>(StoredTensor{
        .name = "t", .format = StorageFormat::kF32, .shape = {64, kWide}, .bytes = zeros}));
    order_.push_back(tensors_.back().get());
  }
  static_assert(6 * (uint64_t{64} << 20) > ReadAhead::kAheadBytes);
  const ReadAhead ahead(pages_, order_, 2);
  for (size_t at = order_.size(); at-- > 0;) EXPECT_TRUE(ahead.check(*order_[at], 60, 4));
}

TEST_F(ReadAheadTest, TensorsThatAreNotListedAreReadOnTheSpot) {
  add("listed", 2, 10);
  const ReadAhead ahead(pages_, order_, 1);
  const StoredTensor& other = add("other", 2, 10);
  break_row(1);
  EXPECT_TRUE(ahead.check(other, 0, 1));
  EXPECT_FALSE(ahead.check(other, 0, 2));
}

TEST_F(ReadAheadTest, EndsWhileReading) {
  add("large", 64, kWide);
  for (int round = 0; round < 5; ++round) const ReadAhead ahead(pages_, order_, 3);
}

}  // namespace
}  // namespace nereid::quant
