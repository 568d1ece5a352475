"""Activations as 8-bit codes: what linear layers over group-quantised weights multiply with.

    codes   i8   [rows, terms * dim]  x / scale as one code, or as 254 * first + second
    scales  f32  [rows, dim / 32]     max |x| / 127 over 32 neighbouring columns, / 254 again with two terms;
                                      NaN if one of the columns is
    sums    f32  [rows, 2 * dim / 32] scale * sum of the codes, and behind these the sums of the codes themselves,
                                      of 254 * first + second with two terms: whole numbers, exact below 2^24

One term keeps 8 bits of a number, two keep 15, at the price of a second product; layers whose rounding shows
in the logits take two. Products of codes are summed in integers, exactly and in any order, so a row's result
does not depend on how many rows are computed with it. Rows of codes may lie further apart than they are long: a
CPU's first cache has only few places for lines that are a multiple of 2 KiB apart."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.spec import I32, Case, Cost, DType, Int, Kernel, Ptr, Tolerance

GROUP = 32


SECOND = tl.constexpr(254)  # what one step of the first code is worth in steps of the second


@triton.jit
def encode_groups(v, TERMS: tl.constexpr):
    """f32 [rows, 32] to first and second codes i8 [rows, 32], scales f32 [rows], sums of codes f32 [rows]; with
    one term the second codes are the first."""
    # As integers, so that a NaN is larger than any number.
    largest = tl.max(v.to(tl.int32, bitcast=True) & 0x7FFFFFFF, axis=1).to(tl.float32, bitcast=True)
    inverse = tl.where(largest > 0.0, 127.0 / largest, 0.0)
    scaled = v * inverse[:, None]
    first = tl.floor(scaled + 0.5)
    if TERMS == 1:
        scale = largest * (1.0 / 127.0)
        code = first.to(tl.int32)
        second = code
    else:
        scale = largest * (1.0 / (127.0 * SECOND))
        second = tl.floor((scaled - first) * SECOND + 0.5).to(tl.int32)
        code = first.to(tl.int32) * SECOND + second
    return first.to(tl.int8), second.to(tl.int8), scale, tl.sum(code, axis=1).to(tl.float32)


@triton.jit
def store_sums(sums, row, group, inside, scale, total, GROUPS: tl.constexpr):
    """For the groups `group` of a row, or one group of the rows `row`."""
    at = sums + row * (2 * GROUPS) + group
    tl.store(at, scale * total, mask=inside)
    tl.store(at + GROUPS, total, mask=inside)


@triton.jit
def encode_rows_kernel(
    x, codes, scales, sums, rows,
    dim: tl.constexpr, terms: tl.constexpr, out_stride: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    GROUPS: tl.constexpr = dim // 32
    program = tl.program_id(0) * ROWS
    group = tl.arange(0, BLOCK // 32)
    inside = group < GROUPS
    column = group[:, None] * 32 + tl.arange(0, 32)[None, :]
    for row in range(program, tl.minimum(program + ROWS, rows)):
        at = row.to(tl.int64)
        v = tl.load(x + at * dim + column, mask=inside[:, None], other=0.0).to(tl.float32)
        first, second, scale, total = encode_groups(v, terms)
        code_at = codes + at * out_stride + column
        tl.store(code_at, first, mask=inside[:, None])
        if terms == 2:
            tl.store(code_at + dim, second, mask=inside[:, None])
        tl.store(scales + at * GROUPS + group, scale, mask=inside)
        store_sums(sums, at, group, inside, scale, total, GROUPS)


def encode(x: np.ndarray, terms: int = 1) -> dict[str, np.ndarray]:
    """codes [rows, terms * dim], scales and sums of x [rows, dim], all as f32 arrays."""
    groups = x.astype(np.float32).reshape(x.shape[0], -1, GROUP)
    largest = np.abs(groups).max(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    scaled = groups * inverse[:, :, None]
    first = np.floor(scaled + np.float32(0.5))
    if terms == 1:
        scale, code, planes = largest * np.float32(1 / 127), first, [first]
    else:
        second = np.floor((scaled - first) * np.float32(254) + np.float32(0.5))
        scale, code = largest * np.float32(1 / (127 * 254)), 254 * first + second
        planes = [first, second]
    codes, total = np.concatenate([plane.reshape(x.shape) for plane in planes], axis=1), code.sum(axis=2)
    return {"codes": codes, "scales": scale, "sums": np.concatenate([scale * total, total], axis=1)}


# A product that lands on a half may be rounded either way, so a code may be off by one, and with two terms
# the second makes up for it.
CODE_TOLERANCE = Tolerance(1.0)
CODE_TOLERANCE_TWO = Tolerance(1.0, mismatch=0.02)


def sums_tolerance(scales: np.ndarray) -> Tolerance:
    return Tolerance(float(np.nanmax(scales, initial=0.0)) * 4 + 1e-30, 1e-5)


def encode_rows_reference(key, args):
    rows = args["rows"]
    made = encode(args["x"][:rows], key["terms"])
    result = {}
    for name in ("codes", "scales", "sums"):
        result[name] = args[name].copy()
        result[name][:rows, : made[name].shape[1]] = made[name]
    return result


def planes_for(rows: int, dim: int, terms: int = 1, apart: int = 0) -> dict[str, np.ndarray]:
    return {
        "codes": np.full((rows, terms * dim + apart), -5, np.int8),
        "scales": np.full((rows, dim // GROUP), 3.0, np.float32),
        "sums": np.full((rows, 2 * (dim // GROUP)), 3.0, np.float32),
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
    ):
        x = rng.standard_normal((rows, dim), dtype=np.float32)
        x[0, :32] = 0.0
        x[-1] *= 1e6
        scales = np.abs(x).max() / 127
        yield Case(
            name=name,
            key={"x_dtype": x_dtype, "dim": dim, "terms": terms, "out_stride": terms * dim + apart},
            args={"x": x, **planes_for(rows + 1, dim, terms, apart), "rows": rows},
            tolerance={
                "codes": CODE_TOLERANCE if terms == 1 else CODE_TOLERANCE_TWO,
                "scales": Tolerance(0.0, 1e-6),
                "sums": sums_tolerance(np.array([scales])),
            },
        )


TERMS = Int("terms", min=1, max=2, doc="of the codes")

ENCODE_ROWS = Kernel(
    name="encode_rows",
    doc="codes, scales and sums of x[r, :]: see the head of activation_codes.py",
    fn=encode_rows_kernel,
    key=[DType("x_dtype"), Int("dim", min=32, doc="a multiple of 32"), TERMS,
         Int("out_stride", min=1, doc="elements from row to row of codes")],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, dim"),
        Ptr("codes", "i8", "write", shape="rows, out_stride"),
        Ptr("scales", "f32", "write", shape="rows, dim / 32"),
        Ptr("sums", "f32", "write", shape="rows, 2 * dim / 32"),
        I32("rows"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(
        bytes="rows * dim * (size_of(x_dtype) + terms) + rows * (dim // 32) * 12", operations="2 * rows * dim"
    ),
    reference=encode_rows_reference,
    cases=encode_rows_cases,
    default_tiles=[{"ROWS": 1, "BLOCK": "next_pow2(dim)", "num_warps": 4}],
)

KERNELS = [ENCODE_ROWS]
