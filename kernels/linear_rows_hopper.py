"""Linear layers with many rows on NVIDIA's Hopper, in Gluon: what linear_rows.py computes, with warps that only load.

One warp keeps a ring of tiles of x and weights full, through the copy engine; two groups of four warps multiply.
LOOP says what the groups do:
  - 1: each has half of the rows of one tile of the output;
  - 2: each has a tile of its own, in turn: while one stores, the other multiplies.
The output leaves through the copy engine too, which adds to a residual by itself.
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


@gluon.jit
def _place(tile, blocks_m, blocks_n, GROUP: gl.constexpr):
    """Row and column of a tile of the output, as linear_rows._place."""
    group = tile // (GROUP * blocks_n)
    first = group * GROUP
    height = gl.minimum(blocks_m - first, GROUP)
    inner = tile % (GROUP * blocks_n)
    return first + inner % height, inner // height


@gluon.jit
def _load(
    x_tiles, w_tiles, u_tiles, xs, ws, us, full, empty, blocks_m, blocks_n, k: gl.constexpr, gate: gl.constexpr,
    GROUP: gl.constexpr,
):  # fmt: skip
    """The loading warp: all tiles of x [BLOCK_M, BLOCK_K] and weights [BLOCK_N, BLOCK_K] of this program, in order."""
    STAGES: gl.constexpr = xs.shape[0]
    BLOCK_M: gl.constexpr = xs.shape[1]
    BLOCK_N: gl.constexpr = ws.shape[1]
    BLOCK_K: gl.constexpr = xs.shape[2]
    BYTES: gl.constexpr = (BLOCK_M + BLOCK_N * (2 if gate != 0 else 1)) * BLOCK_K * 2
    step = 0
    for tile in range(gl.program_id(0), blocks_m * blocks_n, gl.num_programs(0)):
        block_m, block_n = _place(tile, blocks_m, blocks_n, GROUP)
        for k0 in range(0, k, BLOCK_K):
            slot = step % STAGES
            bar = full.index(slot)
            mbarrier.wait(empty.index(slot), (step // STAGES & 1) ^ 1)
            mbarrier.expect(bar, BYTES)
            tma.async_load(x_tiles, [block_m * BLOCK_M, k0], bar, xs.index(slot))
            tma.async_load(w_tiles, [block_n * BLOCK_N, k0], bar, ws.index(slot))
            if gate != 0:
                tma.async_load(u_tiles, [block_n * BLOCK_N, k0], bar, us.index(slot))
            step += 1


@gluon.jit
def _halves(tile):
    """Left and right half of the columns."""
    return tile.reshape((tile.shape[0], 2, tile.shape[1] // 2)).permute((0, 2, 1)).split()


@gluon.jit
def _put(acc, bias, out_tiles, place, row, column, n: gl.constexpr, has_bias: gl.constexpr, residual: gl.constexpr):
    """A piece of the output by way of `place` in shared memory, which the store before the last has left."""
    if has_bias:
        at = column + gl.arange(0, acc.shape[1], gl.SliceLayout(0, acc.type.layout))
        acc += gl.load(bias + at, mask=at < n, other=0.0)[None, :]
    tma.store_wait(1)
    place.store(acc.to(place.dtype))
    fence_async_shared()
    if residual:
        tma.async_atomic_add(out_tiles, [row, column], place)
    else:
        tma.async_store(out_tiles, [row, column], place)


@gluon.jit
def _put_pieces(
    acc, bias, out_tiles, places, row, column, n: gl.constexpr, has_bias: gl.constexpr, residual: gl.constexpr,
    WHO: gl.constexpr,
):  # fmt: skip
    """`acc` in pieces as wide as `places`, of which each group has two."""
    WIDTH: gl.constexpr = acc.shape[1] // 2
    left, right = _halves(acc)
    if WIDTH == places.shape[2]:
        _put(left, bias, out_tiles, places.index(2 * WHO), row, column, n, has_bias, residual)
        _put(right, bias, out_tiles, places.index(2 * WHO + 1), row, column + WIDTH, n, has_bias, residual)
    else:
        _put_pieces(left, bias, out_tiles, places, row, column, n, has_bias, residual, WHO)
        _put_pieces(right, bias, out_tiles, places, row, column + WIDTH, n, has_bias, residual, WHO)


@gluon.jit
def _multiply(
    bias, out_tiles, xs, ws, us, places, full, empty, turns, blocks_m, blocks_n, n: gl.constexpr, k: gl.constexpr,
    has_bias: gl.constexpr, residual: gl.constexpr, gate: gl.constexpr, GROUP: gl.constexpr, LOOP: gl.constexpr,
    WHO: gl.constexpr,
):  # fmt: skip
    """One of the two groups that multiply."""
    STAGES: gl.constexpr = xs.shape[0]
    BLOCK_M: gl.constexpr = xs.shape[1]
    BLOCK_N: gl.constexpr = ws.shape[1]
    BLOCK_K: gl.constexpr = xs.shape[2]
    HEIGHT: gl.constexpr = BLOCK_M // 2 if LOOP == 1 else BLOCK_M
    FIRST: gl.constexpr = HEIGHT * WHO if LOOP == 1 else 0
    LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    STEPS: gl.constexpr = (k + BLOCK_K - 1) // BLOCK_K
    # LOOP 2: of this program's tiles every other one, and of the ring's steps those that are for them. A group begins
    # when the other one has taken its last step: a barrier of the ring tells only one round from the next.
    first = gl.program_id(0)
    stride = gl.num_programs(0)
    step = 0
    turn = 0
    if LOOP == 2:
        first += WHO * stride
        stride *= 2
        step = WHO * STEPS
    for tile in range(first, blocks_m * blocks_n, stride):
        block_m, block_n = _place(tile, blocks_m, blocks_n, GROUP)
        acc = gl.zeros((HEIGHT, BLOCK_N), gl.float32, LAYOUT)
        up = acc
        if LOOP == 2:
            mbarrier.wait(turns.index(WHO), turn & 1 ^ (1 - WHO))
        for k0 in range(0, k, BLOCK_K):
            slot = step % STAGES
            mbarrier.wait(full.index(slot), step // STAGES & 1)
            x = xs.index(slot).slice(FIRST, HEIGHT)
            acc = warpgroup_mma(x, ws.index(slot).permute((1, 0)), acc, is_async=True)
            # The products before are done: their slot is free.
            if gate != 0:
                up = warpgroup_mma(x, us.index(slot).permute((1, 0)), up, is_async=True)
                acc, up = warpgroup_mma_wait(2, deps=(acc, up))
            else:
                acc = warpgroup_mma_wait(1, deps=(acc,))
            mbarrier.arrive(empty.index((step + STAGES - 1) % STAGES), pred=k0 > 0)
            step += 1
        last = step
        if LOOP == 2:
            mbarrier.arrive(turns.index(1 - WHO))
            turn += 1
            step += STEPS
        if gate != 0:
            acc, up = warpgroup_mma_wait(0, deps=(acc, up))
        else:
            acc = warpgroup_mma_wait(0, deps=(acc,))
        mbarrier.arrive(empty.index((last + STAGES - 1) % STAGES))
        row = block_m * BLOCK_M + FIRST
        if gate != 0:
            acc = acc / (1.0 + gl.exp(-acc)) * up
        _put_pieces(acc, bias, out_tiles, places, row, block_n * BLOCK_N, n, has_bias, residual, WHO)
    tma.store_wait(0)


@gluon.jit
def linear_rows_hopper(
    x, weights, weights2, bias, out, workspace, rows, x_dtype: gl.constexpr,
    n: gl.constexpr, k: gl.constexpr, out_stride: gl.constexpr, has_bias: gl.constexpr, residual: gl.constexpr,
    gate: gl.constexpr, MODE: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr,
    GROUP: gl.constexpr, PROGRAMS: gl.constexpr, PARTS: gl.constexpr, LOOP: gl.constexpr, SPLIT: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    gl.static_assert(SPLIT == 1 and gate <= 1 and BLOCK_K % 64 == 0 and x.dtype == weights.dtype)
    blocks_m = (rows + BLOCK_M - 1) // BLOCK_M
    blocks_n: gl.constexpr = (n + BLOCK_N - 1) // BLOCK_N
    HEIGHT: gl.constexpr = BLOCK_M // 2 if LOOP == 1 else BLOCK_M
    WIDTH: gl.constexpr = BLOCK_N // PARTS
    IN: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    OUT: gl.constexpr = gl.NVMMASharedLayout.get_default_for([HEIGHT, WIDTH], out.dtype.element_ty)
    x_tiles = tma.make_tensor_descriptor(x, [rows, k], [k, 1], [BLOCK_M, BLOCK_K], IN)
    w_tiles = tma.make_tensor_descriptor(weights, [n, k], [k, 1], [BLOCK_N, BLOCK_K], IN)
    xs = gl.allocate_shared_memory(x.dtype.element_ty, [STAGES, BLOCK_M, BLOCK_K], IN)
    ws = gl.allocate_shared_memory(x.dtype.element_ty, [STAGES, BLOCK_N, BLOCK_K], IN)
    u_tiles = w_tiles
    us = ws
    if gate != 0:
        u_tiles = tma.make_tensor_descriptor(weights2, [n, k], [k, 1], [BLOCK_N, BLOCK_K], IN)
        us = gl.allocate_shared_memory(x.dtype.element_ty, [STAGES, BLOCK_N, BLOCK_K], IN)
    out_tiles = tma.make_tensor_descriptor(out, [rows, n], [out_stride, 1], [HEIGHT, WIDTH], OUT)
    places = gl.allocate_shared_memory(out.dtype.element_ty, [4, HEIGHT, WIDTH], OUT)
    full = mbarrier.allocate_mbarrier(batch=STAGES)
    empty = mbarrier.allocate_mbarrier(batch=STAGES)
    turns = mbarrier.allocate_mbarrier(batch=2)
    for i in gl.static_range(2):
        mbarrier.init(turns.index(i), count=1)
    for i in gl.static_range(STAGES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=2 if LOOP == 1 else 1)
    gl.warp_specialize(
        [
            (
                _multiply,
                (
                    bias, out_tiles, xs, ws, us, places, full, empty, turns, blocks_m, blocks_n, n, k,
                    has_bias, residual, gate, GROUP, LOOP, 0,
                ),
            ),
            (
                _multiply,
                (
                    bias, out_tiles, xs, ws, us, places, full, empty, turns, blocks_m, blocks_n, n, k,
                    has_bias, residual, gate, GROUP, LOOP, 1,
                ),
            ),
            (_load, (x_tiles, w_tiles, u_tiles, xs, ws, us, full, empty, blocks_m, blocks_n, k, gate, GROUP)),
        ],
        [4, 1],
        [232, 40],
    )  # fmt: skip
