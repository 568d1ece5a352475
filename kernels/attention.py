"""Attention over the paged KV cache: prefill and decode in one kernel, and the merge of split results.

A program takes a tile of `tile_tokens` query tokens of one sequence for one KV head: its rows are (token,
query head of the group), so every key is read once for the whole group. With HEADS it takes so many heads of the group:
what CPUs want for tiles of many tokens, whose rows then fill the tile and see about the same keys. It walks the
sequence's pages with an online softmax in f32. For a few long sequences, `num_splits` programs share the pages of a tile
and `attention_merge` joins their results; the grid stays the same whatever the lengths are.

The host lists tiles: tile t covers tokens tile_first[t] .. tile_first[t] + tile_tokens of sequence
tile_seq[t]'s queries, cut at seq_queries. A sequence's queries are its last seq_queries positions:
query i sits at position seq_context - seq_queries + i and sees positions up to its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import attention_cases
from kernels.exponential import quick_exp2
from kernels.float8 import is_float8, widen
from kernels.kv_pages import PACK_DOC
from kernels.spec import FLOATS, F32, I32, Cost, DType, Flag, Int, Kernel, Ptr


@triton.jit
def tile_queries(tile_seq, tile_first, seq_start, seq_queries, seq_context, tile, tile_tokens: tl.constexpr):
    """Of tile `tile`: its sequence, its first row of q, how many tokens it holds, the position of the first."""
    seq = tl.load(tile_seq + tile)
    first = tl.load(tile_first + tile)
    queries = tl.load(seq_queries + seq)
    context = tl.load(seq_context + seq)
    begin_row = tl.load(seq_start + seq) + first
    return seq, begin_row, tl.minimum(queries - first, tile_tokens), context - queries + first


@triton.jit
def split_of_pages(
    first_position, end, window, split,
    page_size: tl.constexpr, num_splits: tl.constexpr, split_pages: tl.constexpr, has_window: tl.constexpr,
):  # fmt: skip
    """Pages [begin, end) that split `split` takes of those that hold what queries from `first_position` on see
    before position `end`: equal shares of about split_pages, of more where that makes more than num_splits."""
    begin = 0
    if has_window:
        begin = tl.maximum(first_position - window + 1, 0)
    first_page = begin // page_size
    pages = tl.cdiv(end, page_size) - first_page
    shares = tl.minimum(tl.maximum((pages + split_pages // 2) // split_pages, 1), num_splits)
    share = tl.cdiv(pages, shares)
    return first_page + split * share, first_page + tl.minimum((split + 1) * share, pages)


@triton.jit
def store_result(
    acc, total, highest, out, partial, lse, out_row, split, row_inside, inside,
    head_dim: tl.constexpr, num_splits: tl.constexpr,
):  # fmt: skip
    """Rows `out_row` of the output, or this split's share of them and its weight, log2."""
    d = tl.arange(0, acc.shape[1])
    result = acc / tl.where(total == 0.0, 1.0, total)[:, None]
    if num_splits == 1:
        tl.store(out + out_row[:, None] * head_dim + d[None, :], result.to(out.dtype.element_ty), mask=inside)
    else:
        slot = out_row * num_splits + split
        tl.store(partial + slot[:, None] * head_dim + d[None, :], result, mask=inside)
        tl.store(lse + slot, highest + tl.log2(total), mask=row_inside)


@triton.jit
def _load_packed(page, LENGTH: tl.constexpr, WIDTH: tl.constexpr, pack: tl.constexpr):
    """[LENGTH, WIDTH] of a page [LENGTH / pack, WIDTH, pack]."""
    LINE: tl.constexpr = WIDTH * pack
    lines = tl.load(page + tl.arange(0, LENGTH // pack)[:, None] * LINE + tl.arange(0, LINE)[None, :])
    return lines.reshape(LENGTH // pack, WIDTH, pack).permute(0, 2, 1).reshape(LENGTH, WIDTH)


@triton.jit
def _attend_to_pages(
    qs, k_cache, v_cache, page_entry, first_page, page_begin, page_end, end, position, row_inside,
    slope, scale, window, softcap, highest, total, acc,
    head_dim: tl.constexpr, page_size: tl.constexpr, kv_pack: tl.constexpr,
    has_window: tl.constexpr, has_softcap: tl.constexpr, has_alibi: tl.constexpr, DOT: tl.constexpr, SEEN: tl.constexpr,
):  # fmt: skip
    """One pass of the online softmax over pages [page_begin, page_end): highest and total [rows], acc [rows, BLOCK_D].
    first_page, i64: where the KV head's pages begin. `slope` [rows] times log2(e). SEEN: every row sees every key of
    these pages, but for the window."""
    LOG2E: tl.constexpr = 1.4426950408889634
    MASKED: tl.constexpr = not SEEN or has_window
    BLOCK_D: tl.constexpr = qs.shape[1]
    d = tl.arange(0, BLOCK_D)
    in_page = tl.arange(0, page_size)
    kv_offset = in_page[:, None] * head_dim + d[None, :]
    for page in range(page_begin, page_end):
        base = (first_page + tl.load(page_entry + page)) * (page_size * head_dim)
        key_position = page * page_size + in_page
        if kv_pack > 0:
            keys = _load_packed(k_cache + base, head_dim, page_size, kv_pack)
            values = _load_packed(v_cache + base, page_size, head_dim, kv_pack)
            if not SEEN:  # slots past the end were never written: they may hold NaN, which scores are masked for
                values = tl.where((key_position < end)[:, None], values, tl.zeros_like(values))
        else:
            if SEEN and head_dim == BLOCK_D:
                keys = tl.load(k_cache + base + kv_offset)
                values = tl.load(v_cache + base + kv_offset)
            else:
                kv_inside = (key_position < end)[:, None]
                if head_dim != BLOCK_D:
                    kv_inside = kv_inside & (d < head_dim)[None, :]
                keys = tl.load(k_cache + base + kv_offset, mask=kv_inside, other=0.0)
                values = tl.load(v_cache + base + kv_offset, mask=kv_inside, other=0.0)
            keys = tl.trans(keys)
        keys = widen(keys, qs.dtype)
        values = widen(values, qs.dtype)
        if DOT:
            s = tl.dot(qs, keys, input_precision="ieee")
        else:
            s = tl.sum(qs[:, :, None] * keys[None, :, :], axis=1)
        # Where a compiler could round a product or not, fma says it: a row gets the same result in both loops.
        factor = scale * LOG2E
        if has_softcap:
            t = s * scale / softcap
            s = softcap * (1.0 - 2.0 / (tl.exp(2.0 * t) + 1.0))  # tanh
            factor = tl.full((), LOG2E, tl.float32)
        score = s * factor
        if has_alibi:
            distance = (key_position[None, :] - position[:, None]).to(tl.float32)
            score = tl.fma(slope[:, None], distance, score)
        seen = row_inside[:, None]
        if not SEEN:
            seen = seen & (key_position[None, :] <= position[:, None])
        if has_window:
            seen = seen & (key_position[None, :] > position[:, None] - window)
        if MASKED:
            score = tl.where(seen, score, float("-inf"))
        now = tl.maximum(highest, tl.max(score, axis=1))
        shift = tl.where(now == float("-inf"), 0.0, now)
        if has_alibi:
            below = score - shift[:, None]
        else:
            below = tl.fma(s, factor, -shift[:, None])
            if MASKED:
                below = tl.where(seen, below, float("-inf"))
        rescale = tl.exp2(highest - shift)
        if values.dtype == tl.bfloat16:
            p = quick_exp2(below)
        else:
            p = tl.exp2(below)
        total = tl.fma(total, rescale, tl.sum(p, axis=1))
        acc = acc * rescale[:, None]
        if DOT:
            acc = tl.dot(p.to(values.dtype), values, acc, input_precision="ieee")
        else:
            acc += tl.sum(p[:, :, None] * values[None, :, :], axis=1)
        highest = now
    return highest, total, acc


@triton.jit
def attention_kernel(
    q, k_cache, v_cache, tile_seq, tile_first, seq_start, seq_queries, seq_context, page_table, slopes,
    out, partial, lse, tiles, max_pages, num_pages, scale, window, softcap,
    num_heads: tl.constexpr, num_kv_heads: tl.constexpr, head_dim: tl.constexpr, page_size: tl.constexpr,
    kv_pack: tl.constexpr, q_stride: tl.constexpr, tile_tokens: tl.constexpr, num_splits: tl.constexpr, split_pages: tl.constexpr,
    has_window: tl.constexpr, has_softcap: tl.constexpr, has_alibi: tl.constexpr,
    DOT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, WHOLE: tl.constexpr = 0, HEADS: tl.constexpr = 0,
):  # fmt: skip
    GROUP: tl.constexpr = num_heads // num_kv_heads
    ROW_HEADS: tl.constexpr = HEADS if HEADS > 0 else GROUP
    BLOCKS: tl.constexpr = num_heads // ROW_HEADS
    LOG2E: tl.constexpr = 1.4426950408889634
    pid = tl.program_id(0)
    split = pid % num_splits
    first_head = (pid // num_splits) % BLOCKS * ROW_HEADS
    kv_head = first_head // GROUP
    tile = pid // (num_splits * BLOCKS)
    seq, begin_row, tokens, first_position = tile_queries(
        tile_seq, tile_first, seq_start, seq_queries, seq_context, tile, tile_tokens
    )

    row = tl.arange(0, BLOCK_M)
    token = row // ROW_HEADS
    head = first_head + row % ROW_HEADS
    row_inside = (row < tile_tokens * ROW_HEADS) & (token < tokens)
    position = first_position + token
    d = tl.arange(0, BLOCK_D)
    q_row = (begin_row + token).to(tl.int64)
    q_at = q + (q_row * q_stride + head * head_dim)[:, None] + d[None, :]
    q_inside = row_inside[:, None]
    if head_dim != BLOCK_D:
        q_inside = q_inside & (d < head_dim)[None, :]
    qs = tl.load(q_at, mask=q_inside, other=0.0)
    # One type for both factors: q's if the cache holds that too, or codes that it holds exactly; else f32.
    SAME: tl.constexpr = DOT and (q.dtype.element_ty == k_cache.dtype.element_ty or is_float8(k_cache.dtype.element_ty))
    if not SAME:
        qs = qs.to(tl.float32)

    end = first_position + tokens
    page_begin, page_end = split_of_pages(
        first_position, end, window, split, page_size, num_splits, split_pages, has_window
    )

    page_entry = page_table + seq.to(tl.int64) * max_pages
    first_page = kv_head.to(tl.int64) * num_pages
    slope = tl.zeros((BLOCK_M,), dtype=tl.float32)
    if has_alibi:
        slope = tl.load(slopes + head, mask=row_inside, other=0.0) * LOG2E
    highest = tl.full((BLOCK_M,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), dtype=tl.float32)
    seen_end = page_begin
    if WHOLE:  # pages that every row sees to their end come first, in a loop of their own that needs few masks
        seen_end = tl.maximum(page_begin, tl.minimum(page_end, (first_position + 1) // page_size))
        highest, total, acc = _attend_to_pages(
            qs, k_cache, v_cache, page_entry, first_page, page_begin, seen_end, end, position, row_inside,
            slope, scale, window, softcap, highest, total, acc,
            head_dim, page_size, kv_pack, has_window, has_softcap, has_alibi, DOT, True,
        )  # fmt: skip
    highest, total, acc = _attend_to_pages(
        qs, k_cache, v_cache, page_entry, first_page, seen_end, page_end, end, position, row_inside,
        slope, scale, window, softcap, highest, total, acc,
        head_dim, page_size, kv_pack, has_window, has_softcap, has_alibi, DOT, False,
    )  # fmt: skip

    store_result(
        acc, total, highest, out, partial, lse, q_row * num_heads + head, split, row_inside, q_inside, head_dim, num_splits
    )


@triton.jit
def attention_merge_kernel(
    partial, lse, out, rows,
    num_heads: tl.constexpr, head_dim: tl.constexpr, num_splits: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, BLOCK_S)
    d = tl.arange(0, BLOCK_D)
    weight = tl.load(lse + slot * num_splits + s, mask=s < num_splits, other=float("-inf"))
    highest = tl.max(weight, axis=0)
    used = weight > float("-inf")
    weight = tl.where(used, tl.exp2(weight - tl.where(highest == float("-inf"), 0.0, highest)), 0.0)
    inside = used[:, None] & (d < head_dim)[None, :]
    values = tl.load(partial + (slot * num_splits + s)[:, None] * head_dim + d[None, :], mask=inside, other=0.0)
    total = tl.sum(weight, axis=0)
    result = tl.sum(values * weight[:, None], axis=0) / tl.where(total == 0.0, 1.0, total)
    tl.store(out + slot * head_dim + d, result.to(out.dtype.element_ty), mask=d < head_dim)


ATTENTION = Kernel(
    name="attention",
    doc="out[row, h, :] = sum_j softmax_j(q[row, h, :] . k[j, h / group, :] * scale) v[j, h / group, :] over the "
    "positions j <= the row's (and within the window); with num_splits > 1: per split, with log2-sum-exp2",
    fn=attention_kernel,
    key=[
        DType("q_dtype"), DType("cache_dtype", allowed=(*FLOATS, "f8e4m3")), DType("out_dtype"), Int("num_heads", min=1),
        Int("num_kv_heads", min=1), Int("head_dim", min=1), Int("page_size", min=1, doc="a power of two"),
        Int("kv_pack", max=4, doc=PACK_DOC),
        Int("q_stride", min=1, doc="elements between rows of q"),
        Int("tile_tokens", min=1, doc="query tokens of a tile"), Int("num_splits", min=1),
        Int("split_pages", min=1, doc="pages of a split, about, where num_splits leaves the choice"),
        Flag("has_window"), Flag("has_softcap"), Flag("has_alibi"),
    ],
    args=[
        Ptr("q", "q_dtype", "read", shape="rows, q_stride; head h at column h * head_dim"),
        Ptr("k_cache", "cache_dtype", "read", shape="num_kv_heads, num_pages, page_size, head_dim"),
        Ptr("v_cache", "cache_dtype", "read", shape="num_kv_heads, num_pages, page_size, head_dim"),
        Ptr("tile_seq", "i32", "read", shape="tiles", doc="index of the sequence"),
        Ptr("tile_first", "i32", "read", shape="tiles", doc="first query token, counted in its sequence"),
        Ptr("seq_start", "i32", "read", shape="sequences", doc="row of q of the first query token"),
        Ptr("seq_queries", "i32", "read", shape="sequences"),
        Ptr("seq_context", "i32", "read", shape="sequences", doc="positions in the cache, queries included"),
        Ptr("page_table", "i32", "read", shape="sequences, max_pages"),
        Ptr("slopes", "f32", "read", shape="num_heads", optional="has_alibi"),
        Ptr("out", "out_dtype", "write", shape="rows, num_heads, head_dim", optional="num_splits > 1"),
        Ptr("partial", "f32", "write", shape="rows, num_heads, num_splits, head_dim", optional="num_splits == 1"),
        Ptr("lse", "f32", "write", shape="rows, num_heads, num_splits", optional="num_splits == 1"),
        I32("tiles"),
        I32("max_pages"),
        I32("num_pages", doc="of the cache"),
        F32("scale"),
        I32("window", doc="positions a row sees, its own included"),
        F32("softcap"),
    ],
    grid="tiles * (num_heads // HEADS if HEADS > 0 else num_kv_heads) * num_splits",
    cost=Cost(
        bytes="2 * sequences * min(context, window + queries - 1 if has_window else context) * num_kv_heads * head_dim * size_of(cache_dtype)"
        " + sequences * queries * num_heads * (head_dim * size_of(q_dtype)"
        " + (head_dim * size_of(out_dtype) if num_splits == 1 else num_splits * (head_dim + 1) * 4))",
        operations="4 * sequences * num_heads * head_dim * pairs_seen(queries, context, window if has_window else context)",
        products="q_dtype",
    ),
    reference=attention_cases.attention_reference,
    cases=attention_cases.attention_cases,
    uneven=True,
    default_tiles=[
        {
            "DOT": 1, "BLOCK_M": "max(16, next_pow2(tile_tokens * (num_heads // num_kv_heads)))",
            "BLOCK_D": "next_pow2(head_dim)", "num_warps": 4,
        }
    ],
)  # fmt: skip

ATTENTION_MERGE = Kernel(
    name="attention_merge",
    doc="out[row, h, :] = sum_s w_s partial[row, h, s, :] / sum_s w_s with w_s = 2^lse[row, h, s]; "
    "splits with lse = -inf are not read",
    fn=attention_merge_kernel,
    key=[DType("out_dtype"), Int("num_heads", min=1), Int("head_dim", min=1), Int("num_splits", min=1)],
    args=[
        Ptr("partial", "f32", "read", shape="rows, num_heads, num_splits, head_dim"),
        Ptr("lse", "f32", "read", shape="rows, num_heads, num_splits"),
        Ptr("out", "out_dtype", "write", shape="rows, num_heads, head_dim"),
        I32("rows"),
    ],
    grid="rows * num_heads",
    cost=Cost(
        bytes="rows * num_heads * (num_splits * (head_dim + 1) * 4 + head_dim * size_of(out_dtype))",
        operations="2 * rows * num_heads * num_splits * head_dim",
    ),
    reference=attention_cases.attention_merge_reference,
    cases=attention_cases.attention_merge_cases,
    default_tiles=[{"BLOCK_S": "next_pow2(num_splits)", "BLOCK_D": "next_pow2(head_dim)", "num_warps": 1}],
)

KERNELS = [ATTENTION, ATTENTION_MERGE]
