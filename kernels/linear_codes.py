"""Rows as codes (activation_codes.py) times panels of 4- or 8-bit codes, for linear.py."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.activation_codes import SECOND


@triton.jit
def byte_product(x, w, start, unsigned: tl.constexpr, DOT: tl.constexpr):
    """start + x w, i32 [rows, lanes], of i8 [rows, group] and [group, lanes]; unsigned: w holds numbers from 0 to 255.
    tl.dot takes bytes with signs; where an instruction takes w without, nereid-cc makes one dot of the two."""
    if DOT == 2:
        if unsigned:
            start += tl.dot(x, (w >> 7) & 1) * 128
            w = w & 127
        return tl.dot(x, w, start)
    else:
        w = w.to(tl.int32)
        if unsigned:
            w = w & 255
        return start + tl.sum(x.to(tl.int32)[:, :, None] * w[None, :, :], axis=1)


@triton.jit
def group_codes(byte_at, bits: tl.constexpr, has_min: tl.constexpr, unsigned: tl.constexpr, group: tl.constexpr, STREAM: tl.constexpr):
    """i8 [group, 32], one group of a panel's columns, of its bytes [group * bits / 32, 128]. The words lie as an
    instruction that multiplies four neighbouring bytes wants them."""
    WORDS: tl.constexpr = group * bits // 32
    byte = tl.load(byte_at, eviction_policy=STREAM)
    if bits == 4:
        half = (tl.arange(0, 2) * 4).to(tl.int8)
        code = (byte[:, None, :] >> half[None, :, None]) & 15
        code = tl.reshape(code, (WORDS, 2, 32, 4))
        return tl.reshape(tl.permute(code, (0, 1, 3, 2)), (group, 32))
    else:
        if has_min:
            tl.static_assert(not unsigned)
            byte = byte & 127  # no code is negative
        code = tl.reshape(byte, (WORDS, 32, 4))
        return tl.reshape(tl.permute(code, (0, 2, 1)), (group, 32))


@triton.jit
def of_rows(at, row_inside, FULL: tl.constexpr):
    """A number of each row, [rows, 1], or for FULL for all 32 lanes at once, which a CPU has for the same price."""
    if FULL:
        return tl.load(at[:, None] + tl.zeros((1, 32), dtype=tl.int32))
    else:
        return tl.load(at, mask=row_inside, other=0)[:, None]


@triton.jit
def _group_product(
    x_at, sum_at, code, row_inside, zero: tl.constexpr, unsigned: tl.constexpr, DOT: tl.constexpr, FULL: tl.constexpr
):
    """f32 [rows, 32], whole numbers: one group of x at x_at times codes less `zero`; sum_at: the sums of x there."""
    if FULL:
        xs = tl.load(x_at)
    else:
        xs = tl.load(x_at, mask=row_inside[:, None], other=0)
    start = tl.zeros((xs.shape[0], 32), dtype=tl.int32)
    if zero != 0:
        start += of_rows(sum_at, row_inside, FULL).to(tl.int32) * (0 - zero)
    return byte_product(xs, code, start, unsigned, DOT).to(tl.float32)


@triton.jit
def _times_octaves(number, octaves):
    """f32 numbers times powers of two, given as bits of an exponent; zeros become numbers next to nothing."""
    return (number.to(tl.int32, bitcast=True) + octaves).to(tl.float32, bitcast=True)


@triton.jit
def _offset(min_at, scale, zero: tl.constexpr, STREAM: tl.constexpr):
    """f32 [32], what the code 0 stands for, of the minima at min_at."""
    offset = tl.load(min_at, eviction_policy=STREAM).to(tl.float32)
    if zero != 0:
        offset -= scale * zero
    return offset


@triton.jit
def codes_product(
    x, x_scales, x_sums, codes, scales, mins, row, row_inside, panel,
    terms: tl.constexpr, second_from: tl.constexpr, x_stride: tl.constexpr, k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr,
    zero: tl.constexpr, group: tl.constexpr, has_min: tl.constexpr, DOT: tl.constexpr, EXPONENTS: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """[rows, 32] f32 for x as codes (activation_codes.py) and one panel of 4- or 8-bit codes: per group of
    columns an exact integer product, then both scales. EXPONENTS: scales of a row of x are whole octaves apart, and are
    multiplied with by adding to exponents, beside the products, but for the first one's mantissa. Of two terms, panels that
    end before column second_from leave the second out. FULL: all rows are inside."""
    BLOCK_M: tl.constexpr = row.shape[0]
    STREAM: tl.constexpr = "evict_first"  # asked for ahead
    WORDS: tl.constexpr = group * bits // 32
    GROUPS: tl.constexpr = k // group
    UNSIGNED: tl.constexpr = bits == 8 and code_dtype == tl.uint8
    # Where weights have no minimum, their one zero is taken off in integers, else with the minimum.
    WHOLE_ZERO: tl.constexpr = 0 if has_min else zero
    # Do minima get the sums of first and second codes apart, or both at once?
    SUMS_APART: tl.constexpr = EXPONENTS or second_from > 0
    tl.static_assert(group == 32 or (zero == 0 and not has_min))
    lane = tl.arange(0, 32)
    byte_at = (codes + panel * (k * bits // 32 * 32)).to(tl.pointer_type(tl.int8), bitcast=True)
    byte_at = byte_at + tl.arange(0, WORDS)[:, None] * 128 + tl.arange(0, 128)[None, :]
    scale_at = scales + panel * (GROUPS * 32) + lane
    min_at = mins + panel * (GROUPS * 32) + lane
    x_at = x + row.to(tl.int64)[:, None] * x_stride + tl.arange(0, group)[None, :]
    x_scale_at = x_scales + row.to(tl.int64) * (k // 32)
    x_sum_at = x_sums + row.to(tl.int64) * ((1 + terms) * (k // 32))
    acc = tl.zeros((BLOCK_M, 32), dtype=tl.float32)
    if EXPONENTS:
        # acc is in units of first / 2^32, so that even what is added to the exponent of a zero, which makes it a number
        # of no weight, is not negative.
        first = of_rows(x_scale_at, row_inside, FULL)
        unit = first.to(tl.int32, bitcast=True) - (32 << 23)
    for g in range(0, GROUPS):
        code = group_codes(byte_at + g * (WORDS * 128), bits, has_min, UNSIGNED, group, STREAM)
        x_scale = of_rows(x_scale_at + g * group // 32, row_inside, FULL)
        product = _group_product(
            x_at + g * group, x_sum_at + k // 32 + g, code, row_inside, WHOLE_ZERO, UNSIGNED, DOT, FULL
        )
        scale = tl.load(scale_at + g * 32, eviction_policy=STREAM).to(tl.float32)
        if EXPONENTS:
            octaves = x_scale.to(tl.int32, bitcast=True) - unit
            acc += _times_octaves(product, octaves) * scale[None, :]
        else:
            acc += product * (x_scale * scale[None, :])
        if has_min:
            offset = _offset(min_at + g * 32, scale, zero, STREAM)
            if EXPONENTS:
                total = of_rows(x_sum_at + k // 32 + g, row_inside, FULL)
                acc += offset[None, :] * _times_octaves(total, octaves)
            elif SUMS_APART:
                total = of_rows(x_sum_at + k // 32 + g, row_inside, FULL)
                acc += offset[None, :] * (total * x_scale)
            else:
                acc += offset[None, :] * of_rows(x_sum_at + g, row_inside, FULL)
    if EXPONENTS:
        # As fma, so that it is rounded before something is added, whatever the compiler would like: a row gets the same
        # result in every tile.
        acc = tl.fma(acc, first * (1.0 / (1 << 32)) + tl.zeros_like(acc), tl.zeros_like(acc))
    if terms == 2:
        second_sum_at = x_sum_at + 2 * (k // 32)
        seconds = GROUPS
        if second_from > 0:
            seconds = tl.where((panel + 1) * 32 > second_from, GROUPS, 0)
        for g in range(0, seconds):
            if FULL:
                second_sum = tl.load(second_sum_at + g * group // 32)
            else:
                second_sum = tl.load(second_sum_at + g * group // 32, mask=row_inside, other=0.0)
            # -0.0 too says that there are second codes.
            if tl.max((second_sum.to(tl.int32, bitcast=True) != 0).to(tl.int32), axis=0) != 0:
                code = group_codes(byte_at + g * (WORDS * 128), bits, has_min, UNSIGNED, group, "")
                product = _group_product(
                    x_at + k + g * group, second_sum_at + g, code, row_inside, WHOLE_ZERO, UNSIGNED, DOT, FULL
                )
                scale = tl.load(scale_at + g * 32).to(tl.float32)
                x_scale = of_rows(x_scale_at + g * group // 32, row_inside, FULL) * (1.0 / SECOND)
                acc += product * (x_scale * scale[None, :])
                if SUMS_APART and has_min:
                    offset = _offset(min_at + g * 32, scale, zero, "")
                    total = of_rows(second_sum_at + g, row_inside, FULL)
                    acc += offset[None, :] * (total * x_scale)
    return acc

