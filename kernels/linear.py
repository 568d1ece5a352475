"""Linear layers: y = x W^T over every weight format, with what follows it fused.

One kernel reads the panels of quant.py. Regimes, chosen by tile constants:
  - DOT = 0, one row: weights are taken from their words straight into registers and multiplied in f32;
    each group is summed before its scale is applied.
  - DOT = 1, any rows: a [BLOCK_K, BLOCK_N] tile of weights is brought to x's type once and used for BLOCK_M rows by
    a matrix product that accumulates in f32. On CPUs, few rows and 16-bit weights: of panels side by side.
  - DOT = 2, x as 8-bit codes and weights as 4- or 8-bit ones: each group's product is summed in integers, and
    both scales are applied to the sum. Any number of rows gives a row the same result. DOT = 3 is the same
    without matrix instructions, for targets whose instructions take more columns than a group has.
    EXPONENTS = 1: multiplies with scales that are octaves apart by adding to exponents. Weights whose scales lie in pairs
    (scale_pairs.py) are multiplied in integers throughout.
  - DOT = 4, as 1 for k that is a multiple of BLOCK_K, with every word and scale loaded once: what GPUs want. DOT = 1
    does so with 16-bit weights of another type than x, and asks for weights ahead where a few tiles share them.
  - DOT = 5: a whole panel is brought to x's type once, and used for BLOCK_M rows, INNER_M at a time.
With x in f32 every product is of exact f32 weights; with bf16 x a weight is rounded to bf16.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import linear_cases, linear_reference
from kernels.activation_codes import TERMS
from kernels.linear_codes import codes_product
from kernels.linear_out import gated, store_tile
from kernels.linear_pairs import pairs_product
from kernels.linear_tiles import rows_times_tiles
from kernels.linear_whole_panels import panel_tiles
from kernels.quant import CODE_DTYPES, word_element
from kernels.spec import FLOATS, I32, Cost, DType, Flag, Int, Kernel, Ptr


@triton.jit
def _row_times_panels(
    x, codes, scales, mins, row, panel, lane,
    x_stride: tl.constexpr, k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr,
    group: tl.constexpr, has_min: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """[1, BLOCK_N] f32 without a matrix product, for the row of index `row`; `panel` is a scalar or, as `lane`,
    [BLOCK_N]."""
    PER_WORD: tl.constexpr = 32 // bits
    STEP: tl.constexpr = group if group > 0 else 32
    WORDS: tl.constexpr = STEP // PER_WORD
    STEPS: tl.constexpr = (k + STEP - 1) // STEP
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    word = tl.arange(0, WORDS)
    i = tl.arange(0, PER_WORD)
    word_at = codes + (panel * (K_WORDS * 32) + lane)[None, None, :] + (word * 32)[:, None, None]
    scale_at = scales + panel * (STEPS * 32) + lane
    min_at = mins + panel * (STEPS * 32) + lane
    column = word[:, None] * PER_WORD + i[None, :]
    x_at = x + row.to(tl.int64) * x_stride
    acc = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for step in range(0, STEPS):
        value = word_element(tl.load(word_at + step * (WORDS * 32)), i[None, :, None], bits, code_dtype)
        if k % STEP != 0:
            xs = tl.load(x_at + step * STEP + column, mask=column + step * STEP < k, other=0.0).to(tl.float32)
        else:
            xs = tl.load(x_at + step * STEP + column).to(tl.float32)
        part = tl.sum(tl.sum(value * xs[:, :, None], axis=1), axis=0)
        if group > 0:
            scale = tl.load(scale_at + step * 32).to(tl.float32)
            if zero != 0 or has_min:
                x_sum = tl.sum(tl.load(x_at + step * STEP + tl.arange(0, STEP)).to(tl.float32), axis=0)
            if zero != 0:
                part -= zero * x_sum
            part *= scale
            if has_min:
                part += tl.load(min_at + step * 32).to(tl.float32) * x_sum
        acc += part
    return acc[None, :]


@triton.jit
def _product(
    x, x_scales, x_sums, x_pairs, codes, scales, mins, row, row_inside, panel, terms: tl.constexpr,
    second_from: tl.constexpr, octaves: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr,
    group: tl.constexpr, has_min: tl.constexpr, k: tl.constexpr, x_stride: tl.constexpr, DOT: tl.constexpr,
    EXPONENTS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """[rows, 32] f32 of these rows and one panel, for x as codes."""
    if scales.dtype.element_ty == tl.int32:
        return pairs_product(
            x, x_sums, x_pairs, codes, scales, mins, row, row_inside, panel,
            terms, second_from, octaves, x_stride, k, bits, has_min, DOT, FULL,
        )  # fmt: skip
    else:
        return codes_product(
            x, x_scales, x_sums, codes, scales, mins, row, row_inside, panel,
            terms, second_from, x_stride, k, bits, code_dtype, zero, group, has_min, DOT, EXPONENTS * octaves, FULL,
        )  # fmt: skip


@triton.jit
def _codes_tile(
    x, x_scales, x_sums, x_pairs, codes, scales, mins, codes2, scales2, mins2, bias, out, out_scales,
    out_sums, out_pairs,
    row, row_inside, panel, out_dtype: tl.constexpr, paired_out: tl.constexpr, terms: tl.constexpr,
    second_from: tl.constexpr, octaves: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr,
    group: tl.constexpr, has_min: tl.constexpr, n: tl.constexpr, k: tl.constexpr, x_stride: tl.constexpr,
    out_stride: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, DOT: tl.constexpr,
    EXPONENTS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """The tile of out of these rows and one panel, for x as codes. FULL: all rows are inside."""
    acc = _product(
        x, x_scales, x_sums, x_pairs, codes, scales, mins, row, row_inside, panel,
        terms, second_from, octaves, bits, code_dtype, zero, group, has_min, k, x_stride, DOT, EXPONENTS, FULL,
    )  # fmt: skip
    up = acc
    if gate != 0:
        up = _product(
            x, x_scales, x_sums, x_pairs, codes2, scales2, mins2, row, row_inside, panel,
            terms, second_from, octaves, bits, code_dtype, zero, group, has_min, k, x_stride, DOT, EXPONENTS, FULL,
        )  # fmt: skip
    block_n = panel.to(tl.int32)
    column = block_n * 32 + tl.arange(0, 32)
    acc = gated(acc, up, bias, column, n, has_bias, gate, out_dtype == tl.int8)
    store_tile(
        acc, out, out_scales, out_sums, out_pairs, row, row_inside, column, block_n,
        out_dtype, paired_out, n, out_stride, residual, FULL,
    )  # fmt: skip


@triton.jit
def _tile_of(pid, blocks_m, blocks_n: tl.constexpr, GROUP_M: tl.constexpr):
    """block_m, block_n of a program: neighbours share weights. With GROUP_M only so many blocks of rows at a time, whose
    x then lies in a core's own cache, and launch after launch the same rows in the same core's."""
    if GROUP_M == 0:
        return pid % blocks_m, pid // blocks_m
    else:
        first = pid // (GROUP_M * blocks_n) * GROUP_M
        here = tl.minimum(blocks_m - first, GROUP_M)
        inside = pid % (GROUP_M * blocks_n)
        return first + inside % here, inside // here


@triton.jit
def linear_kernel(
    x, x_scales, x_sums, x_pairs, codes, scales, mins, codes2, scales2, mins2, bias, out, out_scales,
    out_sums, out_pairs, rows,
    out_dtype: tl.constexpr, paired_out: tl.constexpr, terms: tl.constexpr, second_from: tl.constexpr,
    octaves: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, n: tl.constexpr, k: tl.constexpr, x_stride: tl.constexpr, out_stride: tl.constexpr,
    has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, DOT: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr = 0, EXPONENTS: tl.constexpr = 0,
    INNER_M: tl.constexpr = 0,
):  # fmt: skip
    block_m, block_n = _tile_of(tl.program_id(0), tl.cdiv(rows, BLOCK_M), (n + BLOCK_N - 1) // BLOCK_N, GROUP_M)
    row = block_m * BLOCK_M + tl.arange(0, BLOCK_M)
    row_inside = row < rows
    all_inside = (block_m + 1) * BLOCK_M <= rows
    local = tl.arange(0, BLOCK_N)
    # CPUs read panels of few rows side by side: memory gives more to two or four streams than to one.
    SIDE_BY_SIDE: tl.constexpr = DOT == 1 and bits == 16 and (BLOCK_N == 32 or (BLOCK_M <= 8 and n % BLOCK_N == 0))
    if SIDE_BY_SIDE or BLOCK_N == 32:
        panel = block_n.to(tl.int64) * (BLOCK_N // 32)
        lane = local
    else:
        # Past the last panel read it again; nothing of that is stored.
        panel = tl.minimum(block_n * (BLOCK_N // 32) + local // 32, (n + 31) // 32 - 1).to(tl.int64)
        lane = local % 32
    if DOT == 2 or DOT == 3:
        tl.static_assert(BLOCK_N == 32)
        # Without masks where all rows are inside.
        if BLOCK_M == 1 or all_inside:
            _codes_tile(
                x, x_scales, x_sums, x_pairs, codes, scales, mins, codes2, scales2, mins2, bias, out,
                out_scales, out_sums, out_pairs, row, row_inside, panel, out_dtype, paired_out, terms, second_from,
                octaves, bits, code_dtype, zero,
                group, has_min, n, k, x_stride, out_stride, has_bias, residual, gate, DOT, EXPONENTS, True,
            )  # fmt: skip
        else:
            _codes_tile(
                x, x_scales, x_sums, x_pairs, codes, scales, mins, codes2, scales2, mins2, bias, out,
                out_scales, out_sums, out_pairs, row, row_inside, panel, out_dtype, paired_out, terms, second_from,
                octaves, bits, code_dtype, zero,
                group, has_min, n, k, x_stride, out_stride, has_bias, residual, gate, DOT, EXPONENTS, False,
            )  # fmt: skip
    elif DOT == 5:
        panel_tiles(
            x, codes, scales, mins, codes2, scales2, mins2, bias, out, rows, block_m * BLOCK_M, panel, out_dtype,
            bits, code_dtype, zero, group, has_min, n, k, x_stride, out_stride, has_bias, residual, gate, BLOCK_M, BLOCK_K, INNER_M,
        )  # fmt: skip
    else:
        if DOT == 1 or DOT == 4:
            # Masks cost a CPU much, and Triton's pipelines for GPUs want one loop.
            REST_K: tl.constexpr = 64 if BLOCK_K > 64 and k % BLOCK_K != 0 else 0
            if DOT == 1 and k % (REST_K if REST_K > 0 else BLOCK_K) == 0 and all_inside:
                acc, up = rows_times_tiles(
                    x, codes, scales, mins, codes2, scales2, mins2, row, row_inside, panel, lane,
                    x_stride, k, bits, code_dtype, zero, group, has_min, gate, DOT, BLOCK_K, BLOCK_N, SIDE_BY_SIDE,
                    REST_K, True,
                )  # fmt: skip
            else:
                acc, up = rows_times_tiles(
                    x, codes, scales, mins, codes2, scales2, mins2, row, row_inside, panel, lane,
                    x_stride, k, bits, code_dtype, zero, group, has_min, gate, DOT, BLOCK_K, BLOCK_N, SIDE_BY_SIDE,
                    REST_K, False,
                )  # fmt: skip
        else:
            tl.static_assert(BLOCK_M == 1)
            acc = _row_times_panels(
                x, codes, scales, mins, block_m, panel, lane, x_stride, k, bits, code_dtype, zero, group, has_min, BLOCK_N
            )
            up = acc
            if gate != 0:
                up = _row_times_panels(
                    x, codes2, scales2, mins2, block_m, panel, lane, x_stride, k, bits, code_dtype, zero, group, has_min, BLOCK_N
                )
        column = block_n * BLOCK_N + local
        acc = gated(acc, up, bias, column, n, has_bias, gate)
        store_tile(
            acc, out, out_scales, out_sums, out_pairs, row, row_inside, column, block_n,
            out_dtype, paired_out, n, out_stride, residual, False,
        )  # fmt: skip


LINEAR = Kernel(
    name="linear",
    doc="out[r, :n] = act(x[r, :] W^T) * (x[r, :] W2^T) + bias (+ out[r, :n]), W [n, k] in the panels of quant.py; "
    "gate 0 leaves out act and W2",
    fn=linear_kernel,
    key=[
        DType("x_dtype", allowed=(*FLOATS, "i8"), doc="i8: codes as activation_codes.py has them"),
        DType("out_dtype", allowed=(*FLOATS, "i8"), doc="i8 too, of one term; then n is a multiple of 32"),
        Flag("paired_out", doc="of codes: what pair_rows makes pairs of, instead of sums"),
        TERMS,
        Int("second_from", doc="panels of columns that end before it make do with the first of two terms"),
        Flag("octaves", doc="scales of a row of x are whole octaves apart"),
        Int("bits", doc="of a code: 4, 8, or 16 and 32 for unquantised weights"),
        DType("code_dtype", allowed=CODE_DTYPES, doc="u8 unsigned, i8 signed codes; or the weight's float type"),
        Int("zero", doc="subtracted from codes"),
        Int("group", doc="columns that share a scale; 0: no scales"),
        DType("scale_dtype", allowed=("f16", "f32", "i32"), doc="i32: pairs, as scale_pairs.py has them"),
        Flag("has_min"), Int("n", min=1), Int("k", min=1),
        Int("x_stride", min=1, doc="elements from row to row of x"),
        Int("out_stride", min=1, doc="elements from row to row of out"),
        Flag("has_bias"), Flag("residual", doc="adds to what out holds"),
        Int("gate", max=3, doc="0 none, 1 SiLU, 2 GELU (tanh), 3 GELU (erf)"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, x_stride"),
        Ptr("x_scales", "f32", "read", shape="rows, k / 32", optional="x_dtype is i8"),
        Ptr("x_sums", "f32", "read", shape="rows, (1 + terms) * k / 32", optional="x_dtype is i8"),
        Ptr("x_pairs", "i32", "read", shape="rows, pair_words(k / 32, terms)", optional="scale_dtype is i32"),
        Ptr("codes", "i32", "read", shape="n_pad / 32, k_pad / per_word, 32", streamed=True),
        Ptr("scales", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="group"),
        Ptr("mins", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="has_min"),
        Ptr("codes2", "i32", "read", shape="n_pad / 32, k_pad / per_word, 32", optional="gate", streamed=True),
        Ptr("scales2", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="gate"),
        Ptr("mins2", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="gate"),
        Ptr("bias", "f32", "read", shape="n", optional="has_bias"),
        Ptr("out", "out_dtype", "readwrite", shape="rows, out_stride"),
        Ptr("out_scales", "f32", "write", shape="rows, n / 32", optional="out_dtype is i8"),
        Ptr("out_sums", "f32", "write", shape="rows, 2 * n / 32", optional="out_dtype is i8 and not paired_out"),
        Ptr("out_pairs", "i32", "write", shape="rows, pair_words(n / 32, 1)", optional="paired_out"),
        I32("rows"),
    ],
    grid="ceil_div(rows, BLOCK_M) * ceil_div(n, BLOCK_N)",
    select="rows",
    cost=Cost(
        bytes="(2 if gate else 1) * (n * k * bits // 8"
        " + (n * (k // group) * (2 if scale_dtype == 'i32' else size_of(scale_dtype)) * (1 + has_min) if group else 0))"
        " + rows * k * terms * size_of(x_dtype) + rows * n * size_of(out_dtype) * (1 + residual) + n * 4 * has_bias"
        " + (rows * (k // 32) * (12 * terms if scale_dtype == 'i32' else 4 + 4 * terms) if x_dtype == 'i8' else 0)"
        " + (rows * (n // 32) * (12 - 4 * paired_out) if out_dtype == 'i8' else 0)",
        operations="(4 if gate else 2) * rows * n * k",
        products="x_dtype",
    ),
    reference=linear_reference.linear_reference,
    cases=linear_cases.linear_cases,
    same_bits="x_dtype != 'f16'",  # which no model on a CPU has
    default_tiles=[
        {"when": "x_dtype == 'i8' and group < 32", "DOT": 3, "BLOCK_M": 8, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4},
        {"max": 16, "when": "x_dtype == 'i8'", "DOT": 2, "BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 2},
        {"when": "x_dtype == 'i8'", "DOT": 2, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4},
        {"max": 16, "DOT": 1, "BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4},
        {"DOT": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4},
    ],
)  # fmt: skip

KERNELS = [LINEAR]
