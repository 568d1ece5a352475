// Rotary embedding with the KV-cache write, and attention over the paged cache.
#pragma once

#include "src/base/result.h"
#include "src/device/launcher.h"
#include "src/tensor/tensor.h"

namespace nereid::ops {

struct RopeTableArgs {
  Tensor inverse_frequencies;  // f32 [rotary_dim / 2]
  Tensor cosine, sine;         // f32 [positions, rotary_dim / 2]
  float scale = 1.0f;          // multiplies both (YaRN)
};

// cosine[p, i] = scale * cos(p * inverse_frequencies[i]); sine likewise.
Status rope_table(Launcher& launcher, const RopeTableArgs& args);

struct HeadShape {
  int32_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
};

struct RopeKvWriteArgs {
  HeadShape heads;
  int32_t rotary_dim = 0;
  bool interleaved = false;
  Tensor qkv;             // [rows, (num_heads + 2 num_kv_heads) * head_dim]
  Tensor q_norm, k_norm;  // f32 [head_dim] each; empty: no QK-norm
  float norm_eps = 1e-6f;
  Tensor positions, slots;  // i32 [rows]
  Tensor cosine, sine;      // f32 [positions, rotary_dim / 2]
  Tensor q_out;             // [rows, num_heads * head_dim]
  Tensor k_cache, v_cache;  // [num_kv_heads, pages, page_size, head_dim]
};

// Rotates q into q_out and k into the cache, copies v into the cache. RoPE: arXiv 2104.09864.
Status rope_kv_write(Launcher& launcher, const RopeKvWriteArgs& args);

struct AttentionArgs {
  HeadShape heads;
  Tensor q;                                    // [rows of the step, num_heads * head_dim]
  Tensor k_cache, v_cache;                     // [num_kv_heads, pages, page_size, head_dim]
  Tensor tile_seq, tile_first;                 // i32 [tiles]
  Tensor seq_start, seq_queries, seq_context;  // i32 [sequences]
  Tensor page_table;                           // i32 [sequences, max_pages]
  int32_t tile_tokens = 1, num_splits = 1;
  int32_t split_pages = 1;          // pages of a split, about
  int32_t first_row = 0, rows = 0;  // rows that the tiles cover, for the merge of splits
  float scale = 1.0f;
  int32_t window = 0;    // 0: none
  float softcap = 0.0f;  // 0: none
  Tensor out;            // [rows of the step, num_heads * head_dim]
  Tensor partial;        // f32 [rows, num_heads, num_splits, head_dim]; num_splits > 1
  Tensor lse;            // f32 [rows, num_heads, num_splits]; num_splits > 1
};

// Online softmax (arXiv 2205.14135) over pages (arXiv 2309.06180), with split-KV for few long
// sequences.
Status attention(Launcher& launcher, const AttentionArgs& args);

}  // namespace nereid::ops
