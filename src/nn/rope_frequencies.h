// Inverse frequencies of RoPE under every supported scaling. Host work: a few dozen numbers derived
// from the config; the cos/sin table itself is made by the rope_table kernel.
#pragma once

#include <vector>

#include "src/nn/decoder_spec.h"

namespace nereid::nn {

struct RopeFrequencies {
  std::vector<float> inverse;    // [rotary_dim / 2], radians per position
  float attention_factor = 1.f;  // multiplies cos and sin (YaRN's temperature)
};

// RoPE: arXiv 2104.09864. Linear: position interpolation, arXiv 2306.15595. YaRN: arXiv 2309.00071.
// Llama 3: by wavelength against the original context, as the Llama 3.1 model card's reference
// does.
RopeFrequencies rope_frequencies(const RopeSpec& spec);

}  // namespace nereid::nn
