"""Rows times tiles of weights that are brought to the type of x, for linear.py."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.quant import word_element


@triton.jit
def _panel_rows(at, ROWS: tl.constexpr, WIDTH: tl.constexpr, PANEL: tl.constexpr, BLOCK_N: tl.constexpr):
    """Addresses of ROWS rows of WIDTH elements of the panels that hold BLOCK_N columns, PANEL elements from one to
    the next: [ROWS, WIDTH] of one, [ROWS, panels, WIDTH] of more."""
    row = tl.arange(0, ROWS) * WIDTH
    inside = tl.arange(0, WIDTH)
    if BLOCK_N == 32:
        return at + row[:, None] + inside[None, :]
    else:
        panel = tl.arange(0, BLOCK_N // 32) * PANEL
        return at + row[:, None, None] + panel[None, :, None] + inside[None, None, :]


@triton.jit
def _half_tile(codes, k0, panel, k: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, code_dtype: tl.constexpr, STREAM: tl.constexpr):
    """As _weight_tile for 16-bit weights, unchanged, of panels side by side, `panel` the first: a word is two columns
    of a row, as an instruction that multiplies pairs wants them."""
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // 2
    at = (codes + panel * (K_WORDS * 32) + k0 // 2 * 32).to(tl.pointer_type(code_dtype), bitcast=True)
    value = tl.load(_panel_rows(at, BLOCK_K // 2, 64, K_WORDS * 64, BLOCK_N), eviction_policy=STREAM)
    value = tl.permute(tl.reshape(value, (BLOCK_K // 2, BLOCK_N, 2)), (0, 2, 1))
    return tl.reshape(value, (BLOCK_K, BLOCK_N))


@triton.jit
def _weight_tile(
    codes, scales, mins, k0, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Columns k0 .. k0 + BLOCK_K of the rows `panel`, `lane` as f32 [BLOCK_K, rows]; k0 % BLOCK_K == 0."""
    PER_WORD: tl.constexpr = 32 // bits
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    kk = tl.arange(0, BLOCK_K)
    at = codes + (panel * (K_WORDS * 32) + lane)[None, :] + (k0 // PER_WORD * 32 + kk // PER_WORD * 32)[:, None]
    value = word_element(tl.load(at), (kk % PER_WORD)[:, None], bits, code_dtype)
    if group > 0:
        offset = (panel * (k // group * 32) + lane)[None, :] + (k0 // group * 32 + kk // group * 32)[:, None]
        if zero != 0:
            value -= zero
        value *= tl.load(scales + offset).to(tl.float32)
        if has_min:
            value += tl.load(mins + offset).to(tl.float32)
    return value


@triton.jit
def weight_tile_by_words(
    codes, scales, mins, k0, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, dtype: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, SIDE_BY_SIDE: tl.constexpr,
    STREAM: tl.constexpr,
):  # fmt: skip
    """The same in `dtype`, with every word and every scale loaded once."""
    PER_WORD: tl.constexpr = 32 // bits
    WORDS: tl.constexpr = BLOCK_K // PER_WORD
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    if SIDE_BY_SIDE:
        words_at = codes + panel * (K_WORDS * 32) + k0 // PER_WORD * 32
        words = tl.load(_panel_rows(words_at, WORDS, 32, K_WORDS * 32, BLOCK_N), eviction_policy=STREAM)
        words = tl.reshape(words, (WORDS, BLOCK_N))
    else:
        word = k0 // PER_WORD + tl.arange(0, WORDS)
        word_at = codes + (panel * (K_WORDS * 32) + lane)[None, :] + (word * 32)[:, None]
        words = tl.load(word_at, eviction_policy=STREAM)
    i = tl.arange(0, PER_WORD)[None, :, None]
    if bits == 16 and code_dtype == dtype:
        value = (words[:, None, :] >> (16 * i)).to(tl.int16).to(dtype, bitcast=True)
        return tl.reshape(value, (BLOCK_K, BLOCK_N))
    value = word_element(words[:, None, :], i, bits, code_dtype)
    if group > 0:
        GROUPS: tl.constexpr = BLOCK_K // group
        value = tl.reshape(value, (GROUPS, group, BLOCK_N))
        offset = (panel * (k // group * 32) + lane)[None, :] + ((k0 // group + tl.arange(0, GROUPS)) * 32)[:, None]
        if zero != 0:
            value -= zero
        value *= tl.load(scales + offset).to(tl.float32)[:, None, :]
        if has_min:
            value += tl.load(mins + offset).to(tl.float32)[:, None, :]
    return tl.reshape(value.to(dtype), (BLOCK_K, BLOCK_N))


@triton.jit
def _weights(
    codes, scales, mins, k0, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, dtype: tl.constexpr, DOT: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """[BLOCK_K, BLOCK_N] in `dtype`, in the way that the regime and the weights ask for."""
    if DOT == 4 or (bits == 16 and code_dtype != dtype):
        return weight_tile_by_words(
            codes, scales, mins, k0, panel, lane, k, bits, code_dtype, zero, group, has_min, dtype, BLOCK_K, BLOCK_N,
            SIDE_BY_SIDE, STREAM,
        )  # fmt: skip
    elif SIDE_BY_SIDE:
        return _half_tile(codes, k0, panel, k, BLOCK_K, BLOCK_N, code_dtype, STREAM)
    else:
        w = _weight_tile(codes, scales, mins, k0, panel, lane, k, bits, code_dtype, zero, group, has_min, BLOCK_K)
        return w.to(dtype)


@triton.jit
def _add_tile(
    acc, up, x_at, codes, scales, mins, codes2, scales2, mins2, row_inside, panel, lane, k0,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, gate: tl.constexpr, DOT: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr, STREAM: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """acc and up with the products of columns k0 .. k0 + BLOCK_K; x_at: where the first BLOCK_K of x are."""
    if FULL:
        xs = tl.load(x_at + k0)
    else:
        inside = row_inside[:, None]
        if k % BLOCK_K != 0:
            inside = inside & (k0 + tl.arange(0, BLOCK_K) < k)[None, :]
        xs = tl.load(x_at + k0, mask=inside, other=0.0)
    w = _weights(
        codes, scales, mins, k0, panel, lane, k, bits, code_dtype, zero, group, has_min,
        xs.dtype, DOT, BLOCK_K, BLOCK_N, SIDE_BY_SIDE, STREAM,
    )  # fmt: skip
    acc = tl.dot(xs, w, acc, input_precision="ieee")
    if gate != 0:
        w = _weights(
            codes2, scales2, mins2, k0, panel, lane, k, bits, code_dtype, zero, group, has_min,
            xs.dtype, DOT, BLOCK_K, BLOCK_N, SIDE_BY_SIDE, STREAM,
        )  # fmt: skip
        up = tl.dot(xs, w, up, input_precision="ieee")
    return acc, up


@triton.jit
def rows_times_tiles(
    x, codes, scales, mins, codes2, scales2, mins2, row, row_inside, panel, lane,
    x_stride: tl.constexpr, k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, gate: tl.constexpr, DOT: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr, REST_K: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """[rows, BLOCK_N] f32 by a matrix product per BLOCK_K columns, and for what is left of them, where REST_K is not 0,
    per REST_K, for both weights of a gated layer. SIDE_BY_SIDE: 16-bit weights, and `panel` is the first of whole
    panels, all inside; else `panel` and `lane` are those of each column. FULL: all rows are inside, and k is a multiple
    of BLOCK_K, or of REST_K."""
    BLOCK_M: tl.constexpr = row.shape[0]
    tl.static_assert(DOT != 4 or k % BLOCK_K == 0)
    # Asked for ahead where a few tiles of rows share the weights; widening them leaves more time for it.
    MOST: tl.constexpr = 16 if x.dtype.element_ty == code_dtype else 32
    STREAM: tl.constexpr = "evict_first" if DOT == 1 and BLOCK_M <= MOST and BLOCK_K <= 64 else ""
    END: tl.constexpr = k // BLOCK_K * BLOCK_K if REST_K > 0 else (k + 31) // 32 * 32
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    row_at = x + row.to(tl.int64)[:, None] * x_stride
    x_at = row_at + tl.arange(0, BLOCK_K)[None, :]
    for k0 in range(0, END, BLOCK_K):
        acc, up = _add_tile(
            acc, up, x_at, codes, scales, mins, codes2, scales2, mins2, row_inside, panel, lane, k0,
            k, bits, code_dtype, zero, group, has_min, gate, DOT, BLOCK_K, BLOCK_N, SIDE_BY_SIDE, STREAM, FULL,
        )  # fmt: skip
    if REST_K > 0:
        rest_at = row_at + tl.arange(0, REST_K)[None, :]
        for k0 in range(END, k, REST_K):
            acc, up = _add_tile(
                acc, up, rest_at, codes, scales, mins, codes2, scales2, mins2, row_inside, panel, lane, k0,
                k, bits, code_dtype, zero, group, has_min, gate, DOT, REST_K, BLOCK_N, SIDE_BY_SIDE, STREAM, FULL,
            )  # fmt: skip
    return acc, up
