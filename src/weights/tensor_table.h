// Which tensors a decoder of the Llama family has: names in both containers, shapes in terms of the
// config, and when each is there. Sources translate names with it, the check of a model against its
// config walks it, and the model graph asks it for the name of a weight.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/weights/source.h"

namespace nereid {

enum class TensorRole : uint8_t {
  kEmbedding,
  kFinalNorm,
  kLmHead,
  kInputNorm,
  kQuery,
  kQueryBias,
  kKey,
  kKeyBias,
  kValue,
  kValueBias,
  kQueryNorm,
  kKeyNorm,
  kOutput,
  kOutputBias,
  kPostAttentionNorm,
  kGate,
  kGateBias,
  kUp,
  kUpBias,
  kDown,
  kDownBias,
};
inline constexpr int kNumTensorRoles = 21;

bool is_layer_role(TensorRole role);

// Canonical name. `layer` is used by layer roles only.
std::string tensor_name(TensorRole role, int32_t layer = 0);

// Row-major, outermost first.
std::vector<int64_t> tensor_shape(TensorRole role, const ModelConfig& config);

// Whether a model with this config has the tensor.
bool has_tensor(TensorRole role, const ModelConfig& config);

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
};
// All that a model of this config has, in the order in which a forward pass needs them.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Canonical name of a GGUF tensor: "blk.3.attn_q.weight" ->
// "model.layers.3.self_attn.q_proj.weight".
std::optional<std::string> canonical_from_gguf(std::string_view gguf_name);
std::string gguf_name(TensorRole role, int32_t layer = 0);
// The other way round, for messages; the name itself when the table has no such tensor.
std::string gguf_from_canonical(const std::string& name);

}  // namespace nereid
