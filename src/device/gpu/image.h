// Sanity of a GPU kernel image: drivers read ELF headers without knowing how long the image is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/result.h"

namespace nereid::gpu {

// An ELF object for `machine` whose header tables and sections lie within `image`.
Status check_image(std::span<const std::byte> image, uint16_t machine);

}  // namespace nereid::gpu
