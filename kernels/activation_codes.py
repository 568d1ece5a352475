"""Activations as 8-bit codes: what linear layers over group-quantised weights multiply with.

    codes   i8   [rows, terms * dim]         x / scale as whole numbers; with two terms what they miss behind them, in
                                             steps of scale / 254
    scales  f32  [rows, dim / 32]            max |x| / 127 over 32 neighbouring columns, or a little more, see below
    sums    f32  [rows, (1 + terms) * dim / 32]  sum of the codes times their steps; behind these the sums of the first
                                             codes alone, and of the second ones: whole numbers, exact
    pairs   i32  [rows, pair_words(dim / 32, terms)]  scales and sums as weights with scales in pairs want them, if some
                                             do: see store_pairs

One term keeps 8 bits of the largest number of a group, and as many fewer of the others as they are smaller. Layers
whose rounding shows in the logits take two, which keep 15, at the price of a second product. Only groups that stand
out in their row have second codes, others zeros: a row's error is almost all theirs, and they are few. Where no row of
a tile has any, which the sums tell, linear_codes.py and linear_pairs.py leave the second product out. Products of
codes are summed in integers, exactly and in any order, so a row's result does not depend on how many rows are computed
with it. Rows of codes may lie further apart than they are long: a CPU's first cache has only few places for lines that
are a multiple of 2 KiB apart.

Where a row is encoded as a whole, its scales are whole octaves apart: that of the largest group is max |x| / 127, those of
others are as many octaves below it as still hold their numbers, 12 at most. To multiply by such a scale is to add to an
exponent, which some CPUs do beside their products. A layer that encodes what it puts out sees no whole rows: its scales
are exact. A row with a NaN has scales that are NaN: all of them, or in a layer's output those of its groups."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.exponential import ROUND
from kernels.spec import I32, Case, Cost, DType, Int, Kernel, Ptr, Tolerance

GROUP = 32


ROUND_BITS = tl.constexpr(0x4B400000)  # of ROUND, as an i32
SECOND = tl.constexpr(254)  # steps of the second codes in one of the first
OUTSTANDING = tl.constexpr(5.0)  # a group whose scale holds so many times the row's numbers in the mean square
FINEST = tl.constexpr(12)  # octaves from the largest scale of a row to the smallest
SMALLEST = tl.constexpr(-60)  # the largest number of a row counts as 2^SMALLEST at least


@triton.jit
def largest_bits(v, axis: tl.constexpr):
    """The bits, i32, of the largest |number| of v f32 along `axis`; those of a NaN are larger than any number's."""
    return tl.max(v.to(tl.int32, bitcast=True) & 0x7FFFFFFF, axis=axis)


@triton.jit
def larger_of(largest, v):
    """The larger of the f32 `largest` and the |numbers| of v f32 [columns]; NaN if one of them is."""
    return tl.maximum(largest.to(tl.int32, bitcast=True), largest_bits(v, 0)).to(tl.float32, bitcast=True)


@triton.jit
def heavier_of(heaviest, v):
    """The larger of the f32 `heaviest` and sums of |numbers| of groups of v f32 [columns]."""
    return tl.maximum(heaviest, tl.max(tl.sum(tl.abs(tl.reshape(v, (v.shape[0] // 32, 32))), axis=1), axis=0))


@triton.jit
def rounded(scaled):
    """f32 [groups, 32], numbers of up to 2^22, to whole ones: their low bytes, i8, and sums, i32 [groups]."""
    ROUND_TIMES_32: tl.constexpr = 0x68000000  # the bits of ROUND, as an i32
    bits = (scaled + ROUND).to(tl.int32, bitcast=True)
    return bits.to(tl.int8), tl.sum(bits, axis=1) - ROUND_TIMES_32


@triton.jit
def encode_groups(v, weighed: tl.constexpr):
    """f32 [groups, 32] to codes i8 [groups, 32], their sums i32 and the scales, f32 [groups], exact ones. weighed: above 16
    bits of a sum is that of |codes|."""
    largest = largest_bits(v, 1).to(tl.float32, bitcast=True)
    inverse = tl.where(largest > 0.0, 127.0 / largest, 0.0)
    scaled = v * inverse[:, None]
    if weighed:
        whole = (scaled + ROUND).to(tl.int32, bitcast=True) - ROUND_BITS
        code, total = whole.to(tl.int8), tl.sum(whole + (tl.abs(whole) << 16), axis=1)
    else:
        code, total = rounded(scaled)
    return code, total, largest * (1.0 / 127.0)


@triton.constexpr_function
def pair_words(groups, terms):
    """Words of a row of pairs: see store_pairs."""
    return (groups * 3 + 1) * terms


@triton.jit
def store_pairs(pairs, group, inside, total, in_units, up, unit, BITS: tl.constexpr, GROUPS: tl.constexpr):
    """What linear_pairs.py wants of these groups of a row beside weights of so many BITS, 4 or 8, with the zero 8 or 128:
    `total` i32 the sums of their codes, `in_units` the same in `unit`s, `up` i32 how many places to shift sums of products
    with 4 bits up so that their upper half is units. Those with 8 are 16 times as large, and so are their units. From the
    row's begin on, at `pairs`, and for a second term behind that:
      i32  [groups]      half of a unit in a sum, so that it is rounded, less the codes' sum times the zero
      i32  [groups]      how far up to shift a sum
      i16  [groups]      the codes' sum in units
      i16  [groups]      parts, where scales are exact (pair_rows.py): the upper half is so many times 2^-15 units
      f32  []            unit"""
    SUM_UP: tl.constexpr = 0 if BITS == 4 else 4
    tl.store(pairs + group, ((1 << (15 + SUM_UP)) >> up) - total * (8 << SUM_UP), mask=inside)
    tl.store(pairs + GROUPS + group, up - SUM_UP, mask=inside)
    total_at = (pairs + 2 * GROUPS).to(tl.pointer_type(tl.int16), bitcast=True)
    tl.store(total_at + group, in_units.to(tl.int16), mask=inside)
    tl.store(pairs + GROUPS * 3, (unit * (1 << SUM_UP)).to(tl.int32, bitcast=True))


@triton.jit
def octaves_to_spare(heaviest):
    """How many octaves finer pairs can be where sums of a group's |codes| are `heaviest` f32 at most, which is 4064 for 32
    codes of 127: a sum of products is 8 times that at most, and must have 16 bits. 4060 leaves room for its rounding. A
    group with a code of 127 has 5 octaves to spare at most."""
    ratio = 4060.0 / heaviest
    return tl.maximum(tl.minimum((ratio.to(tl.int32, bitcast=True) >> 23) - 127, 5), 0)


@triton.jit
def store_codes(
    v, codes, scales, sums, pairs, largest, heaviest, limit, begin, dim: tl.constexpr, TERMS: tl.constexpr,
    PAIRED: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Of a row, v f32 [columns] from column `begin` on; MASKED: those inside of dim. codes, scales, sums and, for PAIRED,
    pairs are where the row's begin, `largest` is its largest |number|, `heaviest` the largest sum of a group's, and groups
    with a number beyond `limit` stand out."""
    EXPONENT_BITS: tl.constexpr = 0x7F800000
    FINEST_BITS: tl.constexpr = FINEST << 23
    SMALLEST_BITS: tl.constexpr = (127 + SMALLEST) << 23
    GROUPS: tl.constexpr = dim // 32
    HERE: tl.constexpr = v.shape[0] // 32
    group = begin // 32 + tl.arange(0, HERE)
    inside = group < GROUPS if MASKED else tl.full((HERE,), 1, tl.int1)
    column = group[:, None] * 32 + tl.arange(0, 32)[None, :]
    v = tl.reshape(v, (HERE, 32))
    here = largest_bits(v, 1)
    # Without its sign: that of a NaN would make it the smallest.
    row = tl.maximum(largest.to(tl.int32, bitcast=True) & 0x7FFFFFFF, SMALLEST_BITS)
    # Octaves below the row's largest, as bits of an exponent.
    below = (row - tl.maximum(tl.minimum(here, row), row - FINEST_BITS)) & EXPONENT_BITS
    below = tl.where(row < EXPONENT_BITS, below, 0)  # not of a row with infinities or NaNs
    row = row.to(tl.float32, bitcast=True)
    unit = row * (1.0 / 127.0)
    scale = (unit.to(tl.int32, bitcast=True) - below).to(tl.float32, bitcast=True)
    scaled = v * ((127.0 / row).to(tl.int32, bitcast=True) + below).to(tl.float32, bitcast=True)[:, None]
    first, total = rounded(scaled)
    tl.store(codes + column, first, mask=inside[:, None])
    tl.store(scales + group, scale, mask=inside)
    tl.store(sums + GROUPS + group, total.to(tl.float32), mask=inside)
    if PAIRED:
        tl.static_assert(FINEST <= 12)  # so that sums of products with 8 bits are not shifted down
        spare = octaves_to_spare(heaviest / unit + 16.0)  # 32 codes, rounded by half at most
        up = 16 - (below >> 23)
        fine = unit * ((127 - spare) << 23).to(tl.float32, bitcast=True)  # a NaN stays one
        in_units = ((total << (up + spare)) + (1 << 15)) >> 16
        store_pairs(pairs, group, inside, total, in_units, up + spare, fine, PAIRED, GROUPS)
    total = total.to(tl.float32)
    if TERMS == 2:
        outstanding = scale * 127.0 > limit
        second = tl.where(outstanding[:, None], (scaled - first.to(tl.float32)) * SECOND, 0.0)
        second, second_total = rounded(second)
        tl.store(codes + dim + column, second, mask=inside[:, None])
        if PAIRED:
            second_at = pairs + pair_words(GROUPS, 1)
            in_units = ((second_total << up) + (1 << 15)) >> 16
            store_pairs(second_at, group, inside, second_total, in_units, up, unit * (1.0 / SECOND), PAIRED, GROUPS)
        second_total = second_total.to(tl.float32)
        # Where they cancel out the zero has a sign, since 0.0 says that there are none.
        marked = tl.where(outstanding & (second_total == 0.0), -0.0, second_total)
        tl.store(sums + 2 * GROUPS + group, marked, mask=inside)
        total += second_total * (1.0 / SECOND)
    tl.store(sums + group, scale * total, mask=inside)


@triton.jit
def outstanding_limit(squares, dim: tl.constexpr):
    """The `limit` of store_codes for a row whose squares add up to `squares`."""
    return OUTSTANDING * tl.sqrt(squares * (1.0 / dim))


@triton.jit
def row_block(at, begin, dim: tl.constexpr, WIDTH: tl.constexpr, MASKED: tl.constexpr):
    """f32 [WIDTH] from column `begin` on of a row of dim numbers that begins at `at`, zeros behind its end."""
    column = begin + tl.arange(0, WIDTH)
    if MASKED:
        return tl.load(at + column, mask=column < dim, other=0.0).to(tl.float32)
    else:
        return tl.load(at + column).to(tl.float32)


@triton.jit
def encode_rows_kernel(
    x, codes, scales, sums, pairs, rows,
    dim: tl.constexpr, terms: tl.constexpr, paired: tl.constexpr, out_stride: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    GROUPS: tl.constexpr = dim // 32
    WHOLE: tl.constexpr = (dim - 1) // BLOCK * BLOCK  # columns of blocks before the last one
    REST: tl.constexpr = triton.next_power_of_2(dim - WHOLE)
    MASKED: tl.constexpr = REST != dim - WHOLE
    program = tl.program_id(0) * ROWS
    for row in range(program, tl.minimum(program + ROWS, rows)):
        at = row.to(tl.int64)
        x_row, codes_row, scales_row = x + at * dim, codes + at * out_stride, scales + at * GROUPS
        sums_row = sums + at * ((1 + terms) * GROUPS)
        pairs_row = pairs
        if paired:
            pairs_row += at * pair_words(GROUPS, terms)
        rest = row_block(x_row, WHOLE, dim, REST, MASKED)
        largest, heaviest, limit, squares = 0.0, 0.0, 0.0, 0.0
        for begin in range(0, WHOLE, BLOCK):
            block = row_block(x_row, begin, dim, BLOCK, False)
            largest = larger_of(largest, block)
            if paired:
                heaviest = heavier_of(heaviest, block)
            if terms == 2:
                squares += tl.sum(block * block, axis=0)
        largest = larger_of(largest, rest)
        if paired:
            heaviest = heavier_of(heaviest, rest)
        if terms == 2:
            squares += tl.sum(rest * rest, axis=0)
            limit = outstanding_limit(squares, dim)
        for begin in range(0, WHOLE, BLOCK):
            block = row_block(x_row, begin, dim, BLOCK, False)
            store_codes(
                block, codes_row, scales_row, sums_row, pairs_row, largest, heaviest, limit, begin, dim, terms, paired, False
            )
        store_codes(
            rest, codes_row, scales_row, sums_row, pairs_row, largest, heaviest, limit, WHOLE, dim, terms, paired, MASKED
        )


def encode(x: np.ndarray, terms: int = 1, octaves: bool = True, paired: int = 0) -> dict[str, np.ndarray]:
    """codes [rows, terms * dim], scales and sums of x [rows, dim], all as f32 arrays. octaves: scales of a row are whole
    octaves apart, else exact. paired: pairs too, for weights of so many bits."""
    groups = x.astype(np.float32).reshape(x.shape[0], -1, GROUP)
    largest = np.abs(groups).max(axis=2)
    top = largest
    if octaves:
        row = np.maximum(largest.max(axis=1, keepdims=True), np.float32(2.0**SMALLEST.value))
        with np.errstate(divide="ignore"):
            below = np.floor(np.log2(row.astype(np.float64) / largest))
        top = (row / 2.0 ** np.clip(below, 0, FINEST.value)).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(top > 0, np.float32(127) / top, np.float32(0))
    scaled = groups * inverse[:, :, None]
    scale = top * np.float32(1 / 127)
    terms_of_code = [np.floor(scaled + np.float32(0.5))]
    if terms == 2:
        mean_square = np.mean(np.square(x, dtype=np.float64), axis=1)
        outstanding = top > OUTSTANDING.value * np.sqrt(mean_square)[:, None]
        second = np.floor((scaled - terms_of_code[0]) * np.float32(SECOND.value) + np.float32(0.5))
        terms_of_code.append(np.where(outstanding[:, :, None], second, np.float32(0)))
    totals = [code.sum(axis=2) for code in terms_of_code]
    scaled_sum = scale * sum(total / np.float32(SECOND.value**i) for i, total in enumerate(totals))
    codes = np.concatenate([code.reshape(x.shape) for code in terms_of_code], axis=1)
    made = {"codes": codes, "scales": scale, "sums": np.concatenate([scaled_sum, *totals], axis=1)}
    if paired:
        made["pairs"] = encode_pairs(paired, x.astype(np.float32), np.nan_to_num(totals), scale)
    return made


def encode_pairs(bits: int, x: np.ndarray, totals: list[np.ndarray], scale: np.ndarray) -> np.ndarray:
    """i32 [rows, pair_words] of the sums of x's codes and its scales, [rows, groups], for weights of so many bits: see
    store_pairs."""
    zero = 8 if bits == 4 else 128
    unit = scale.max(axis=1, keepdims=True)
    heaviest = np.abs(x).reshape(*scale.shape, GROUP).sum(axis=2).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        below = np.nan_to_num(np.round(np.log2(unit / scale))).astype(np.int32)
        spare = np.clip(np.nan_to_num(np.floor(np.log2(4060 / (heaviest / unit + 16)))), 0, 5).astype(np.int32)
    parts = []
    for total, finer, size in zip(totals, (spare, 0), (1.0, SECOND.value)):
        total, up = total.astype(np.int32), 16 - below + finer
        sums = (((total << up) + (1 << 15)) >> 16).astype(np.int16).view(np.int32)
        step = (unit / np.float32(2) ** finer * np.float32(zero / 8 / size)).astype(np.float32).view(np.int32)
        starts = ((1 << 12) * zero >> up) - zero * total
        parts += [starts, up - (0 if bits == 4 else 4), sums, np.zeros_like(sums), step]
    return np.concatenate(parts, axis=1)


# A product that lands on a half may be rounded either way, so a code may be off by one, and with two terms
# the second makes up for it.
CODE_TOLERANCE = Tolerance(1.0)
CODE_TOLERANCE_TWO = Tolerance(1.0, mismatch=0.02)


def sums_tolerance(scales: np.ndarray) -> Tolerance:
    return Tolerance(float(np.nanmax(scales, initial=0.0)) * 4 + 1e-30, 1e-5)


def encode_rows_reference(key, args):
    rows = args["rows"]
    made = encode(args["x"][:rows], key["terms"], paired=key["paired"])
    result = {}
    for name in ("codes", "scales", "sums", *(["pairs"] if key["paired"] else [])):
        result[name] = args[name].copy()
        result[name][:rows, : made[name].shape[1]] = made[name]
    return result


def planes_for(rows: int, dim: int, terms: int = 1, apart: int = 0, paired: int = 0) -> dict[str, np.ndarray | None]:
    return {
        "pairs": np.zeros((rows, pair_words(dim // GROUP, terms)), np.int32) if paired else None,
        "codes": np.full((rows, terms * dim + apart), -5, np.int8),
        "scales": np.full((rows, dim // GROUP), 3.0, np.float32),
        "sums": np.full((rows, (1 + terms) * (dim // GROUP)), 3.0, np.float32),
    }


def encode_rows_cases():
    rng = np.random.default_rng(61)
    for name, rows, dim, x_dtype, terms, apart in (
        ("one_row", 1, 576, "bf16", 1, 0),
        ("one_group", 3, 32, "f32", 1, 0),
        ("odd_groups", 5, 96, "f32", 1, 0),
        ("many_rows", 70, 192, "bf16", 1, 0),
        ("wide", 2, 8192, "f32", 1, 64),
        ("two_terms", 1, 576, "f32", 2, 0),
        ("two_terms_rows", 33, 96, "bf16", 2, 64),
        ("octaves_apart", 67, 1056, "f32", 2, 0),
        ("one_term_pairs", 9, 576, "f32", 1, 0),
        ("two_terms_pairs", 9, 576, "f32", 2, 0),
    ):
        x = rng.standard_normal((rows, dim), dtype=np.float32)
        x[0, :32] = 0.0
        x[-1] *= 1e6
        if name == "octaves_apart":
            x[1] = 0.0
            x[2] *= 1e-30
            for group in range(dim // GROUP):
                x[3:, group * GROUP : (group + 1) * GROUP] *= 2.0 ** rng.uniform(-30, 30)
            x[5, 32:64] = x[5, :32] / 4  # the same mantissa
        if name.endswith("pairs"):  # whole numbers of their scales, so that no code may be off by one
            x = rng.integers(-127, 128, x.shape).astype(np.float32)
            x[:, ::GROUP] = 127.0
            x[:, :-GROUP] *= np.repeat(np.float32(2) ** rng.integers(-12, 1, (rows, dim // GROUP - 1)), GROUP, 1)
        scales = np.abs(x).max() / 127
        paired = 8 if name.startswith("two") else 4
        paired = paired if name.endswith("pairs") else 0
        yield Case(
            name=name,
            key={"x_dtype": x_dtype, "dim": dim, "terms": terms, "paired": paired, "out_stride": terms * dim + apart},
            args={"x": x, **planes_for(rows + 1, dim, terms, apart, paired), "rows": rows},
            tolerance={
                "codes": CODE_TOLERANCE if terms == 1 else CODE_TOLERANCE_TWO,
                "scales": Tolerance(0.0, 1e-6),
                "sums": sums_tolerance(np.array([scales])),
            },
        )


TERMS = Int("terms", min=1, max=2, doc="of the codes")
PAIRED = Int("paired", max=8, doc="bits of weights, 4 or 8, for which codes, of an even number of groups, have pairs; or 0")

ENCODE_ROWS = Kernel(
    name="encode_rows",
    doc="codes, scales and sums of x[r, :]: see the head of activation_codes.py",
    fn=encode_rows_kernel,
    key=[DType("x_dtype"), Int("dim", min=32, doc="a multiple of 32"), TERMS, PAIRED,
         Int("out_stride", min=1, doc="elements from row to row of codes")],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, dim"),
        Ptr("codes", "i8", "write", shape="rows, out_stride"),
        Ptr("scales", "f32", "write", shape="rows, dim / 32"),
        Ptr("sums", "f32", "write", shape="rows, (1 + terms) * dim / 32"),
        Ptr("pairs", "i32", "write", shape="rows, pair_words(dim / 32, terms)", optional="paired"),
        I32("rows"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(
        bytes="rows * dim * (size_of(x_dtype) + terms) + rows * (dim // 32) * (8 + (16 if paired else 4) * terms)",
        operations="2 * rows * dim"
    ),
    reference=encode_rows_reference,
    cases=encode_rows_cases,
    default_tiles=[{"ROWS": 1, "BLOCK": "next_pow2(dim)", "num_warps": 4}],
)

KERNELS = [ENCODE_ROWS]
