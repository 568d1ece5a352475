// What one step of a decoder works on: integers that the host prepared and the KV cache they point
// into.
#pragma once

#include <cstdint>
#include <vector>

#include "src/device/dtype.h"
#include "src/tensor/tensor.h"

namespace nereid::nn {

// Paged keys and values of every layer. Slot s of a page table entry is page s / page_size,
// position s % page_size in it. How a page's elements are ordered: kernels/kv_pages.py.
struct KvCache {
  DType dtype = DType::kF32;
  int32_t num_pages = 0;
  int32_t page_size = 0;       // tokens per page, a power of two
  std::vector<Buffer> keys;    // per layer [num_kv_heads, num_pages, page_size, head_dim]
  std::vector<Buffer> values;  // per layer [num_kv_heads, num_pages, page_size, head_dim]
};

// Sequences whose attention runs in one launch: a list of tiles of query tokens.
struct AttentionGroup {
  Tensor tile_seq;    // i32 [tiles]: sequence of the step
  Tensor tile_first;  // i32 [tiles]: first query token, counted in its sequence
  int32_t tile_tokens = 0;
  int32_t num_splits = 1;           // programs that share the pages of a tile
  int32_t split_pages = 1;          // pages of such a share, about
  int32_t first_row = 0, rows = 0;  // the rows of the step that the tiles cover
};

struct StepInputs {
  Tensor tokens;       // i32 [rows]
  Tensor positions;    // i32 [rows]
  Tensor slots;        // i32 [rows]: where the row's key and value go
  Tensor logit_rows;   // i32 [logit rows]: rows whose logits are wanted
  Tensor seq_start;    // i32 [sequences]: first row
  Tensor seq_queries;  // i32 [sequences]: rows
  Tensor seq_context;  // i32 [sequences]: positions in the cache once this step has written its own
  Tensor page_table;   // i32 [sequences, max_pages]
  int64_t decode_rows = 0;             // the first rows: tokens that the model has drawn
  std::vector<AttentionGroup> groups;  // disjoint, together all rows
  // The same with only such tiles of prefill as hold rows whose logits are wanted.
  std::vector<AttentionGroup> wanted_groups;
};

}  // namespace nereid::nn
