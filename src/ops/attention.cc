// RoPE tables, rotation with cache write, paged attention: shape checks and the launches.
#include "src/ops/attention.h"

#include "kernels/kernels.h"
#include "src/base/check.h"
#include "src/device/target.h"

namespace nereid::ops {

namespace {

int32_t narrow(int64_t value) {
  return static_cast<int32_t>(value);
}

void check_cache(const Tensor& cache, const HeadShape& heads) {
  NEREID_CHECK(cache.dim(0) == heads.num_kv_heads && cache.dim(3) == heads.head_dim,
               "cache {}, {} KV heads of {}", cache.text(), heads.num_kv_heads, heads.head_dim);
}

// How pages lie (kernels/kv_pages.py). On a CPU as its dot products want them: what they add up in
// one step together. Matrix instructions of GPUs, and 8-bit floats, take rows as they are.
int32_t kv_pack(const Launcher& launcher, const Tensor& cache) {
  const int64_t head_dim = cache.dim(3);
  const auto size = static_cast<int32_t>(dtype_size(cache.dtype()));
  if (target_is_gpu(launcher.target()) || (head_dim & (head_dim - 1)) != 0 || size == 1) return 0;
  return static_cast<int32_t>(sizeof(float)) / size;
}

Status merge_splits(Launcher& launcher, const AttentionArgs& args) {
  // The tiles' rows are [first_row, first_row + rows); partial and lse are indexed by row as well.
  const auto first = static_cast<uint64_t>(args.first_row);
  const auto per_row = static_cast<uint64_t>(args.heads.num_heads) *
                       static_cast<uint64_t>(args.num_splits) * sizeof(float);
  return launcher.launch<kernels::AttentionMerge>(
      {.out_dtype = args.out.dtype(),
       .num_heads = args.heads.num_heads,
       .head_dim = args.heads.head_dim,
       .num_splits = args.num_splits},
      {.partial = args.partial.ptr() + first * per_row * static_cast<uint64_t>(args.heads.head_dim),
       .lse = args.lse.ptr() + first * per_row,
       .out = args.out.rows(args.first_row, args.rows).ptr(),
       .rows = args.rows});
}

template <typename Kernel>
Status launch_attention(Launcher& launcher, const AttentionArgs& args) {
  const HeadShape& heads = args.heads;
  const bool split = args.num_splits > 1;
  typename Kernel::Key key = {};
  key.q_dtype = args.q.dtype();
  key.cache_dtype = args.k_cache.dtype();
  key.out_dtype = args.out.dtype();
  key.num_heads = heads.num_heads;
  key.num_kv_heads = heads.num_kv_heads;
  key.head_dim = heads.head_dim;
  key.page_size = args.k_cache.dim(2);
  if constexpr (requires { key.kv_pack; }) key.kv_pack = kv_pack(launcher, args.k_cache);
  key.q_stride = args.q.row_stride();
  key.tile_tokens = args.tile_tokens;
  key.num_splits = args.num_splits;
  key.split_pages = args.split_pages;
  key.has_window = args.window > 0;
  key.has_softcap = args.softcap > 0;
  key.has_alibi = false;
  return launcher.template launch<Kernel>(key, {.q = args.q.ptr(),
                                                .k_cache = args.k_cache.ptr(),
                                                .v_cache = args.v_cache.ptr(),
                                                .tile_seq = args.tile_seq.ptr(),
                                                .tile_first = args.tile_first.ptr(),
                                                .seq_start = args.seq_start.ptr(),
                                                .seq_queries = args.seq_queries.ptr(),
                                                .seq_context = args.seq_context.ptr(),
                                                .page_table = args.page_table.ptr(),
                                                .out = split ? 0 : args.out.ptr(),
                                                .partial = split ? args.partial.ptr() : 0,
                                                .lse = split ? args.lse.ptr() : 0,
                                                .tiles = narrow(args.tile_seq.dim(0)),
                                                .max_pages = narrow(args.page_table.dim(1)),
                                                .num_pages = narrow(args.k_cache.dim(1)),
                                                .scale = args.scale,
                                                .window = args.window,
                                                .softcap = args.softcap});
}

}  // namespace

Status rope_table(Launcher& launcher, const RopeTableArgs& args) {
  const int64_t half = args.inverse_frequencies.dim(0);
  NEREID_CHECK(args.cosine.dim(1) == half && args.sine.dim(1) == half,
               "cosine {}, sine {}, half {}", args.cosine.text(), args.sine.text(), half);
  return launcher.launch<kernels::RopeTable>({.half = half},
                                             {.inv_freq = args.inverse_frequencies.ptr(),
                                              .cos = args.cosine.ptr(),
                                              .sin = args.sine.ptr(),
                                              .positions = narrow(args.cosine.dim(0)),
                                              .attention_scale = args.scale});
}

Status rope_kv_write(Launcher& launcher, const RopeKvWriteArgs& args) {
  const HeadShape& heads = args.heads;
  check_cache(args.k_cache, heads);
  const int64_t width = int64_t{heads.num_heads + 2 * heads.num_kv_heads} * heads.head_dim;
  NEREID_CHECK(args.qkv.dim(1) == width && args.q_out.dim(1) == heads.num_heads * heads.head_dim &&
                   args.qkv.dim(0) == args.positions.dim(0) &&
                   args.cosine.dim(1) * 2 == args.rotary_dim,
               "qkv {}, q {}, positions {}, cosine {}", args.qkv.text(), args.q_out.text(),
               args.positions.text(), args.cosine.text());
  return launcher.launch<kernels::RopeKvWrite>(
      {.qkv_dtype = args.qkv.dtype(),
       .q_dtype = args.q_out.dtype(),
       .cache_dtype = args.k_cache.dtype(),
       .norm_dtype = !args.q_norm ? DType::kF32 : args.q_norm.dtype(),
       .q_heads = heads.num_heads,
       .kv_heads = heads.num_kv_heads,
       .head_dim = heads.head_dim,
       .rotary_dim = args.rotary_dim,
       .page_size = args.k_cache.dim(2),
       .kv_pack = kv_pack(launcher, args.k_cache),
       .interleaved = args.interleaved,
       .has_qk_norm = static_cast<bool>(args.q_norm)},
      {.qkv = args.qkv.ptr(),
       .q_out = args.q_out.ptr(),
       .k_cache = args.k_cache.ptr(),
       .v_cache = args.v_cache.ptr(),
       .positions = args.positions.ptr(),
       .slots = args.slots.ptr(),
       .cos = args.cosine.ptr(),
       .sin = args.sine.ptr(),
       .q_norm = args.q_norm.ptr(),
       .k_norm = args.k_norm.ptr(),
       .rows = narrow(args.qkv.dim(0)),
       .qkv_stride = narrow(args.qkv.row_stride()),
       .q_stride = narrow(args.q_out.row_stride()),
       .num_pages = narrow(args.k_cache.dim(1)),
       .eps = args.norm_eps});
}

Status attention(Launcher& launcher, const AttentionArgs& args) {
  const HeadShape& heads = args.heads;
  check_cache(args.k_cache, heads);
  const bool split = args.num_splits > 1;
  NEREID_CHECK(args.out.row_stride() == heads.num_heads * heads.head_dim, "out {}",
               args.out.text());
  NEREID_CHECK(!split || (args.first_row + args.rows <= args.partial.dim(0) &&
                          args.partial.dim(2) == args.num_splits),
               "rows [{}, {}) in {} splits, partial {}", args.first_row, args.first_row + args.rows,
               args.num_splits, args.partial.text());
  // Matrix instructions of GPUs want more keys at once than a page has.
  const Status launched = target_is_gpu(launcher.target())
                              ? launch_attention<kernels::AttentionTiles>(launcher, args)
                              : launch_attention<kernels::Attention>(launcher, args);
  NEREID_RETURN_IF_ERROR(launched);
  return split ? merge_splits(launcher, args) : Status();
}

}  // namespace nereid::ops
