"""Prefill attention for NVIDIA's Hopper, in Gluon: what attention_tiles.py computes, by warps that each have a role.

One warp loads: the copy engine puts the keys and values of a tile into shared memory, a box of rows for each page.
Two groups of four warps compute, 64 rows each; a group's matrix instructions for the scores of one tile and for the
values of the tile before run while it takes exponentials, and while the other group does (FlashAttention-3, arXiv
2407.08608). Tiles of keys go from the last to the first, so only the first ones taken need a mask.

Programs stay: each takes one (tile of queries, KV head) after the other, and meanwhile the loading warp is ahead.
The biggest of these items are dealt out first, to and fro over the programs, so that all end at about the same time.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.language.core import _aggregate as aggregate

GROUP_ROWS = gl.constexpr(64)  # rows of a tile of queries that one group of warps takes
NO_ROW = gl.constexpr(1 << 30)  # a row outside of the cache: the copy engine reads zeros there


@aggregate
class Ring:
    """Tiles of keys or values on their way from the loading warp to both groups."""

    tiles: gl.shared_memory_descriptor  # [STAGES, BLOCK_N, head_dim]
    full: gl.shared_memory_descriptor  # [STAGES] barriers: the tile has arrived
    empty: gl.shared_memory_descriptor  # [STAGES] barriers: both groups are done with it
    STAGES: gl.constexpr

    @gluon.jit
    def load_stage(self, count):
        """Barrier and place of the next tile to load, the count-th; waits until the place is free."""
        stage = count % self.STAGES
        mbarrier.wait(self.empty.index(stage), ((count // self.STAGES) & 1) ^ 1)
        return self.full.index(stage), self.tiles.index(stage)

    @gluon.jit
    def take(self, count):
        """The count-th tile, once it has arrived."""
        stage = count % self.STAGES
        mbarrier.wait(self.full.index(stage), (count // self.STAGES) & 1)
        return self.tiles.index(stage)

    @gluon.jit
    def release(self, count):
        mbarrier.arrive(self.empty.index(count % self.STAGES), count=1)


@gluon.jit
def _make_ring(dtype: gl.constexpr, layout: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr):
    tiles = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], layout)
    full = mbarrier.allocate_mbarrier(batch=STAGES)
    empty = mbarrier.allocate_mbarrier(batch=STAGES)
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=1)
        mbarrier.init(empty.index(stage), count=2)
    return Ring(tiles, full, empty, STAGES)


@aggregate
class Work:
    """Which items there are, and where the host says what they cover."""

    tile_seq: gl.tensor
    tile_first: gl.tensor
    seq_start: gl.tensor
    seq_queries: gl.tensor
    seq_context: gl.tensor
    tiles: gl.tensor
    num_kv_heads: gl.constexpr
    tile_tokens: gl.constexpr

    @gluon.jit
    def rounds(self):
        """How many items this program takes."""
        programs = gl.num_programs(0)
        items = self.tiles * self.num_kv_heads
        full = items // programs
        return full + (_slot(full) < items % programs).to(gl.int32)

    @gluon.jit
    def item(self, round_index):
        """Tile of queries and KV head; the last tiles see the most keys."""
        index = self.tiles * self.num_kv_heads - 1 - round_index * gl.num_programs(0) - _slot(round_index)
        return index // self.num_kv_heads, index % self.num_kv_heads

    @gluon.jit
    def queries(self, tile):
        """As tile_queries of attention.py: sequence, first row of q, how many tokens, position of the first."""
        seq = gl.load(self.tile_seq + tile)
        first = gl.load(self.tile_first + tile)
        queries = gl.load(self.seq_queries + seq)
        context = gl.load(self.seq_context + seq)
        begin_row = gl.load(self.seq_start + seq) + first
        return seq, begin_row, gl.minimum(queries - first, self.tile_tokens), context - queries + first


@gluon.jit
def _slot(round_index):
    """This program's place in a round: to and fro."""
    pid = gl.program_id(0)
    return gl.where(round_index % 2 == 0, pid, gl.num_programs(0) - 1 - pid)


@gluon.jit
def _load_pages(cache, rows, barrier, tile, page_size: gl.constexpr, PAGES: gl.constexpr):
    """The tile's pages; they begin at `rows` of the cache."""
    mbarrier.expect(barrier, tile.nbytes_per_cta)
    for page in gl.static_range(PAGES):
        tma.async_load(cache, [rows[page], 0], barrier, tile.slice(page * page_size, page_size))


@gluon.jit
def _load(
    work, k_cache, v_cache, k, v, page_table, max_pages, num_pages, page_size: gl.constexpr, BLOCK_N: gl.constexpr
):  # fmt: skip
    """What the loading warp does. `num_pages` of the cache, for each KV head."""
    PAGES: gl.constexpr = BLOCK_N // page_size
    count = 0
    for round_index in range(work.rounds()):
        tile, kv_head = work.item(round_index)
        seq, begin_row, tokens, first_position = work.queries(tile)
        limit = first_position + tokens
        pages = gl.cdiv(limit, page_size)
        page_entry = page_table + seq.to(gl.int64) * max_pages
        blocks = gl.cdiv(limit, BLOCK_N)
        for block in range(blocks - 1, -1, -1):
            rows = ()
            for offset in gl.static_range(PAGES):
                index = block * PAGES + offset
                page = gl.load(page_entry + gl.minimum(index, pages - 1))
                row = (kv_head * num_pages + page) * page_size
                rows = rows + (gl.where(index < pages, row, NO_ROW),)
            barrier, into = k.load_stage(count)
            _load_pages(k_cache, rows, barrier, into, page_size, PAGES)
            barrier, into = v.load_stage(count)
            _load_pages(v_cache, rows, barrier, into, page_size, PAGES)
            count += 1


@gluon.jit
def _weights(s, highest, scale, column, position, MASKED: gl.constexpr):
    """Weights of the scores s [rows, keys] against their maximum so far, that maximum, what earlier weights are to
    be multiplied with, and the sums of the weights. `position` counts from the tile's first key."""
    if MASKED:
        s = gl.where(column[None, :] <= position[:, None], s, float("-inf"))
    now = gl.maximum(highest, gl.max(s, axis=1))
    shift = now * scale
    if MASKED:
        shift = gl.where(now == float("-inf"), 0.0, shift)
    p = gl.exp2(s * scale - shift[:, None])
    return p, now, gl.exp2(highest * scale - shift), gl.sum(p, axis=1)


@gluon.jit
def _order(value):
    """`value`, computed before anything that comes behind: the assembler moves no wait for matrix instructions over
    a fence, and this one it cannot know never to run. Otherwise it has the exponentials wait for products that
    they should run beside."""
    return gl.inline_asm(
        "{ .reg .pred over; setp.gt.f32 over, $2, 0f7F800000; setp.gt.or.f32 over, $3, 0f7F800000, over;"
        " @over fence.proxy.async.shared::cta; mov.b32 $0, $2; mov.b32 $1, $3; }",
        "=f,=f,f,f",
        [value],
        value.type,
        is_pure=False,
    )


@gluon.jit
def _scores(q_tile, keys, like):
    """q keys^T, begun."""
    return warpgroup_mma(q_tile, keys.permute((1, 0)), like, use_acc=False, is_async=True)


@gluon.jit
def _step(
    p, o, highest, total, count, k, v, q_tile, scale, column, position, s_layout: gl.constexpr, MASKED: gl.constexpr
):  # fmt: skip
    """Scores of the next tile of keys and values of tile `count`, whose weights are p."""
    zeros = gl.zeros([GROUP_ROWS, column.shape[0]], gl.float32, s_layout)
    s = _scores(q_tile, k.take(count + 1), zeros)
    o = warpgroup_mma(p, v.take(count), o, is_async=True)
    s = warpgroup_mma_wait(1, deps=[s])
    k.release(count + 1)
    weights, highest, rescale, part = _weights(s, highest, scale, column, position, MASKED)
    total = total * rescale + _order(part)
    o, weights = warpgroup_mma_wait(0, deps=[o, weights])
    v.release(count)
    o = o * gl.convert_layout(rescale, gl.SliceLayout(1, o.type.layout))[:, None]
    p = gl.convert_layout(weights.to(p.dtype), p.type.layout)
    return p, o, highest, total, count + 1


@gluon.jit
def _clear_past_end(tile, valid, BLOCK_N: gl.constexpr):
    """Zeros in rows from `valid` on: they were never written, and 0 times NaN is NaN. Both groups do it."""
    PART: gl.constexpr = 32
    D: gl.constexpr = tile.shape[1]
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    row = gl.arange(0, PART, layout=gl.SliceLayout(1, layout))
    for part in gl.static_range(BLOCK_N // PART):
        if valid < (part + 1) * PART:
            rows = tile.slice(part * PART, PART)
            values = rows.load(layout)
            rows.store(gl.where((row < valid - part * PART)[:, None], values, gl.zeros_like(values)))
    fence_async_shared()
    gl.barrier()


@gluon.jit
def _attend(
    work, q, out, q_tiles, k, v, scale, num_heads: gl.constexpr, head_dim: gl.constexpr, q_stride: gl.constexpr,
    BLOCK_N: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """What group WARPS (0 or 1) of the computing warps does: rows [64 WARPS, 64 WARPS + 64) of every tile."""
    D: gl.constexpr = head_dim
    GROUP: gl.constexpr = num_heads // work.num_kv_heads
    s_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    o_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    p_layout: gl.constexpr = gl.DotOperandLayout(0, o_layout, 2)
    memory_layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    dtype: gl.constexpr = q.dtype.element_ty
    q_tile = q_tiles.index(WARPS)
    first_row = WARPS * GROUP_ROWS
    s_row = first_row + gl.arange(0, GROUP_ROWS, layout=gl.SliceLayout(1, s_layout))
    column = gl.arange(0, BLOCK_N, layout=gl.SliceLayout(0, s_layout))
    # A row is (token, head of the group).
    row = first_row + gl.arange(0, GROUP_ROWS, layout=gl.SliceLayout(1, memory_layout))
    d = gl.arange(0, D, layout=gl.SliceLayout(0, memory_layout))
    count = 0
    for round_index in range(work.rounds()):
        tile, kv_head = work.item(round_index)
        seq, begin_row, tokens, first_position = work.queries(tile)
        inside = (row < work.tile_tokens * GROUP) & (row // GROUP < tokens)
        q_row = (begin_row + gl.where(inside, row // GROUP, 0)).to(gl.int64)
        head = kv_head * GROUP + row % GROUP
        q_tile.store(gl.load(q + (q_row * q_stride + head * D)[:, None] + d[None, :]))
        fence_async_shared()
        gl.barrier()

        # Rows past the last token see as much as it does; nothing of them is stored.
        position = first_position + gl.minimum(s_row // GROUP, tokens - 1)
        limit = first_position + tokens
        block = (limit - 1) // BLOCK_N
        seen_by_all = (first_position + 1) // BLOCK_N  # tiles of keys that need no mask
        s = _scores(q_tile, k.take(count), gl.zeros([GROUP_ROWS, BLOCK_N], gl.float32, s_layout))
        s = warpgroup_mma_wait(0, deps=[s])
        k.release(count)
        highest = gl.full([GROUP_ROWS], float("-inf"), gl.float32, gl.SliceLayout(1, s_layout))
        weights, highest, rescale, total = _weights(s, highest, scale, column, position - block * BLOCK_N, True)
        p = gl.convert_layout(weights.to(dtype), p_layout)
        o = gl.zeros([GROUP_ROWS, D], gl.float32, o_layout)
        if limit % BLOCK_N != 0:
            _clear_past_end(v.take(count), limit - block * BLOCK_N, BLOCK_N)
        for masked in range(block - 1, seen_by_all - 1, -1):
            p, o, highest, total, count = _step(
                p, o, highest, total, count, k, v, q_tile, scale, column, position - masked * BLOCK_N, s_layout, True
            )
        for _ in range(gl.minimum(block, seen_by_all)):
            p, o, highest, total, count = _step(
                p, o, highest, total, count, k, v, q_tile, scale, column, position, s_layout, False
            )
        o = warpgroup_mma(p, v.take(count), o, is_async=True)
        o = warpgroup_mma_wait(0, deps=[o])
        v.release(count)
        count += 1

        # Through shared memory, so that a row goes out in one piece.
        q_tile.store((o / gl.convert_layout(total, gl.SliceLayout(1, o_layout))[:, None]).to(dtype))
        at = out + (q_row * num_heads + head)[:, None] * D + d[None, :]
        gl.store(at, q_tile.load(memory_layout), mask=inside[:, None])


@gluon.jit
def attention_tiles_hopper(
    q, k_cache, v_cache, tile_seq, tile_first, seq_start, seq_queries, seq_context, page_table, slopes,
    out, partial, lse, tiles, max_pages, num_pages, scale, window, softcap,
    num_heads: gl.constexpr, num_kv_heads: gl.constexpr, head_dim: gl.constexpr, page_size: gl.constexpr,
    q_stride: gl.constexpr, tile_tokens: gl.constexpr, num_splits: gl.constexpr, split_pages: gl.constexpr,
    has_window: gl.constexpr, has_softcap: gl.constexpr, has_alibi: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_D: gl.constexpr, STAGES: gl.constexpr, PROGRAMS: gl.constexpr,
):  # fmt: skip
    gl.static_assert(num_splits == 1 and not has_window and not has_softcap and not has_alibi)
    gl.static_assert(q.dtype == k_cache.dtype and q.dtype == out.dtype)
    gl.static_assert(tile_tokens * (num_heads // num_kv_heads) <= BLOCK_M and BLOCK_M == 2 * GROUP_ROWS)
    gl.static_assert(head_dim == BLOCK_D and BLOCK_N % page_size == 0)
    dtype: gl.constexpr = q.dtype.element_ty
    D: gl.constexpr = head_dim
    layout: gl.constexpr = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
    k_pages = tma.make_tensor_descriptor(k_cache, [NO_ROW, D], [D, 1], [page_size, D], layout)
    v_pages = tma.make_tensor_descriptor(v_cache, [NO_ROW, D], [D, 1], [page_size, D], layout)
    q_tiles = gl.allocate_shared_memory(dtype, [2, GROUP_ROWS, D], layout)
    k = _make_ring(dtype, layout, BLOCK_N, D, STAGES)
    v = _make_ring(dtype, layout, BLOCK_N, D, STAGES)
    fence_async_shared()
    work = Work(tile_seq, tile_first, seq_start, seq_queries, seq_context, tiles, num_kv_heads, tile_tokens)
    scale_log2 = scale * 1.4426950408889634
    gl.warp_specialize(
        [
            (_attend, (work, q, out, q_tiles, k, v, scale_log2, num_heads, D, q_stride, BLOCK_N, 0)),
            (_attend, (work, q, out, q_tiles, k, v, scale_log2, num_heads, D, q_stride, BLOCK_N, 1)),
            (_load, (work, k_pages, v_pages, k, v, page_table, max_pages, num_pages, page_size, BLOCK_N)),
        ],
        [4, 1],  # warps of the second and third role
        [240, 24],  # registers of their threads
    )
