// Views and buffers over the null and cpu drivers.
#include "src/tensor/tensor.h"

#include <gtest/gtest.h>

#include <vector>

#include "src/device/drivers.h"

namespace nereid {
namespace {

TEST(Shape, ElementsAndText) {
  const Shape shape{4, 3, 2};
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.row_elements(), 6);
  EXPECT_EQ(shape[-1], 2);
  EXPECT_EQ(shape.text(), "[4, 3, 2]");
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{0, 5}).elements(), 0);
}

TEST(ShapeDeath, Bugs) {
  EXPECT_DEATH((Shape{1, -2}), "dimension -2");
  EXPECT_DEATH((Shape{int64_t{1} << 40, int64_t{1} << 40}), "too many elements");
  EXPECT_DEATH((Shape{1, 2})[2], "dimension 2 of \\[1, 2\\]");
}

TEST(Tensor, RowsColumnsReshape) {
  const Tensor all(DType::kBF16, {8, 10}, 4096);
  EXPECT_TRUE(all.dense());
  EXPECT_EQ(all.bytes(), 160u);
  const Tensor rows = all.rows(2, 3);
  EXPECT_EQ(rows.ptr(), 4096u + 2 * 10 * 2);
  EXPECT_EQ(rows.shape(), (Shape{3, 10}));
  const Tensor columns = all.columns(4, 6);
  EXPECT_EQ(columns.ptr(), 4096u + 4 * 2);
  EXPECT_FALSE(columns.dense());
  EXPECT_EQ(columns.row_stride(), 10);
  EXPECT_EQ(columns.bytes(), (7 * 10 + 6) * 2u);
  EXPECT_EQ(columns.rows(1, 1).ptr(), 4096u + 14 * 2);
  EXPECT_EQ(all.reshape({2, 4, 10}).dim(2), 10);
  EXPECT_EQ(all.rows(8, 0).bytes(), 0u);
  EXPECT_EQ(all.text(), "bf16 [8, 10]");
}

TEST(TensorDeath, Bugs) {
  const Tensor all(DType::kF32, {8, 10}, 4096);
  EXPECT_DEATH(all.rows(6, 3), "rows 6 \\+ 3 of f32 \\[8, 10\\]");
  EXPECT_DEATH(all.columns(9, 2), "columns 9 \\+ 2");
  EXPECT_DEATH(all.columns(0, 5).reshape({40}), "f32 \\[8, 5\\] as \\[40\\]");
}

TEST(Buffer, FreesAndMoves) {
  auto device = create_device("null");
  ASSERT_TRUE(device.has_value()) << device.error().message;
  auto buffer = Buffer::alloc(**device, 100);
  ASSERT_TRUE(buffer.has_value());
  const DevicePtr pointer = buffer->ptr();
  Buffer moved = std::move(*buffer);
  EXPECT_FALSE(*buffer);
  EXPECT_EQ(moved.ptr(), pointer);
  moved = Buffer();
  // Freed exactly once: the null driver would abort on a second time.
  EXPECT_DEATH((*device)->free(pointer), "not allocated here, or is free already");
}

TEST(Tensor, UploadAndDownload) {
  auto device = create_device("cpu", {.num_threads = 1});
  ASSERT_TRUE(device.has_value()) << device.error().message;
  auto owned = OwnedTensor::alloc(**device, DType::kI32, {2, 3});
  ASSERT_TRUE(owned.has_value());
  const std::vector<int32_t> values = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(upload_values<int32_t>(**device, owned->tensor, values).has_value());
  EXPECT_EQ(*download_values<int32_t>(**device, owned->tensor), values);
  EXPECT_EQ(*download_values<int32_t>(**device, owned->tensor.rows(1, 1)),
            (std::vector<int32_t>{4, 5, 6}));
}

}  // namespace
}  // namespace nereid
