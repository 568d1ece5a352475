// See dummy_weight.h.
#include "src/quant/dummy_weight.h"

#include "kernels/kernels.h"

namespace nereid::quant {
namespace {

constexpr float kSpread = 0.035f;  // elements lie in [-kSpread, kSpread)

// FNV-1a: every tensor has numbers of its own.
uint32_t seed_of(const StoredTensor& tensor) {
  uint32_t hash = 2166136261u;
  for (const char c : tensor.name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

// Codes that the format's real weights have too, and what of them is the middle.
struct CodeRange {
  uint32_t mask;
  float middle, half_width;
};
CodeRange code_range(const PlaneFormat& format) {
  if (format.bits == 4) return {0xffffffffu, 7.5f, 7.5f};
  if (format.has_min) return {0x1f1f1f1fu, 15.5f, 15.5f};
  if (format.is_float8()) return {0xbfbfbfbfu, 0, 1.0f};  // below 2: no NaN
  return {0xffffffffu, -0.5f, 127.5f};
}

struct Fill {
  DType dtype;
  uint32_t seed, mask;
  float low, high;
};

Status fill(Launcher& launcher, const Buffer& out, const Fill& what) {
  const auto count = static_cast<int64_t>(out.bytes() / dtype_size(what.dtype));
  return launcher.launch<kernels::RandomFill>({.dtype = what.dtype}, {.out = out.ptr(),
                                                                      .count = count,
                                                                      .seed = what.seed,
                                                                      .mask = what.mask,
                                                                      .low = what.low,
                                                                      .high = what.high});
}

}  // namespace

Status fill_dummy_weight(Launcher& launcher, std::span<const StoredTensor* const> parts,
                         const Weight& weight) {
  const PlaneFormat& format = weight.format;
  const uint32_t seed = seed_of(*parts[0]);
  if (!format.has_integer_codes() && !format.is_float8()) {
    return fill(launcher, weight.codes, {format.code_dtype, seed, 0, -kSpread, kSpread});
  }
  const CodeRange codes = code_range(format);
  const float scale = kSpread / codes.half_width;
  NEREID_RETURN_IF_ERROR(fill(launcher, weight.codes, {DType::kI32, seed, codes.mask, 0, 0}));
  NEREID_RETURN_IF_ERROR(
      fill(launcher, weight.scales, {format.scale_dtype, seed + 1, 0, 0.5f * scale, 1.5f * scale}));
  if (!format.has_min) return {};
  const float min = -scale * (codes.middle - static_cast<float>(format.zero));
  return fill(launcher, weight.mins, {format.scale_dtype, seed + 1, 0, 0.5f * min, 1.5f * min});
}

Result<Buffer> make_dummy_vector(Launcher& launcher, std::span<const StoredTensor* const> parts) {
  int64_t count = 0;
  for (const StoredTensor* part : parts) count += stored_rows(*part).columns;
  NEREID_TRY_CONTEXT(Buffer out,
                     Buffer::alloc(launcher.device(), static_cast<uint64_t>(count) * sizeof(float)),
                     parts[0]->text());
  const float value = parts[0]->name.ends_with(".bias") ? 0.0f : 1.0f;
  NEREID_RETURN_IF_ERROR(launcher.launch<kernels::Fill>(
      {.dtype = DType::kF32}, {.out = out.ptr(), .count = count, .value = value}));
  return out;
}

}  // namespace nereid::quant
