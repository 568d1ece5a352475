// See weight_scales.h.
#include "src/quant/weight_scales.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "src/base/check.h"

namespace nereid::quant {
namespace {

constexpr int64_t kAlignedFloats = 4;  // kernels take addresses that are multiples of 16

bool one_for_all(const StoredTensor& part) {
  return part.format == StorageFormat::kF8E4M3 && part.scales.rows == 1 && part.shape[0] > 1;
}

// The scales as a tensor of their own.
StoredTensor scales_of(const StoredTensor& part) {
  return {.name = part.name,
          .format = part.scales.format,
          .shape = {part.scales.rows, part.scales.columns},
          .bytes = part.scales.bytes};
}

// Rows [row, row + rows) of the plane become `value`.
Status fill_rows(Launcher& launcher, const Weight& weight, int64_t row, int64_t rows, float value) {
  return launcher.launch<kernels::Fill>(
      {.dtype = DType::kF32},
      {.out = weight.scales.ptr() + static_cast<uint64_t>(row) * sizeof(float),
       .count = rows,
       .value = value});
}

// Stored scales of all parts, one after the other, are the plane but for their type.
Status convert_all(Launcher& launcher, std::span<const StoredTensor* const> parts,
                   const Weight& weight) {
  Device& device = launcher.device();
  const StorageFormat format = parts[0]->scales.format;
  Buffer staging;
  DevicePtr target = weight.scales.ptr();
  const uint64_t size = storage_info(format).block_bytes;
  if (format != StorageFormat::kF32) {
    NEREID_TRY(staging, Buffer::alloc(device, weight.scales.bytes() / sizeof(float) * size));
    target = staging.ptr();
  }
  for (const StoredTensor* part : parts) {
    NEREID_RETURN_IF_ERROR(device.upload(target, part->scales.bytes));
    target += part->scales.bytes.size();
  }
  if (!staging) return {};
  NEREID_RETURN_IF_ERROR(launcher.launch<kernels::Convert>(
      {.x_dtype = plane_format(format).code_dtype, .out_dtype = DType::kF32},
      {.x = staging.ptr(),
       .out = weight.scales.ptr(),
       .count = static_cast<int64_t>(weight.scales.bytes() / sizeof(float))}));
  return device.synchronize();  // staging goes away
}

}  // namespace

bool can_fuse(std::span<const StoredTensor* const> parts) {
  const StoredTensor& first = *parts[0];
  const bool alike = std::ranges::all_of(parts, [&](const StoredTensor* part) {
    return part->format == first.format && part->scales.format == first.scales.format &&
           one_for_all(*part) == one_for_all(first);
  });
  if (!alike || !is_float8(first.format)) return alike;
  const int64_t unit = first.format == StorageFormat::kF8E4M3Block ? kScaleBlock : kAlignedFloats;
  return std::ranges::all_of(parts.first(parts.size() - 1),
                             [&](const StoredTensor* part) { return part->shape[0] % unit == 0; });
}

Status load_scales(Launcher& launcher, std::span<const StoredTensor* const> parts,
                   const Weight& weight) {
  const bool reads = launcher.device().info().computes;
  int64_t row = 0;
  for (const StoredTensor* part : parts) {
    const StoredTensor scales = scales_of(*part);
    const Status finite = reads ? check_finite(scales, 0, scales.shape[0]) : Status();
    if (!finite) return with_context(finite.error(), part->text() + ": scales");
    if (one_for_all(*part)) {
      float value = 1;
      if (reads) dequantise(scales, {&value, 1});
      NEREID_RETURN_IF_ERROR(fill_rows(launcher, weight, row, part->shape[0], value));
    }
    row += part->shape[0];
  }
  if (one_for_all(*parts[0])) return {};
  return convert_all(launcher, parts, weight);
}

}  // namespace nereid::quant
