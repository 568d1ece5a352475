// Scales of weights in pairs: which weights have them, and the launch that makes them.
#include "kernels/kernels.h"
#include "src/base/check.h"
#include "src/device/target.h"
#include "src/quant/weight.h"

namespace nereid::quant {

namespace {

constexpr int32_t kPairedGroup = 32;

}  // namespace

bool takes_pairs(const Launcher& launcher, const Weight& weight) {
  const PlaneFormat& format = weight.format;
  // The zero that the kernels take codes of so many bits to have.
  const bool zero = format.bits == 4 ? format.zero == (format.has_min ? 0 : 8)
                                     : !format.has_min && format.zero == 128;
  return format.has_integer_codes() && format.group == kPairedGroup && zero &&
         weight.k % (2 * kPairedGroup) == 0 && target_wants_unsigned_codes(launcher.target());
}

Status pair_scales(Launcher& launcher, Weight& weight) {
  NEREID_CHECK(takes_pairs(launcher, weight), "weight [{}, {}]", weight.n, weight.k);
  const int64_t panels = (weight.n + kPanelRows - 1) / kPanelRows;
  const uint64_t row = static_cast<uint64_t>(panels * kPanelRows) * sizeof(int32_t);
  const auto rows = static_cast<uint64_t>(weight.k / (2 * kPairedGroup));
  Device& device = launcher.device();
  ScalePairs& pairs = weight.pairs;
  NEREID_TRY(pairs.scales, Buffer::alloc(device, row * (rows + 1)));
  if (weight.format.has_min) {
    NEREID_TRY(pairs.mins, Buffer::alloc(device, row * rows));
  }
  return launcher.launch<kernels::PairScales>(
      {.scale_dtype = weight.format.scale_dtype, .has_min = weight.format.has_min, .k = weight.k},
      {.scales = weight.scales.ptr(),
       .mins = weight.mins.ptr(),
       .pairs = pairs.scales.ptr(),
       .min_pairs = pairs.mins.ptr(),
       .panels = static_cast<int32_t>(panels)});
}

}  // namespace nereid::quant
