"""Rows as codes times panels of codes whose scales lie in pairs of 16 bits (scale_pairs.py), for linear.py.

All of a product is whole numbers: sums of two neighbouring groups of columns, brought to the row's largest scale, are two
numbers of 16 bits, and their products with the two scales of a column are summed in 32. Processors do that with one
instruction for both groups, where numbers with a point take a conversion, an addition and a multiplication for each."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.activation_codes import pair_words
from kernels.linear_codes import byte_product, group_codes, of_rows
from kernels.scale_pairs import MOST_GROUPS


@triton.jit
def _low(word):
    """The lower number of 16 bits of an i32, with its sign."""
    return (word << 16) >> 16


@triton.jit
def _high(word):
    return word >> 16


@triton.jit
def _products(low, high, words):
    """low times the lower number of 16 bits of each word plus high times the higher one. low and high have 16 bits; in
    these words nereid-cc finds the instruction that does it all (docs/cpu-compiler.md)."""
    return _low(low) * _low(words) + _low(high) * _high(words)


@triton.jit
def _half_product(number, words, half: tl.constexpr):
    """number, of 16 bits, times the lower number of each word for half 0, or the higher one."""
    return number * (_low(words) if half == 0 else _high(words))


@triton.jit
def _shifted_sum(
    x_at, start_at, up_at, byte_at, row_inside,
    bits: tl.constexpr, DOT: tl.constexpr, FULL: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """i32 [rows, 32] of 16 bits, in units of the rows: the group of x at x_at times the codes at byte_at less their zero."""
    if FULL:
        xs = tl.load(x_at)
    else:
        xs = tl.load(x_at, mask=row_inside[:, None], other=0)
    start = tl.zeros((xs.shape[0], 32), dtype=tl.int32) + of_rows(start_at, row_inside, FULL)
    code = group_codes(byte_at, bits, False, bits == 8, 32, STREAM)
    total = byte_product(xs, code, start, bits == 8, DOT)
    return (total << of_rows(up_at, row_inside, FULL)) >> 16


@triton.jit
def _with_scales(low, high, parts_at, scale_at, row_inside, octaves: tl.constexpr, FULL: tl.constexpr, STREAM: tl.constexpr):
    """i32 [rows, 32]: two neighbouring groups' sums, in units of the rows and of the weights."""
    if not octaves:
        parts = of_rows(parts_at, row_inside, FULL)
        low = (_low(low) * _low(parts) + 16384) >> 15
        high = (_low(high) * _high(parts) + 16384) >> 15
    return _products(low, high, tl.load(scale_at, eviction_policy=STREAM)[None, :])


@triton.constexpr_function
def pairs_span(groups):
    """How many groups are summed in 32 bits."""
    return max(span for span in range(2, MOST_GROUPS + 1, 2) if groups % span == 0)


@triton.jit
def _scaled(total, pairs_at, unit, row_inside, GROUPS: tl.constexpr, FULL: tl.constexpr):
    """f32: total in units of the weights, [1, 32], and of rows, whose pairs are at pairs_at."""
    x_unit = of_rows(pairs_at + GROUPS * 3, row_inside, FULL).to(tl.float32, bitcast=True)
    # As fma, so that it is rounded before something is added, whatever the compiler would like: a row gets the same result
    # in every tile.
    return tl.fma(total, unit * x_unit, tl.zeros_like(total))


@triton.jit
def _add_pair(
    total, x_at, pairs_at, byte_at, scale_at, min_at, row_inside, g,
    GROUPS: tl.constexpr, bits: tl.constexpr, has_min: tl.constexpr, octaves: tl.constexpr, DOT: tl.constexpr,
    FULL: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """total i32 [rows, 32], in units of the rows and of the weights, with the products of groups g and g + 1, whose x is
    at x_at and whose codes are at byte_at; pairs_at: where the rows' pairs begin."""
    start_at = pairs_at + g
    low = _shifted_sum(x_at, start_at, start_at + GROUPS, byte_at, row_inside, bits, DOT, FULL, STREAM)
    high = _shifted_sum(
        x_at + 32, start_at + 1, start_at + (GROUPS + 1), byte_at + bits * 128, row_inside, bits, DOT, FULL, STREAM
    )
    parts_at = pairs_at + (GROUPS * 5 // 2 + g // 2)
    total += _with_scales(low, high, parts_at, scale_at + g * 16, row_inside, octaves, FULL, STREAM)
    if has_min:
        code_sums = of_rows(pairs_at + (2 * GROUPS + g // 2), row_inside, FULL)
        offsets = tl.load(min_at + g * 16, eviction_policy=STREAM)[None, :]
        total += _products(code_sums, _high(code_sums), offsets)
    return total


@triton.jit
def _add_seconds(
    total, x_at, second_at, byte_at, scale_at, min_at, marks_at, row_inside, g,
    GROUPS: tl.constexpr, bits: tl.constexpr, has_min: tl.constexpr, DOT: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """total i32 with the products of second codes of groups g and g + 1, if a row has any there or may well. x_at and
    second_at: where second codes and their pairs begin."""
    if row_inside.shape[0] >= 16:  # of so many rows one has them almost always
        total = _add_pair(
            total, x_at + g * 32, second_at, byte_at + g * (bits * 128), scale_at, min_at, row_inside, g,
            GROUPS, bits, has_min, True, DOT, FULL, "",
        )  # fmt: skip
    else:
        for half in tl.static_range(2):
            if FULL:
                mark = tl.load(marks_at + (g + half))
            else:
                mark = tl.load(marks_at + (g + half), mask=row_inside, other=0.0)
            # -0.0 too says that there are second codes.
            if tl.max((mark.to(tl.int32, bitcast=True) != 0).to(tl.int32), axis=0) != 0:
                start_at = second_at + (g + half)
                one = _shifted_sum(
                    x_at + (g + half) * 32, start_at, start_at + GROUPS, byte_at + (g + half) * (bits * 128),
                    row_inside, bits, DOT, FULL, "",
                )  # fmt: skip
                total += _half_product(one, tl.load(scale_at + g * 16)[None, :], half)
                if has_min:
                    code_sums = of_rows(second_at + (2 * GROUPS + g // 2), row_inside, FULL)
                    code_sum = _low(code_sums) if half == 0 else _high(code_sums)
                    total += _half_product(code_sum, tl.load(min_at + g * 16)[None, :], half)
    return total


@triton.jit
def pairs_product(
    x, x_sums, x_pairs, codes, scales, mins, row, row_inside, panel,
    terms: tl.constexpr, second_from: tl.constexpr, octaves: tl.constexpr, x_stride: tl.constexpr, k: tl.constexpr,
    bits: tl.constexpr, has_min: tl.constexpr, DOT: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """[rows, 32] f32 for x as codes (activation_codes.py) with x_pairs for so many bits, and one panel. octaves: scales of
    a row of x are whole octaves apart. Of two terms, panels that end before column second_from leave the second out. FULL:
    all rows are inside."""
    BLOCK_M: tl.constexpr = row.shape[0]
    # Of one row, whose panels are read from memory, second codes are multiplied in the same loop: one of their own would
    # ask for nothing ahead.
    TOGETHER: tl.constexpr = terms == 2 and BLOCK_M == 1
    STREAM: tl.constexpr = "evict_first"  # asked for ahead
    GROUPS: tl.constexpr = k // 32
    SPAN: tl.constexpr = pairs_span(GROUPS)
    lane = tl.arange(0, 32)
    byte_at = (codes + panel * (k * bits // 32 * 32)).to(tl.pointer_type(tl.int8), bitcast=True)
    byte_at = byte_at + tl.arange(0, bits)[:, None] * 128 + tl.arange(0, 128)[None, :]
    scale_at = scales + panel * (GROUPS * 16 + 32) + lane
    min_at = mins + panel * (GROUPS * 16) + lane
    x_at = x + row.to(tl.int64)[:, None] * x_stride + tl.arange(0, 32)[None, :]
    first_at = x_pairs + row.to(tl.int64) * pair_words(GROUPS, terms)
    second_x_at = x_at + k
    second_at = first_at + pair_words(GROUPS, 1)
    marks_at = x_sums + row.to(tl.int64) * (3 * GROUPS) + 2 * GROUPS
    with_second = (panel + 1) * 32 > second_from
    sums = tl.zeros((BLOCK_M, 32), dtype=tl.float32)
    second_sums = tl.zeros((BLOCK_M, 32), dtype=tl.float32)
    for begin in range(0, GROUPS, SPAN):
        total = tl.zeros((BLOCK_M, 32), dtype=tl.int32)
        second = tl.zeros((BLOCK_M, 32), dtype=tl.int32)
        for g in range(begin, begin + SPAN, 2):
            total = _add_pair(
                total, x_at + g * 32, first_at, byte_at + g * (bits * 128), scale_at, min_at, row_inside, g,
                GROUPS, bits, has_min, octaves, DOT, FULL, STREAM,
            )  # fmt: skip
            if TOGETHER:
                if with_second:
                    second = _add_seconds(
                        second, second_x_at, second_at, byte_at, scale_at, min_at, marks_at, row_inside, g,
                        GROUPS, bits, has_min, DOT, FULL,
                    )  # fmt: skip
        sums += total.to(tl.float32)
        if TOGETHER:
            second_sums += second.to(tl.float32)
    unit = tl.load(scale_at + GROUPS * 16, eviction_policy=STREAM).to(tl.float32, bitcast=True)[None, :]
    acc = _scaled(sums, first_at, unit, row_inside, GROUPS, FULL)
    if terms == 2:
        tl.static_assert(octaves == 1)
        if with_second:
            if not TOGETHER:
                for begin in range(0, GROUPS, SPAN):
                    second = tl.zeros((BLOCK_M, 32), dtype=tl.int32)
                    for g in range(begin, begin + SPAN, 2):
                        second = _add_seconds(
                            second, second_x_at, second_at, byte_at, scale_at, min_at, marks_at, row_inside, g,
                            GROUPS, bits, has_min, DOT, FULL,
                        )  # fmt: skip
                    second_sums += second.to(tl.float32)
            acc += _scaled(second_sums, second_at, unit, row_inside, GROUPS, FULL)
    return acc
