"""Attention over the paged KV cache for GPUs: what attention.py computes, in tiles of keys that span several pages.
With STAGES that is done by attention_tiles_hopper.py, prefill on Hopper.

Matrix instructions want more keys at once than a page holds, so a program looks up the page of every key. It takes
the keys that all of its rows see first, without a mask, then the last ones.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels import attention_cases
from kernels.attention import ATTENTION, split_of_pages, store_result, tile_queries
from kernels.attention_tiles_hopper import attention_tiles_hopper
from kernels.float8 import is_float8, widen
from kernels.spec import Kernel


@triton.jit
def _key_rows(page_entry, key, last, first_page, page_size: tl.constexpr):
    """Rows of the cache of positions `key`, cut to `last`."""
    key = tl.minimum(key, last)
    page = tl.load(page_entry + key // page_size)
    return (first_page + page) * page_size + key % page_size


@triton.jit
def _scores(
    qs, keys, key, position, slope, scale, window, softcap,
    has_window: tl.constexpr, has_softcap: tl.constexpr, has_alibi: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """log2 of the unscaled weights, [rows, keys]."""
    LOG2E: tl.constexpr = 1.4426950408889634
    s = tl.dot(qs, tl.trans(keys), input_precision="ieee")
    if has_softcap:
        t = s * scale / softcap
        s = softcap * (1.0 - 2.0 / (tl.exp(2.0 * t) + 1.0)) * LOG2E  # tanh
    else:
        s = s * (scale * LOG2E)
    if has_alibi:
        s += slope[:, None] * (key[None, :] - position[:, None]).to(tl.float32)
    if MASKED:
        seen = key[None, :] <= position[:, None]
        if has_window:
            seen = seen & (key[None, :] > position[:, None] - window)
        s = tl.where(seen, s, float("-inf"))
    return s


@triton.jit
def _walk(
    acc, total, highest, qs, k_cache, v_cache, page_entry, begin, end, last, position, slope, first_page, scale, window,
    softcap, head_dim: tl.constexpr, page_size: tl.constexpr, has_window: tl.constexpr,
    has_softcap: tl.constexpr, has_alibi: tl.constexpr, MASKED: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Takes the keys [begin, end); without MASKED a multiple of BLOCK_N of them, that every row sees."""
    d = tl.arange(0, BLOCK_D)
    for start in range(begin, end, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        at = _key_rows(page_entry, key, last, first_page, page_size)[:, None] * head_dim + d[None, :]
        if MASKED:
            # Slots past the end were never written: they may hold NaN.
            inside = (key < end)[:, None]
            if head_dim != BLOCK_D:
                inside = inside & (d < head_dim)[None, :]
            keys = tl.load(k_cache + at, mask=inside, other=0.0)
            values = tl.load(v_cache + at, mask=inside, other=0.0)
        elif head_dim != BLOCK_D:
            keys = tl.load(k_cache + at, mask=(d < head_dim)[None, :], other=0.0)
            values = tl.load(v_cache + at, mask=(d < head_dim)[None, :], other=0.0)
        else:
            keys = tl.load(k_cache + at)
            values = tl.load(v_cache + at)
        keys = widen(keys, qs.dtype)
        values = widen(values, qs.dtype)
        s = _scores(
            qs, keys, key, position, slope, scale, window, softcap, has_window, has_softcap, has_alibi, MASKED
        )  # fmt: skip
        if MASKED:
            s = tl.where((key < end)[None, :], s, float("-inf"))
        now = tl.maximum(highest, tl.max(s, axis=1))
        shift = now
        if MASKED:
            shift = tl.where(now == float("-inf"), 0.0, now)
        p = tl.exp2(s - shift[:, None])
        rescale = tl.exp2(highest - shift)
        total = total * rescale + tl.sum(p, axis=1)
        acc = tl.dot(p.to(values.dtype), values, acc * rescale[:, None], input_precision="ieee")
        highest = now
    return acc, total, highest


@triton.jit
def attention_tiles_kernel(
    q, k_cache, v_cache, tile_seq, tile_first, seq_start, seq_queries, seq_context, page_table, slopes,
    out, partial, lse, tiles, max_pages, num_pages, scale, window, softcap,
    num_heads: tl.constexpr, num_kv_heads: tl.constexpr, head_dim: tl.constexpr, page_size: tl.constexpr,
    q_stride: tl.constexpr, tile_tokens: tl.constexpr, num_splits: tl.constexpr, split_pages: tl.constexpr,
    has_window: tl.constexpr, has_softcap: tl.constexpr, has_alibi: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, STAGES: tl.constexpr = 0, PROGRAMS: tl.constexpr = 0,
):  # fmt: skip
    GROUP: tl.constexpr = num_heads // num_kv_heads
    pid = tl.program_id(0)
    split = pid % num_splits
    kv_head = (pid // num_splits) % num_kv_heads
    tile = tiles - 1 - pid // (num_splits * num_kv_heads)  # the last tiles see the most keys
    seq, begin_row, tokens, first_position = tile_queries(
        tile_seq, tile_first, seq_start, seq_queries, seq_context, tile, tile_tokens
    )

    row = tl.arange(0, BLOCK_M)
    token = row // GROUP
    head = kv_head * GROUP + row % GROUP
    row_inside = (row < tile_tokens * GROUP) & (token < tokens)
    # Rows past the last token see as much as it does; nothing of them is stored.
    position = first_position + tl.minimum(token, tokens - 1)
    d = tl.arange(0, BLOCK_D)
    q_row = (begin_row + token).to(tl.int64)
    q_at = q + (q_row * q_stride + head * head_dim)[:, None] + d[None, :]
    q_inside = row_inside[:, None] & (d < head_dim)[None, :]
    qs = tl.load(q_at, mask=q_inside, other=0.0)
    if q.dtype.element_ty != k_cache.dtype.element_ty and not is_float8(k_cache.dtype.element_ty):
        qs = qs.to(tl.float32)

    limit = first_position + tokens
    page_begin, page_end = split_of_pages(
        first_position, limit, window, split, page_size, num_splits, split_pages, has_window
    )
    begin = page_begin * page_size
    end = tl.minimum(page_end * page_size, limit)
    full = begin  # keys before it are seen by every row
    if not has_window:
        full += tl.maximum(tl.minimum(end, first_position + 1) - begin, 0) // BLOCK_N * BLOCK_N

    page_entry = page_table + seq.to(tl.int64) * max_pages
    first_page = kv_head.to(tl.int64) * num_pages  # where the head's pages begin
    slope = tl.zeros((BLOCK_M,), dtype=tl.float32)
    if has_alibi:
        slope = tl.load(slopes + head, mask=row_inside, other=0.0) * 1.4426950408889634
    highest = tl.full((BLOCK_M,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), dtype=tl.float32)
    acc, total, highest = _walk(
        acc, total, highest, qs, k_cache, v_cache, page_entry, begin, full, limit - 1, position, slope, first_page,
        scale, window, softcap, head_dim, page_size, has_window, has_softcap, has_alibi, False, BLOCK_N,
        BLOCK_D,
    )  # fmt: skip
    acc, total, highest = _walk(
        acc, total, highest, qs, k_cache, v_cache, page_entry, full, end, limit - 1, position, slope, first_page,
        scale, window, softcap, head_dim, page_size, has_window, has_softcap, has_alibi, True, BLOCK_N,
        BLOCK_D,
    )  # fmt: skip

    store_result(
        acc, total, highest, out, partial, lse, q_row * num_heads + head, split, row_inside, q_inside, head_dim, num_splits
    )


def attention_tiles_cases():
    """Those of the kernel for CPUs, unpacked; tiles of keys that many pages make up, and more items than programs that stay."""
    yield from attention_cases.unpacked_cases()
    rng = np.random.default_rng(63)
    bf16 = {"q_dtype": "bf16", "cache": "bf16", "out_dtype": "bf16"}
    ragged = [(70, 300), (33, 33), (5, 131), (1, 1)]
    yield attention_cases.make_case(rng, "rows128", ragged, heads=(8, 2), dim=128, page=32, tile_tokens=32, **bf16)
    yield attention_cases.make_case(rng, "group3", ragged, heads=(3, 1), dim=64, page=16, tile_tokens=42, **bf16)
    yield attention_cases.make_case(rng, "page128", [(90, 200)], heads=(2, 1), dim=64, page=128, tile_tokens=64, **bf16)
    yield attention_cases.make_case(
        rng, "many_items", [(60, 140), (40, 40)], heads=(6, 3), dim=64, page=16, tile_tokens=2, extra_stride=256, **bf16
    )


_ITEMS = "tiles * num_kv_heads * num_splits"
_ROWS = "max(16, next_pow2(tile_tokens * (num_heads // num_kv_heads)))"
_HEAD = "max(16, next_pow2(head_dim))"

ATTENTION_TILES = Kernel(
    name="attention_tiles",
    doc=ATTENTION.doc + "; keys in tiles of BLOCK_N whatever the pages are",
    fn=attention_tiles_kernel,
    key=[field for field in ATTENTION.key if field.name != "kv_pack"],
    args=list(ATTENTION.args),
    # PROGRAMS: how many stay and take one item after the other; 0: one for each.
    grid=f"({_ITEMS}) if PROGRAMS == 0 else min({_ITEMS}, PROGRAMS)",
    cost=ATTENTION.cost,
    reference=attention_cases.attention_reference,
    cases=attention_tiles_cases,
    uneven=True,
    alternatives=[("STAGES > 0", attention_tiles_hopper)],
    default_tiles=[
        {"when": "q_dtype == 'f32' or cache_dtype == 'f32'", "BLOCK_M": _ROWS, "BLOCK_N": 32, "BLOCK_D": _HEAD, "num_warps": "4 if tile_tokens == 1 else 8"},
        {"when": "tile_tokens == 1", "BLOCK_M": _ROWS, "BLOCK_N": 64, "BLOCK_D": _HEAD, "num_warps": 2, "num_stages": 2},
        {"BLOCK_M": _ROWS, "BLOCK_N": 64, "BLOCK_D": _HEAD, "num_stages": 2},
        {"BLOCK_M": _ROWS, "BLOCK_N": 32, "BLOCK_D": _HEAD, "num_warps": 8},
        {"BLOCK_M": _ROWS, "BLOCK_N": 16, "BLOCK_D": _HEAD, "num_warps": 8, "num_stages": 1},
    ],
)  # fmt: skip

KERNELS = [ATTENTION_TILES]
