"""Pairs (activation_codes.py) of rows whose scales are exact, as linear layers put them out: they need all of a row.

The layer leaves in the first words of a row, one for each group, the sum of its codes, and above 16 bits that of |codes|,
which says how far up the group's products may be shifted. The row's unit is the largest scale of a group after its shift,
and parts are scales in units of it times 2^-15."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.activation_codes import largest_bits, octaves_to_spare, pair_words, store_pairs
from kernels.spec import I32, Case, Cost, Int, Kernel, Ptr, Tolerance

ONE = tl.constexpr(32767.0)  # the largest scale, as near to 2^15 as 16 bits have it


@triton.jit
def pair_rows_kernel(scales, pairs, rows, dim: tl.constexpr, bits: tl.constexpr, ROWS: tl.constexpr):
    GROUPS: tl.constexpr = dim // 32
    WIDTH: tl.constexpr = triton.next_power_of_2(GROUPS)
    group = tl.arange(0, WIDTH)
    inside = group < GROUPS
    first = tl.program_id(0) * ROWS
    for row in range(first, tl.minimum(first + ROWS, rows)):
        at = row.to(tl.int64)
        pairs_row = pairs + at * pair_words(GROUPS, 1)
        word = tl.load(pairs_row + group, mask=inside, other=0)
        total = (word << 16) >> 16
        weight = (word - total) >> 16
        shift = octaves_to_spare(tl.maximum(weight, 1).to(tl.float32))
        scale = tl.load(scales + at * GROUPS + group, mask=inside, other=0.0)
        scale *= ((127 - shift) << 23).to(tl.float32, bitcast=True)
        largest = largest_bits(scale, 0).to(tl.float32, bitcast=True)
        inverse = tl.where(largest > 0.0, ONE / largest, 0.0)
        part = tl.floor(scale * inverse + 0.5).to(tl.int32)
        half_at = (pairs_row + 2 * GROUPS).to(tl.pointer_type(tl.int16), bitcast=True)
        in_units = ((total << shift) * part + 16384) >> 15
        unit = largest * (32768.0 / ONE)
        store_pairs(pairs_row, group, inside, total, in_units, shift + 16, unit, bits, GROUPS)
        tl.store(half_at + GROUPS + group, part.to(tl.int16), mask=inside)


def begun_pairs(codes: np.ndarray) -> np.ndarray:
    """i32 [rows, pair_words], of which a linear layer fills in [rows, groups]; the rest is 0."""
    groups = codes.astype(np.int32).reshape(codes.shape[0], -1, 32)
    out = np.zeros((groups.shape[0], pair_words(groups.shape[1], 1)), np.int32)
    out[:, : groups.shape[1]] = groups.sum(axis=2) + (np.abs(groups).sum(axis=2) << 16)
    return out


def pair_rows(bits: int, scales: np.ndarray, begun: np.ndarray) -> np.ndarray:
    """i32 [rows, pair_words] of begun ones, for weights of so many bits."""
    zero = 8 if bits == 4 else 128
    groups = scales.shape[1]
    word = begun[:, :groups]
    total = (word << 16) >> 16
    shift = np.clip(np.floor(np.log2(4060 / np.maximum((word - total) >> 16, 1))), 0, 5).astype(np.int32)
    scale = scales / np.float32(2) ** shift
    largest = scale.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, np.float32(ONE.value) / largest, np.float32(0))
    part = np.floor(scale * inverse + np.float32(0.5)).astype(np.int32)
    code_sum = ((total << shift) * part + 16384) >> 15
    unit = (largest * np.float32(32768 / ONE.value * zero / 8)).astype(np.float32).view(np.int32)
    halves = (values.astype(np.int16).view(np.int32) for values in (code_sum, part))
    starts = ((zero * (1 << 12)) >> (16 + shift)) - zero * total
    return np.concatenate([starts, shift + (16 if bits == 4 else 12), *halves, unit], axis=1)


def pair_rows_reference(key, args):
    rows = args["rows"]
    pairs = args["pairs"].copy()
    pairs[:rows] = pair_rows(key["bits"], args["scales"][:rows], pairs[:rows])
    return {"pairs": pairs}


def pair_rows_cases():
    rng = np.random.default_rng(72)
    for name, rows, dim, bits in (
        ("one_row", 1, 1536, 4), ("rows", 37, 192, 4), ("two_groups", 3, 64, 8), ("wide", 2, 8192, 8),
    ):  # fmt: skip
        # Scales that are whole in units of the largest, after the shift, so that none is rounded the other way.
        codes = rng.integers(-127, 128, (rows, dim)) >> np.repeat(rng.integers(0, 7, (rows, dim // 32)), 32, 1)
        codes[:, ::32] = 127
        begun = begun_pairs(codes)
        up = pair_rows(4, np.ones((rows, dim // 32), np.float32), begun)[:, dim // 32 : dim // 16]
        scales = rng.integers(1, 32767, up.shape).astype(np.float32)
        scales[:, 1] = 32767
        scales *= np.float32(2) ** (up - 16 + rng.integers(-9, 9, (rows, 1)))
        scales[-1] *= rows == 1  # zeros
        yield Case(
            name=name,
            key={"dim": dim, "bits": bits},
            args={
                "scales": scales.astype(np.float32),
                "pairs": np.concatenate([begun, np.full((1, pair_words(dim // 32, 1)), 5, np.int32)]),
                "rows": rows,
            },
            # The unit's last bit may differ.
            tolerance={"pairs": Tolerance(1.0)},
        )


PAIR_ROWS = Kernel(
    name="pair_rows",
    doc="pairs of rows with exact scales: see the head of pair_rows.py",
    fn=pair_rows_kernel,
    key=[Int("dim", min=64, doc="a multiple of 64"), Int("bits", min=4, max=8, doc="of the weights: 4 or 8")],
    args=[
        Ptr("scales", "f32", "read", shape="rows, dim / 32"),
        Ptr("pairs", "i32", "readwrite", shape="rows, pair_words(dim / 32, 1)"),
        I32("rows"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(bytes="rows * (dim // 32) * 20"),
    reference=pair_rows_reference,
    cases=pair_rows_cases,
    default_tiles=[{"ROWS": 1, "num_warps": 1}],
)

KERNELS = [PAIR_ROWS]
