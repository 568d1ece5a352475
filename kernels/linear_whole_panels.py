"""Panels of weights that are brought to the type of x whole, once for many rows, for linear.py."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.linear_out import gated, store_tile
from kernels.linear_tiles import weight_tile_by_words


@triton.constexpr_function
def rest_columns(k, block):
    """Of tiles for the columns behind the last whole block: the largest power of two that divides their number."""
    rest = k % block
    return rest & -rest if rest else 1


@triton.jit
def whole_panel(
    codes, scales, mins, panel,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, dtype: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A panel in `dtype`, as tensors [BLOCK_K, 32], and of what is left of k as [REST_K, 32]."""
    REST_K: tl.constexpr = rest_columns(k, BLOCK_K)
    lane = tl.arange(0, 32)
    tiles = ()
    for i in tl.static_range(k // BLOCK_K):
        tile = weight_tile_by_words(
            codes, scales, mins, i * BLOCK_K, panel, lane, k, bits, code_dtype, zero, group, has_min, dtype, BLOCK_K, 32, True, ""
        )
        tiles = tiles + (tile,)
    for i in tl.static_range(k % BLOCK_K // REST_K):
        tile = weight_tile_by_words(
            codes, scales, mins, k // BLOCK_K * BLOCK_K + i * REST_K, panel, lane,
            k, bits, code_dtype, zero, group, has_min, dtype, REST_K, 32, True, "",
        )  # fmt: skip
        tiles = tiles + (tile,)
    return tiles


@triton.jit
def _add_columns(acc, row_at, row_inside, column, tile, FULL: tl.constexpr):
    """acc with the products of these columns of x and their tile of a panel."""
    if FULL:
        xs = tl.load(row_at + column[None, :])
    else:
        xs = tl.load(row_at + column[None, :], mask=row_inside[:, None], other=0.0)
    return tl.dot(xs, tile, acc, input_precision="ieee")


@triton.jit
def rows_times_panel(x, row, row_inside, tiles, x_stride: tl.constexpr, k: tl.constexpr, BLOCK_K: tl.constexpr, FULL: tl.constexpr):
    """[rows, 32] f32 of a whole_panel. FULL: all rows are inside."""
    REST_K: tl.constexpr = rest_columns(k, BLOCK_K)
    BLOCKS: tl.constexpr = k // BLOCK_K
    row_at = x + row.to(tl.int64)[:, None] * x_stride
    acc = tl.zeros((row.shape[0], 32), dtype=tl.float32)
    for i in tl.static_range(BLOCKS):
        acc = _add_columns(acc, row_at, row_inside, i * BLOCK_K + tl.arange(0, BLOCK_K), tiles[i], FULL)
    for i in tl.static_range(k % BLOCK_K // REST_K):
        column = BLOCKS * BLOCK_K + i * REST_K + tl.arange(0, REST_K)
        acc = _add_columns(acc, row_at, row_inside, column, tiles[BLOCKS + i], FULL)
    return acc


@triton.jit
def _panel_tile(
    x, w, w2, bias, out, row, row_inside, panel, out_dtype: tl.constexpr, n: tl.constexpr, k: tl.constexpr,
    x_stride: tl.constexpr, out_stride: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr,
    BLOCK_K: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """The tile of out of these rows and one panel, given whole. FULL: all rows of x are inside."""
    acc = rows_times_panel(x, row, row_inside, w, x_stride, k, BLOCK_K, FULL)
    up = acc
    if gate != 0:
        up = rows_times_panel(x, row, row_inside, w2, x_stride, k, BLOCK_K, FULL)
    block_n = panel.to(tl.int32)
    column = block_n * 32 + tl.arange(0, 32)
    acc = gated(acc, up, bias, column, n, has_bias, gate)
    store_tile(acc, out, out, out, out, row, row_inside, column, block_n, out_dtype, False, n, out_stride, residual, False)


@triton.jit
def panel_tiles(
    x, codes, scales, mins, codes2, scales2, mins2, bias, out, rows, begin, panel, out_dtype: tl.constexpr,
    bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr, has_min: tl.constexpr,
    n: tl.constexpr, k: tl.constexpr, x_stride: tl.constexpr, out_stride: tl.constexpr, has_bias: tl.constexpr,
    residual: tl.constexpr, gate: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, INNER_M: tl.constexpr,
):  # fmt: skip
    """The tiles of out of BLOCK_M rows from `begin` on and one panel, INNER_M rows at a time."""
    dtype: tl.constexpr = x.dtype.element_ty
    w = whole_panel(codes, scales, mins, panel, k, bits, code_dtype, zero, group, has_min, dtype, BLOCK_K)
    w2 = w
    if gate != 0:
        w2 = whole_panel(codes2, scales2, mins2, panel, k, bits, code_dtype, zero, group, has_min, dtype, BLOCK_K)
    local = tl.arange(0, INNER_M)
    if rows < INNER_M:
        _panel_tile(
            x, w, w2, bias, out, local, local < rows, panel, out_dtype, n, k, x_stride, out_stride, has_bias, residual, gate,
            BLOCK_K, False,
        )  # fmt: skip
    else:
        for first in range(begin, tl.minimum(begin + BLOCK_M, rows), INNER_M):
            # The last rows move up until all are inside; those that another tile has are not stored.
            row = tl.minimum(first, rows - INNER_M) + local
            _panel_tile(
                x, w, w2, bias, out, row, row >= first, panel, out_dtype, n, k, x_stride, out_stride, has_bias, residual, gate,
                BLOCK_K, True,
            )  # fmt: skip
