// Uploading in bounded pieces and launching the repack kernels.
#include "src/quant/weight.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "src/base/check.h"
#include "src/device/target.h"
#include "src/quant/dummy_weight.h"
#include "src/quant/weight_scales.h"

namespace nereid::quant {
namespace {

constexpr uint64_t kStagingBytes = uint64_t{4} << 20;
constexpr uint64_t kWord = 4;

bool reads_files(const Launcher& launcher) {
  return launcher.device().info().computes;
}

bool is_block_format(StorageFormat format) {
  return storage_info(format).block_elements > 1;
}

// Repacks `rows` raw rows at `raw` to rows [row_offset, row_offset + rows) of the planes.
Status repack(Launcher& launcher, StorageFormat storage, DevicePtr raw, const Weight& weight,
              int32_t rows, int32_t row_offset) {
  const StorageInfo& info = storage_info(storage);
  if (is_float8(storage)) {
    return launcher.launch<kernels::RepackBytes>(
        {.k = weight.k},
        {.raw = raw, .codes = weight.codes.ptr(), .rows = rows, .row_offset = row_offset});
  }
  if (!is_block_format(storage)) {
    return launcher.launch<kernels::RepackDense>(
        {.dtype = weight.format.code_dtype, .k = weight.k},
        {.raw = raw, .codes = weight.codes.ptr(), .rows = rows, .row_offset = row_offset});
  }
  return launcher.launch<kernels::RepackBlocks>({.format = info.gguf_type,
                                                 .block = info.block_elements,
                                                 .block_bytes = info.block_bytes,
                                                 .bits = weight.format.bits,
                                                 .code_dtype = weight.format.code_dtype,
                                                 .group = weight.format.group,
                                                 .scale_dtype = weight.format.scale_dtype,
                                                 .has_min = weight.format.has_min ? 1 : 0,
                                                 .k = weight.k},
                                                {.raw = raw,
                                                 .codes = weight.codes.ptr(),
                                                 .scales = weight.scales.ptr(),
                                                 .mins = weight.mins.ptr(),
                                                 .rows = rows,
                                                 .row_offset = row_offset});
}

Status repack_part(Launcher& launcher, const TensorPages& pages, const StoredTensor& part,
                   const Buffer& staging, const Weight& weight, int64_t row_offset) {
  const StoredRows stored = stored_rows(part);
  const auto piece = static_cast<int64_t>(staging.bytes() / stored.row_bytes);
  for (int64_t first = 0; first < stored.rows; first += piece) {
    const int64_t rows = std::min(piece, stored.rows - first);
    if (reads_files(launcher)) {
      NEREID_RETURN_IF_ERROR(pages.check(part, first, rows));
    }
    const auto raw = part.bytes.subspan(static_cast<uint64_t>(first) * stored.row_bytes,
                                        static_cast<uint64_t>(rows) * stored.row_bytes);
    NEREID_RETURN_IF_ERROR(launcher.device().upload(staging.ptr(), raw));
    NEREID_RETURN_IF_ERROR(repack(launcher, part.format, staging.ptr(), weight,
                                  static_cast<int32_t>(rows),
                                  static_cast<int32_t>(row_offset + first)));
  }
  return {};
}

// The stored rows as rows [row_offset, ...) of the weight.
Status upload_part(Launcher& launcher, const TensorPages& pages, const StoredTensor& part,
                   const Weight& weight, int64_t row_offset) {
  const StoredRows stored = stored_rows(part);
  const auto piece = std::max<int64_t>(1, static_cast<int64_t>(kStagingBytes / stored.row_bytes));
  for (int64_t first = 0; first < stored.rows; first += piece) {
    const int64_t rows = std::min(piece, stored.rows - first);
    if (reads_files(launcher)) {
      NEREID_RETURN_IF_ERROR(pages.check(part, first, rows));
    }
    NEREID_RETURN_IF_ERROR(launcher.device().upload(
        weight.codes.ptr() + static_cast<uint64_t>(row_offset + first) * stored.row_bytes,
        part.bytes.subspan(static_cast<uint64_t>(first) * stored.row_bytes,
                           static_cast<uint64_t>(rows) * stored.row_bytes)));
  }
  return {};
}

Result<Weight> make_planes(Launcher& launcher, StorageFormat storage, int64_t n, int64_t k) {
  Device& device = launcher.device();
  Weight weight;
  weight.format = plane_format(storage, launcher.target());
  weight.n = n;
  weight.k = k;
  weight.by_rows = !weight.format.has_integer_codes() && target_is_gpu(device.info().target);
  PlaneBytes bytes = plane_bytes(weight.format, n, k);
  if (weight.by_rows) {
    bytes.codes = static_cast<uint64_t>(n * k) * dtype_size(weight.format.code_dtype);
    bytes.codes = (bytes.codes + kWord - 1) / kWord * kWord;  // made-up weights are filled by words
  }
  NEREID_TRY(weight.codes, Buffer::alloc(device, bytes.codes));
  if (bytes.scales > 0) {
    NEREID_TRY(weight.scales, Buffer::alloc(device, bytes.scales));
  }
  if (bytes.mins > 0) {
    NEREID_TRY(weight.mins, Buffer::alloc(device, bytes.mins));
  }
  return weight;
}

}  // namespace

Result<Weight> load_weight(Launcher& launcher, const TensorPages& pages,
                           std::span<const StoredTensor* const> parts, Buffer& staging) {
  NEREID_CHECK(!parts.empty(), "a weight of no tensors");
  const StorageFormat storage = parts[0]->format;
  const int64_t k = stored_rows(*parts[0]).columns;
  int64_t n = 0;
  uint64_t largest = 0, row_bytes = 0;
  for (const StoredTensor* part : parts) {
    const StoredRows stored = stored_rows(*part);
    NEREID_CHECK(part->format == storage && stored.columns == k, "{} and {} cannot be fused",
                 parts[0]->name, part->name);
    n += stored.rows;
    row_bytes = stored.row_bytes;
    largest = std::max(largest, stored_bytes(*part));
  }
  NEREID_CHECK(n <= INT32_MAX, "{} rows", n);
  NEREID_TRY_CONTEXT(Weight weight, make_planes(launcher, storage, n, k), parts[0]->text());
  if (parts[0]->dummy) {
    NEREID_RETURN_IF_ERROR(fill_dummy_weight(launcher, parts, weight));
    return weight;
  }
  if (is_float8(storage)) {
    NEREID_RETURN_IF_ERROR(load_scales(launcher, parts, weight));
  }
  const uint64_t staging_bytes = std::max(std::min(kStagingBytes, largest), row_bytes);
  if (!weight.by_rows && staging.bytes() < staging_bytes) {
    NEREID_TRY_CONTEXT(staging, Buffer::alloc(launcher.device(), staging_bytes), parts[0]->text());
  }
  int64_t row_offset = 0;
  for (const StoredTensor* part : parts) {
    const Status status = weight.by_rows
                              ? upload_part(launcher, pages, *part, weight, row_offset)
                              : repack_part(launcher, pages, *part, staging, weight, row_offset);
    if (!status) return with_context(status.error(), part->text());
    row_offset += stored_rows(*part).rows;
    pages.release(*part);
  }
  return weight;
}

Result<Buffer> load_vector_f32(Launcher& launcher, const TensorPages& pages,
                               std::span<const StoredTensor* const> parts) {
  NEREID_CHECK(!parts.empty(), "a vector of no tensors");
  if (parts[0]->dummy) return make_dummy_vector(launcher, parts);
  const StorageFormat storage = parts[0]->format;
  NEREID_CHECK(is_plain(storage), "vector {} is quantised", parts[0]->name);
  uint64_t total_bytes = 0;
  for (const StoredTensor* part : parts) {
    if (part->format != storage) {
      return error("{}: found format {}, expected {} as {}", part->text(),
                   storage_info(part->format).name, storage_info(storage).name, parts[0]->text());
    }
    total_bytes += part->bytes.size();
  }
  Device& device = launcher.device();
  const std::string context = parts[0]->text();
  NEREID_TRY_CONTEXT(Buffer stored, Buffer::alloc(device, total_bytes), context);
  uint64_t offset = 0;
  for (const StoredTensor* part : parts) {
    const StoredRows rows = stored_rows(*part);
    if (reads_files(launcher)) {
      const Status finite = pages.check(*part, 0, rows.rows);
      if (!finite) return with_context(finite.error(), part->text());
    }
    NEREID_RETURN_IF_ERROR(device.upload(stored.ptr() + offset, part->bytes));
    offset += part->bytes.size();
    pages.release(*part);
  }
  if (storage == StorageFormat::kF32) return stored;
  const auto count = static_cast<int64_t>(total_bytes / storage_info(storage).block_bytes);
  NEREID_TRY_CONTEXT(Buffer out,
                     Buffer::alloc(device, static_cast<uint64_t>(count) * sizeof(float)), context);
  NEREID_RETURN_IF_ERROR(launcher.launch<kernels::Convert>(
      {.x_dtype = plane_format(storage).code_dtype, .out_dtype = DType::kF32},
      {.x = stored.ptr(), .out = out.ptr(), .count = count}));
  return out;
}

}  // namespace nereid::quant
