// Shape arithmetic of Tensor views.
#include "src/tensor/tensor.h"

#include <gtest/gtest.h>

namespace nereid {
namespace {

TEST(Tensor, RowsAdvanceByWholeRows) {
  const Tensor matrix(1000, DType::kBF16, {8, 16});
  const Tensor part = matrix.rows(3, 2);
  EXPECT_EQ(part.ptr(), 1000u + 3 * 16 * 2);
  EXPECT_EQ(part.dim(0), 2);
  EXPECT_EQ(part.describe(), "bf16[2, 16]");
}

TEST(Tensor, ColumnSlicesKeepTheRowStride) {
  const Tensor matrix(4096, DType::kF32, {4, 10});
  const Tensor slice = matrix.columns(6, 4);
  EXPECT_EQ(slice.ptr(), 4096u + 24);
  EXPECT_EQ(slice.row_stride(), 10);
  EXPECT_EQ(slice.rows(2, 1).ptr(), 4096u + 24 + 80);
}

TEST(Tensor, RowsOfHigherRanks) {
  const Tensor cache(0x1000, DType::kF32, {5, 2, 3, 4});
  EXPECT_EQ(cache.rows(1, 1).ptr(), 0x1000u + 24 * 4);
  EXPECT_EQ(cache.num_elements(), 120);
}

TEST(TensorDeathTest, RowsOutOfRangeAreABug) {
  const Tensor matrix(1000, DType::kF32, {8, 16});
  EXPECT_DEATH(matrix.rows(7, 2), "rows \\[7, 9\\) of f32\\[8, 16\\]");
}

}  // namespace
}  // namespace nereid
