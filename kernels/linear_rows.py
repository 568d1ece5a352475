"""Linear layers over unquantised weights that lie in memory as in their file, [n, k] row by row: how GPUs want them.

Matrix instructions of GPUs take both factors from shared memory, where the copy engine puts tiles of them
without a register in between. Regimes, chosen by the tile constant MODE:
  - 0, one row of x: products and sums in registers.
  - 1, a tile of x times a tile of weights, read through pointers, one tile of the output for each program.
  - 2, the same with the factors exchanged, so that few rows of x still fill the instruction.
  - 3, tiles come through tensor descriptors, and a program takes one tile of the output after the other. LOOP 1
    begins to load for the next tile before this one is finished; LOOP 2 leaves loading to warps of its own. PARTS
    is how many pieces of the output tile go to memory one after the other.
In modes 1 to 3 SPLIT programs can share a tile of the output, each with a piece of k, where there are too few tiles
for a GPU. Each writes its sum to the workspace; the one that comes last adds all of them, in their order, so that
results do not depend on who that is.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import linear_rows_cases
from kernels.linear_out import gated
from kernels.linear_rows_hopper import linear_rows_hopper
from kernels.spec import FLOATS, I32, WORKSPACE_FLAG_BYTES, Cost, DType, Flag, Int, Kernel, Ptr

_FLAGS = tl.constexpr(WORKSPACE_FLAG_BYTES // 4)


@triton.jit
def _row_times_rows(x, weights, row, column, n: tl.constexpr, k: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):  # fmt: skip
    """[BLOCK_N] f32: row `row` of x times the rows `column` of the weights."""
    kk = tl.arange(0, BLOCK_K)
    x_at = x + row.to(tl.int64) * k + kk
    w_at = weights + tl.minimum(column, n - 1).to(tl.int64)[:, None] * k + kk[None, :]
    acc = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for k0 in range(0, k, BLOCK_K):
        if k % BLOCK_K != 0:
            inside = kk < k - k0
            xs = tl.load(x_at + k0, mask=inside, other=0.0)
            w = tl.load(w_at + k0, mask=inside[None, :], other=0.0)
        else:
            xs = tl.load(x_at + k0)
            w = tl.load(w_at + k0)
        acc += w.to(tl.float32) * xs.to(tl.float32)[None, :]
    return tl.sum(acc, axis=1)


@triton.jit
def _tile_at(base, index, count, k: tl.constexpr, BLOCK_K: tl.constexpr):
    """Pointers to rows `index`, cut to `count`, and the first columns."""
    return base + tl.minimum(index, count - 1).to(tl.int64)[:, None] * k + tl.arange(0, BLOCK_K)[None, :]


@triton.jit
def _load_tile(at, k0, dtype: tl.constexpr, k: tl.constexpr, BLOCK_K: tl.constexpr):
    if k % BLOCK_K != 0:
        value = tl.load(at + k0, mask=(tl.arange(0, BLOCK_K) < k - k0)[None, :], other=0.0)
    else:
        value = tl.load(at + k0)
    if value.dtype != dtype:
        value = value.to(dtype)
    return value


@triton.jit
def _finish(
    acc, up, bias, out, row, column, rows,
    n: tl.constexpr, out_stride: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr,
):  # fmt: skip
    """What follows the product of [rows, columns], and the store."""
    acc = gated(acc, up, bias, column, n, has_bias, gate)
    at = out + row.to(tl.int64)[:, None] * out_stride + column[None, :]
    inside = (row < rows)[:, None] & (column < n)[None, :]
    if residual:
        acc += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    tl.store(at, acc.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _sums_at(workspace, item, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Where the sums [BLOCK_M, BLOCK_N] number `item` lie in the workspace, behind its flags."""
    sums = (workspace + _FLAGS).to(tl.pointer_type(tl.float32), bitcast=True)
    inner = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    return sums + item.to(tl.int64) * (BLOCK_M * BLOCK_N) + inner


@triton.jit
def _finish_split(
    acc, up, workspace, bias, out, tile, part, row, column, rows, n: tl.constexpr, out_stride: tl.constexpr,
    has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """As _finish, for the sums of the piece `part` of k. A tile's flag counts the pieces that are done, and is zero
    again when the tile is."""
    BLOCK_M: tl.constexpr = acc.shape[0]
    BLOCK_N: tl.constexpr = acc.shape[1]
    PLANES: tl.constexpr = 2 if gate != 0 else 1
    # With the launcher's bound on the workspace: no more tiles than flags.
    tl.static_assert(SPLIT * PLANES * BLOCK_M * BLOCK_N * _FLAGS * 4 >= 64 * 1024 * 1024)
    item = (tile * SPLIT + part) * PLANES
    tl.store(_sums_at(workspace, item, BLOCK_M, BLOCK_N), acc, cache_modifier=".cg")
    if gate != 0:
        tl.store(_sums_at(workspace, item + 1, BLOCK_M, BLOCK_N), up, cache_modifier=".cg")
    tl.debug_barrier()  # the flag is for what all threads have written
    before = tl.atomic_add(workspace + tile, 1, sem="acq_rel", scope="gpu")
    if before == SPLIT - 1:
        item = tile * (SPLIT * PLANES)
        total = tl.load(_sums_at(workspace, item, BLOCK_M, BLOCK_N), cache_modifier=".cg")
        for i in tl.static_range(1, SPLIT):
            total += tl.load(_sums_at(workspace, item + i * PLANES, BLOCK_M, BLOCK_N), cache_modifier=".cg")
        total2 = total
        if gate != 0:
            total2 = tl.load(_sums_at(workspace, item + 1, BLOCK_M, BLOCK_N), cache_modifier=".cg")
            for i in tl.static_range(1, SPLIT):
                total2 += tl.load(_sums_at(workspace, item + i * PLANES + 1, BLOCK_M, BLOCK_N), cache_modifier=".cg")
        tl.store(workspace + tile, 0)
        _finish(total, total2, bias, out, row, column, rows, n, out_stride, has_bias, residual, gate)


@triton.jit
def _halves(tile):
    """Left and right half of the columns."""
    parts = tl.reshape(tile, (tile.shape[0], 2, tile.shape[1] // 2))
    return tl.split(tl.permute(parts, (0, 2, 1)))


@triton.jit
def _put(
    acc, up, bias, out_tiles, row, column, n: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr,
    gate: tl.constexpr,
):  # fmt: skip
    """As _finish, for the tile at `row` and `column`, through the copy engine; that adds by itself."""
    acc = gated(acc, up, bias, column + tl.arange(0, acc.shape[1]), n, has_bias, gate)
    if residual:
        out_tiles.atomic_add([row, column], acc.to(out_tiles.dtype))
    else:
        out_tiles.store([row, column], acc.to(out_tiles.dtype))


@triton.jit
def _place(tile, blocks_m, blocks_n, GROUP: tl.constexpr):
    """Row and column of a tile of the output: GROUP rows of tiles share their columns of weights while these are
    in the cache."""
    group = tile // (GROUP * blocks_n)
    first = group * GROUP
    height = tl.minimum(blocks_m - first, GROUP)
    inner = tile % (GROUP * blocks_n)
    return first + inner % height, inner // height


@triton.jit
def linear_rows_kernel(
    x, weights, weights2, bias, out, workspace, rows, x_dtype: tl.constexpr,
    n: tl.constexpr, k: tl.constexpr, out_stride: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr,
    gate: tl.constexpr, MODE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr = 8, PROGRAMS: tl.constexpr = 1 << 30, PARTS: tl.constexpr = 1, LOOP: tl.constexpr = 0,
    SPLIT: tl.constexpr = 1, STAGES: tl.constexpr = 0,
):  # fmt: skip
    tl.static_assert(SPLIT == 1 or (MODE != 0 and k % (SPLIT * BLOCK_K) == 0))
    PIECE: tl.constexpr = k // SPLIT  # columns of x that one program takes
    dtype: tl.constexpr = x_dtype
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(rows, BLOCK_M)
    blocks_n: tl.constexpr = (n + BLOCK_N - 1) // BLOCK_N
    if MODE == 3:
        x_tiles = tl.make_tensor_descriptor(x, [rows, k], [k, 1], [BLOCK_M, BLOCK_K])
        w_tiles = tl.make_tensor_descriptor(weights, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
        if gate != 0:
            u_tiles = tl.make_tensor_descriptor(weights2, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
        STORE_N: tl.constexpr = BLOCK_N // PARTS
        out_tiles = tl.make_tensor_descriptor(out, [rows, n], [out_stride, 1], [BLOCK_M, STORE_N])
        items = blocks_m * blocks_n * SPLIT
        for item in tl.range(pid, items, tl.num_programs(0), flatten=LOOP == 1, warp_specialize=LOOP == 2):
            tile = item // SPLIT
            first = item % SPLIT * PIECE
            block_m, block_n = _place(tile, blocks_m, blocks_n, GROUP)
            acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
            up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
            for k0 in range(0, PIECE, BLOCK_K):
                xs = x_tiles.load([block_m * BLOCK_M, first + k0])
                acc = tl.dot(xs, w_tiles.load([block_n * BLOCK_N, first + k0]).T, acc)
                if gate != 0:
                    up = tl.dot(xs, u_tiles.load([block_n * BLOCK_N, first + k0]).T, up)
            row = block_m * BLOCK_M
            column = block_n * BLOCK_N
            if SPLIT > 1:
                rows_at = row + tl.arange(0, BLOCK_M)
                columns_at = column + tl.arange(0, BLOCK_N)
                _finish_split(
                    acc, up, workspace, bias, out, tile, item % SPLIT, rows_at, columns_at, rows,
                    n, out_stride, has_bias, residual, gate, SPLIT,
                )  # fmt: skip
            elif PARTS == 1:
                _put(acc, up, bias, out_tiles, row, column, n, has_bias, residual, gate)
            else:
                left, right = _halves(acc)
                left2, right2 = _halves(up)
                if PARTS == 2:
                    _put(left, left2, bias, out_tiles, row, column, n, has_bias, residual, gate)
                    _put(right, right2, bias, out_tiles, row, column + STORE_N, n, has_bias, residual, gate)
                else:
                    a, b = _halves(left)
                    a2, b2 = _halves(left2)
                    _put(a, a2, bias, out_tiles, row, column, n, has_bias, residual, gate)
                    _put(b, b2, bias, out_tiles, row, column + STORE_N, n, has_bias, residual, gate)
                    a, b = _halves(right)
                    a2, b2 = _halves(right2)
                    _put(a, a2, bias, out_tiles, row, column + 2 * STORE_N, n, has_bias, residual, gate)
                    _put(b, b2, bias, out_tiles, row, column + 3 * STORE_N, n, has_bias, residual, gate)
    elif MODE == 0:
        tl.static_assert(BLOCK_M == 1)
        row = pid % blocks_m
        column = pid // blocks_m * BLOCK_N + tl.arange(0, BLOCK_N)
        acc = _row_times_rows(x, weights, row, column, n, k, BLOCK_N, BLOCK_K)
        up = acc
        if gate != 0:
            up = _row_times_rows(x, weights2, row, column, n, k, BLOCK_N, BLOCK_K)
        row = row + tl.arange(0, 1)
        _finish(acc[None, :], up[None, :], bias, out, row, column, rows, n, out_stride, has_bias, residual, gate)
    else:
        tile = pid // SPLIT
        first = pid % SPLIT * PIECE
        block_m, block_n = _place(tile, blocks_m, blocks_n, GROUP)
        row = block_m * BLOCK_M + tl.arange(0, BLOCK_M)
        column = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
        x_at = _tile_at(x + first, row, rows, k, BLOCK_K)
        w_at = _tile_at(weights + first, column, n, k, BLOCK_K)
        u_at = w_at
        if gate != 0:
            u_at = _tile_at(weights2 + first, column, n, k, BLOCK_K)
        HEIGHT: tl.constexpr = BLOCK_M if MODE == 1 else BLOCK_N
        WIDTH: tl.constexpr = BLOCK_N if MODE == 1 else BLOCK_M
        acc = tl.zeros((HEIGHT, WIDTH), dtype=tl.float32)
        up = tl.zeros((HEIGHT, WIDTH), dtype=tl.float32)
        for k0 in range(0, PIECE, BLOCK_K):
            xs = _load_tile(x_at, k0, dtype, k, BLOCK_K)
            w = _load_tile(w_at, k0, dtype, k, BLOCK_K)
            if MODE == 1:
                acc = tl.dot(xs, tl.trans(w), acc, input_precision="ieee")
            else:
                acc = tl.dot(w, tl.trans(xs), acc, input_precision="ieee")
            if gate != 0:
                u = _load_tile(u_at, k0, dtype, k, BLOCK_K)
                if MODE == 1:
                    up = tl.dot(xs, tl.trans(u), up, input_precision="ieee")
                else:
                    up = tl.dot(u, tl.trans(xs), up, input_precision="ieee")
        if MODE == 2:
            acc = tl.trans(acc)
            up = tl.trans(up)
        if SPLIT > 1:
            _finish_split(
                acc, up, workspace, bias, out, tile, pid % SPLIT, row, column, rows,
                n, out_stride, has_bias, residual, gate, SPLIT,
            )  # fmt: skip
        else:
            _finish(acc, up, bias, out, row, column, rows, n, out_stride, has_bias, residual, gate)


_UNTUNED = "x_dtype == 'f32' or k % 64 != 0"

LINEAR_ROWS = Kernel(
    name="linear_rows",
    doc="out[r, :n] = act(x[r, :] W^T) * (x[r, :] W2^T) + bias (+ out[r, :n]), W [n, k] unquantised, row by row; "
    "gate 0 leaves out act and W2",
    fn=linear_rows_kernel,
    key=[
        DType("x_dtype", allowed=FLOATS), DType("weight_dtype", allowed=FLOATS), DType("out_dtype", allowed=FLOATS),
        Int("n", min=1), Int("k", min=1),
        Int("out_stride", min=1, doc="elements between rows of out"),
        Flag("has_bias"), Flag("residual", doc="adds to what out holds"),
        Int("gate", max=3, doc="0 none, 1 SiLU, 2 GELU (tanh), 3 GELU (erf)"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, k"),
        Ptr("weights", "weight_dtype", "read", shape="n, k"),
        Ptr("weights2", "weight_dtype", "read", shape="n, k", optional="gate"),
        Ptr("bias", "f32", "read", shape="n", optional="has_bias"),
        Ptr("out", "out_dtype", "readwrite", shape="rows, out_stride"),
        Ptr("workspace", "i32", "scratch", shape="flags, then f32 sums of pieces", optional="SPLIT > 1"),
        I32("rows"),
    ],
    grid="min(ceil_div(rows, BLOCK_M) * ceil_div(n, BLOCK_N) * SPLIT, PROGRAMS)",
    workspace="4 * ceil_div(rows, BLOCK_M) * BLOCK_M * ceil_div(n, BLOCK_N) * BLOCK_N * SPLIT * (2 if gate != 0 else 1)"
    " if SPLIT > 1 else 0",
    select="rows",
    alternatives=[("MODE == 4", linear_rows_hopper)],
    cost=Cost(
        bytes="(2 if gate else 1) * n * k * size_of(weight_dtype) + rows * k * size_of(x_dtype)"
        " + rows * n * size_of(out_dtype) * (1 + residual) + n * 4 * has_bias",
        operations="(4 if gate else 2) * rows * n * k",
        products="x_dtype",
    ),
    reference=linear_rows_cases.linear_rows_reference,
    cases=linear_rows_cases.linear_rows_cases,
    # Through pointers, which every target can; those for the tensor descriptors of Hopper are in its file.
    default_tiles=[
        {"max": 1, "MODE": 0, "BLOCK_M": 1, "BLOCK_N": 4, "BLOCK_K": "min(next_pow2(k), 1024)"},
        {"max": 16, "when": _UNTUNED, "MODE": 1, "BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 32},
        {"when": _UNTUNED, "MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32},
        {"max": 16, "MODE": 1, "BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 64, "num_stages": 5},
        {"max": 64, "MODE": 1, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 64, "num_stages": 4},
        {"when": "gate == 0", "MODE": 1, "BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "num_stages": 3, "num_warps": 8},
        {"MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "num_stages": 3},
        {"MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32},
    ],
)  # fmt: skip

KERNELS = [LINEAR_ROWS]
