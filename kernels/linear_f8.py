"""Linear layers over e4m3 weights that lie in memory as in their file, [n, k] row by row: how GPUs want them.

A scale belongs to `scale_rows` rows and `group` columns of the weights: one row and all columns, or 128 and 128.
x is numbers, and codes of weights are widened to its type (exactly); or x is e4m3 too (float8.py), and the matrix
instruction multiplies codes. Hopper's adds them with 14 bits, so that sum is taken for BLOCK_K columns only and
then added in f32, scaled where the weights have a scale for these columns (two levels: DeepSeek-V3, arXiv 2412.19437,
section 3.3.2). MODE as in linear_rows.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import linear_f8_cases
from kernels.float8 import is_float8, widen
from kernels.linear_rows import _finish, _halves, _place, _put, _tile_at
from kernels.spec import FLOATS, I32, Cost, DType, Flag, Int, Kernel, Ptr


@triton.jit
def _load(at, k0, k: tl.constexpr, BLOCK_K: tl.constexpr):
    if k % BLOCK_K != 0:
        return tl.load(at + k0, mask=(tl.arange(0, BLOCK_K) < k - k0)[None, :], other=0.0)
    else:
        return tl.load(at + k0)


@triton.jit
def _dot(a, b, acc, EXACT: tl.constexpr):
    """acc + a b^T. EXACT: the instruction adds in f32."""
    if EXACT:
        return tl.dot(a, tl.trans(b), acc, input_precision="ieee")
    else:
        return acc + tl.dot(a, tl.trans(b))


@triton.jit
def _row_times_rows(
    x, weights, scales, row, block_n, column,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):  # fmt: skip
    """[BLOCK_N] f32: row `row` of x times the rows `column` of the weights."""
    PARTS: tl.constexpr = (k + group - 1) // group
    kk = tl.arange(0, BLOCK_K)
    x_at = x + row.to(tl.int64) * k + kk
    w_at = weights + tl.minimum(column, n - 1).to(tl.int64)[:, None] * k + kk[None, :]
    acc = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for k0 in range(0, k, BLOCK_K):
        if k % BLOCK_K != 0:
            inside = kk < k - k0
            xs = tl.load(x_at + k0, mask=inside, other=0.0).to(tl.float32)
            w = tl.load(w_at + k0, mask=inside[None, :], other=0.0)
        else:
            xs = tl.load(x_at + k0).to(tl.float32)
            w = tl.load(w_at + k0)
        if group < k:  # all rows of the tile share the scales of a group
            tl.static_assert(scale_rows % BLOCK_N == 0)
            part = tl.minimum((k0 + kk) // group, PARTS - 1)
            xs *= tl.load(scales + block_n * BLOCK_N // scale_rows * PARTS + part)
        acc += widen(w, tl.float32) * xs[None, :]
    result = tl.sum(acc, axis=1)
    if group >= k:
        result *= tl.load(scales + tl.minimum(column, n - 1) // scale_rows)
    return result


@triton.jit
def _scale_tile(scales, x_scales, column, row, part, rows, n: tl.constexpr, scale_rows: tl.constexpr, PARTS: tl.constexpr, CODES: tl.constexpr):  # fmt: skip
    """[rows, columns] or what broadcasts to it: scale of group `part` of the weights, and of x where it is codes."""
    if scale_rows % column.shape[0] == 0:
        scale = tl.load(scales + tl.min(column, axis=0) // scale_rows * PARTS + part) + tl.zeros((1, 1), tl.float32)
    else:
        scale = tl.load(scales + tl.minimum(column, n - 1) // scale_rows * PARTS + part)[None, :]
    if CODES:
        scale = tl.load(x_scales + part.to(tl.int64) * rows + tl.minimum(row, rows - 1))[:, None] * scale
    return scale


@triton.jit
def _scaled(acc, scales, x_scales, column, row, rows, n: tl.constexpr, scale_rows: tl.constexpr, CODES: tl.constexpr):  # fmt: skip
    """A sum over all columns times the scales of its row and column."""
    acc *= tl.load(scales + tl.minimum(column, n - 1) // scale_rows)[None, :]
    if CODES:
        acc *= tl.load(x_scales + tl.minimum(row, rows - 1))[:, None]
    return acc


@triton.jit
def _pointer_tile(
    x, x_scales, weights, scales, row, column, rows, dtype: tl.constexpr,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, MODE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):  # fmt: skip
    """[rows, columns] f32 through pointers. `dtype` is what both factors are multiplied in."""
    BLOCK_M: tl.constexpr = row.shape[0]
    BLOCK_N: tl.constexpr = column.shape[0]
    CODES: tl.constexpr = is_float8(x.dtype.element_ty)
    EXACT: tl.constexpr = not is_float8(dtype)
    PARTS: tl.constexpr = (k + group - 1) // group
    x_at = _tile_at(x, row, rows, k, BLOCK_K)
    w_at = _tile_at(weights, column, n, k, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if MODE == 2:
        acc = tl.trans(acc)
    for k0 in range(0, k, BLOCK_K):
        xs = widen(_load(x_at, k0, k, BLOCK_K), dtype)
        w = widen(_load(w_at, k0, k, BLOCK_K), dtype)
        if group < k:
            tl.static_assert(group % BLOCK_K == 0)
            scale = _scale_tile(scales, x_scales, column, row, k0 // group, rows, n, scale_rows, PARTS, CODES)
            if MODE == 1:
                acc += tl.dot(xs, tl.trans(w), input_precision="ieee") * scale
            else:
                acc += tl.dot(w, tl.trans(xs), input_precision="ieee") * tl.trans(scale)
        elif MODE == 1:
            acc = _dot(xs, w, acc, EXACT)
        else:
            acc = _dot(w, xs, acc, EXACT)
    if MODE == 2:
        acc = tl.trans(acc)
    if group >= k:
        acc = _scaled(acc, scales, x_scales, column, row, rows, n, scale_rows, CODES)
    return acc


@triton.jit
def _put_parts(acc, up, bias, out_tiles, row, column, n: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, PARTS: tl.constexpr):  # fmt: skip
    """A tile of the output in PARTS pieces, side by side."""
    if PARTS == 1:
        _put(acc, up, bias, out_tiles, row, column, n, has_bias, residual, gate)
    else:
        left, right = _halves(acc)
        left_up, right_up = _halves(up)
        _put_parts(left, left_up, bias, out_tiles, row, column, n, has_bias, residual, gate, PARTS // 2)
        _put_parts(right, right_up, bias, out_tiles, row, column + left.shape[1], n, has_bias, residual, gate, PARTS // 2)


@triton.jit
def _by_copy_engine(
    x, x_scales, weights, scales, weights2, scales2, bias, out, rows,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, out_stride: tl.constexpr,
    has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, GROUP: tl.constexpr, PARTS: tl.constexpr, LOOP: tl.constexpr,
):  # fmt: skip
    """MODE 3: codes of x and of the weights in tiles, one tile of the output after the other."""
    GROUPS: tl.constexpr = (k + group - 1) // group
    blocks_m = tl.cdiv(rows, BLOCK_M)
    blocks_n: tl.constexpr = (n + BLOCK_N - 1) // BLOCK_N
    x_tiles = tl.make_tensor_descriptor(x, [rows, k], [k, 1], [BLOCK_M, BLOCK_K])
    w_tiles = tl.make_tensor_descriptor(weights, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
    if gate != 0:
        u_tiles = tl.make_tensor_descriptor(weights2, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
    out_tiles = tl.make_tensor_descriptor(out, [rows, n], [out_stride, 1], [BLOCK_M, BLOCK_N // PARTS])
    for tile in tl.range(tl.program_id(0), blocks_m * blocks_n, tl.num_programs(0), flatten=LOOP == 1, warp_specialize=LOOP == 2):  # fmt: skip
        block_m, block_n = _place(tile, blocks_m, blocks_n, GROUP)
        row = block_m * BLOCK_M + tl.arange(0, BLOCK_M)
        column = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k0 in range(0, k, BLOCK_K):
            if group < k:
                tl.static_assert(group % BLOCK_K == 0)
                scale = _scale_tile(scales, x_scales, column, row, k0 // group, rows, n, scale_rows, GROUPS, True)
            else:
                scale = tl.full((1, 1), 1.0, dtype=tl.float32)
            xs = x_tiles.load([block_m * BLOCK_M, k0])
            acc += tl.dot(xs, w_tiles.load([block_n * BLOCK_N, k0]).T) * scale
            if gate != 0:
                if group < k:
                    scale = _scale_tile(scales2, x_scales, column, row, k0 // group, rows, n, scale_rows, GROUPS, True)
                up += tl.dot(xs, u_tiles.load([block_n * BLOCK_N, k0]).T) * scale
        if group >= k:
            acc = _scaled(acc, scales, x_scales, column, row, rows, n, scale_rows, True)
            if gate != 0:
                up = _scaled(up, scales2, x_scales, column, row, rows, n, scale_rows, True)
        _put_parts(acc, up, bias, out_tiles, block_m * BLOCK_M, block_n * BLOCK_N, n, has_bias, residual, gate, PARTS)


@triton.jit
def linear_f8_kernel(
    x, x_scales, weights, scales, weights2, scales2, bias, out, rows,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, out_stride: tl.constexpr,
    has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, MODE: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP: tl.constexpr, PROGRAMS: tl.constexpr, PARTS: tl.constexpr,
    LOOP: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(rows, BLOCK_M)
    blocks_n: tl.constexpr = (n + BLOCK_N - 1) // BLOCK_N
    # Without the type, or with numbers in x, products are of numbers.
    NUMBERS: tl.constexpr = tl.bfloat16 if x.dtype.element_ty == tl.uint8 else x.dtype.element_ty
    if MODE == 3:
        tl.static_assert(NUMBERS == tl.float8e4nv)
        _by_copy_engine(
            x, x_scales, weights, scales, weights2, scales2, bias, out, rows, n, k, scale_rows, group, out_stride,
            has_bias, residual, gate, BLOCK_M, BLOCK_N, BLOCK_K, GROUP, PARTS, LOOP,
        )  # fmt: skip
    elif MODE == 0:
        tl.static_assert(BLOCK_M == 1 and not is_float8(x.dtype.element_ty))
        row = pid % blocks_m
        block_n = pid // blocks_m
        column = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
        acc = _row_times_rows(x, weights, scales, row, block_n, column, n, k, scale_rows, group, BLOCK_N, BLOCK_K)
        up = acc
        if gate != 0:
            up = _row_times_rows(x, weights2, scales2, row, block_n, column, n, k, scale_rows, group, BLOCK_N, BLOCK_K)
        row = row + tl.arange(0, 1)
        _finish(acc[None, :], up[None, :], bias, out, row, column, rows, n, out_stride, has_bias, residual, gate)
    else:
        block_m, block_n = _place(pid, blocks_m, blocks_n, GROUP)
        row = block_m * BLOCK_M + tl.arange(0, BLOCK_M)
        column = block_n * BLOCK_N + tl.arange(0, BLOCK_N)
        acc = _pointer_tile(
            x, x_scales, weights, scales, row, column, rows, NUMBERS, n, k, scale_rows, group, MODE, BLOCK_K
        )
        up = acc
        if gate != 0:
            up = _pointer_tile(
                x, x_scales, weights2, scales2, row, column, rows, NUMBERS, n, k, scale_rows, group, MODE, BLOCK_K
            )
        _finish(acc, up, bias, out, row, column, rows, n, out_stride, has_bias, residual, gate)


_TILE_EACH = {"GROUP": 8, "PROGRAMS": 1 << 30, "PARTS": 1, "LOOP": 0}  # a program for each tile of the output
SCALE_KEY = [
    Int("scale_rows", min=1, doc="rows of weights that share a scale: 1, or a multiple of 128"),
    Int("group", min=1, doc="columns that share a scale: k, or a multiple of 128"),
]


def cost_of(x_scales: str) -> Cost:
    """Of a linear layer over e4m3 weights; `x_scales`: bytes of the scales of x."""
    return Cost(
        bytes="(2 if gate else 1) * (n * k + ceil_div(n, scale_rows) * ceil_div(k, group) * 4)"
        f" + rows * k * size_of(x_dtype) + {x_scales}"
        " + rows * n * size_of(out_dtype) * (1 + residual) + n * 4 * has_bias",
        operations="(4 if gate else 2) * rows * n * k",
        products="x_dtype",
    )


LINEAR_F8 = Kernel(
    name="linear_f8",
    doc="out[r, :n] = act(x[r, :] W^T) * (x[r, :] W2^T) + bias (+ out[r, :n]), W [n, k] e4m3 codes, row by row, times "
    "scales; gate 0 leaves out act and W2",
    fn=linear_f8_kernel,
    key=[
        DType("x_dtype", allowed=(*FLOATS, "f8e4m3"), doc="f8e4m3: codes as float8.py has them"),
        DType("out_dtype", allowed=FLOATS),
        Int("n", min=1), Int("k", min=1), *SCALE_KEY,
        Int("out_stride", min=1, doc="elements between rows of out"),
        Flag("has_bias"), Flag("residual", doc="adds to what out holds"),
        Int("gate", max=3, doc="0 none, 1 SiLU, 2 GELU (tanh), 3 GELU (erf)"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, k"),
        Ptr("x_scales", "f32", "read", shape="k / group rounded up, rows", optional="x_dtype is f8e4m3"),
        Ptr("weights", "f8e4m3", "read", shape="n, k"),
        Ptr("scales", "f32", "read", shape="n / scale_rows, k / group, both rounded up"),
        Ptr("weights2", "f8e4m3", "read", shape="n, k", optional="gate"),
        Ptr("scales2", "f32", "read", shape="n / scale_rows, k / group, both rounded up", optional="gate"),
        Ptr("bias", "f32", "read", shape="n", optional="has_bias"),
        Ptr("out", "out_dtype", "readwrite", shape="rows, out_stride"),
        I32("rows"),
    ],
    grid="min(ceil_div(rows, BLOCK_M) * ceil_div(n, BLOCK_N), PROGRAMS)",
    select="rows",
    cost=cost_of("(rows * ceil_div(k, group) * 4 if x_dtype == 'f8e4m3' else 0)"),
    reference=linear_f8_cases.linear_f8_reference,
    cases=linear_f8_cases.linear_f8_cases,
    default_tiles=[
        {"max": 1, "when": "x_dtype != 'f8e4m3'", "MODE": 0, "BLOCK_M": 1, "BLOCK_N": 4, "BLOCK_K": "min(next_pow2(k), 1024)", **_TILE_EACH},
        {"max": 16, "when": "x_dtype == 'f32'", "MODE": 1, "BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 32, **_TILE_EACH},
        {"when": "x_dtype == 'f32'", "MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, **_TILE_EACH},
        {"max": 16, "when": "k >= 128", "MODE": 1, "BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 128, **_TILE_EACH, "num_stages": 4},
        {"max": 64, "when": "k >= 128", "MODE": 1, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 128, **_TILE_EACH, "num_stages": 3},
        {"when": "k >= 128", "MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 128, **_TILE_EACH, "num_stages": 3},
        {"MODE": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, **_TILE_EACH},
        {"MODE": 1, "BLOCK_M": 32, "BLOCK_N": 32, "BLOCK_K": 64, **_TILE_EACH},
    ],
)  # fmt: skip

KERNELS = [LINEAR_F8]
