"""Root-mean-square normalisation of rows, alone or fused with the residual addition before it."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.activation_codes import (
    CODE_TOLERANCE,
    CODE_TOLERANCE_TWO,
    PAIRED,
    TERMS,
    encode,
    heavier_of,
    larger_of,
    outstanding_limit,
    pair_words,
    planes_for,
    row_block,
    store_codes,
    sums_tolerance,
)
from kernels.spec import F32, FLOATS, I32, Case, Cost, DType, Flag, Int, Kernel, Ptr, Tolerance


@triton.jit
def _store_block(
    result, out, out_scales, out_sums, out_pairs, largest, heaviest, limit, begin,
    out_dtype: tl.constexpr, dim: tl.constexpr, terms: tl.constexpr, paired: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The row's columns from `begin` on."""
    column = begin + tl.arange(0, result.shape[0])
    if out_dtype == tl.int8:
        store_codes(
            result, out, out_scales, out_sums, out_pairs, largest, heaviest, limit, begin, dim, terms, paired, MASKED
        )
    elif MASKED:
        tl.store(out + column, result.to(out.dtype.element_ty), mask=column < dim)
    else:
        tl.store(out + column, result.to(out.dtype.element_ty))


@triton.jit
def rms_norm_kernel(
    x, weight, index, out, out_scales, out_sums, out_pairs, rows, eps,
    out_dtype: tl.constexpr, dim: tl.constexpr, terms: tl.constexpr, paired: tl.constexpr, out_stride: tl.constexpr,
    has_index: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    WHOLE: tl.constexpr = (dim - 1) // BLOCK * BLOCK  # columns of blocks before the last one
    REST: tl.constexpr = triton.next_power_of_2(dim - WHOLE)
    MASKED: tl.constexpr = REST != dim - WHOLE
    CODES: tl.constexpr = out_dtype == tl.int8
    FINE: tl.constexpr = CODES and terms == 2
    first = tl.program_id(0) * ROWS
    for row in range(first, tl.minimum(first + ROWS, rows)):
        source = row.to(tl.int64)
        if has_index:
            source = tl.load(index + row).to(tl.int64)
        x_row = x + source * dim
        at = row.to(tl.int64)
        out_row, scales_row, sums_row, pairs_row = out + at * out_stride, out_scales, out_sums, out_pairs
        if CODES:
            scales_row += at * (dim // 32)
            sums_row += at * ((1 + terms) * (dim // 32))
        if paired:
            pairs_row += at * pair_words(dim // 32, terms)
        squares, weighted_squares, largest, heaviest = 0.0, 0.0, 0.0, 0.0
        for begin in range(0, WHOLE, BLOCK):
            block = row_block(x_row, begin, dim, BLOCK, False)
            squares += tl.sum(block * block, axis=0)
            if CODES:
                block *= row_block(weight, begin, dim, BLOCK, False)
                largest = larger_of(largest, block)
            if paired:
                heaviest = heavier_of(heaviest, block)
            if FINE:
                weighted_squares += tl.sum(block * block, axis=0)
        rest = row_block(x_row, WHOLE, dim, REST, MASKED)
        rest_weight = row_block(weight, WHOLE, dim, REST, MASKED)
        squares += tl.sum(rest * rest, axis=0)
        scale = tl.rsqrt(squares / dim + eps)
        limit = 0.0
        if CODES:
            weighted = rest * rest_weight
            largest = larger_of(largest, weighted) * scale
        if paired:
            heaviest = heavier_of(heaviest, weighted) * scale
        if FINE:
            weighted_squares += tl.sum(weighted * weighted, axis=0)
            limit = outstanding_limit(weighted_squares, dim) * scale
        for begin in range(0, WHOLE, BLOCK):
            block = row_block(x_row, begin, dim, BLOCK, False) * scale * row_block(weight, begin, dim, BLOCK, False)
            _store_block(
                block, out_row, scales_row, sums_row, pairs_row, largest, heaviest, limit, begin, out_dtype, dim, terms, paired, False
            )
        _store_block(
            rest * scale * rest_weight, out_row, scales_row, sums_row, pairs_row, largest, heaviest, limit, WHOLE,
            out_dtype, dim, terms, paired, MASKED,
        )  # fmt: skip


@triton.jit
def add_rms_norm_kernel(
    residual, delta, weight, out, rows, eps,
    dim: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * ROWS
    column = tl.arange(0, BLOCK)
    inside = column < dim
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    for row in range(first, tl.minimum(first + ROWS, rows)):
        offset = row.to(tl.int64) * dim + column
        v = tl.load(residual + offset, mask=inside, other=0.0).to(tl.float32)
        v += tl.load(delta + offset, mask=inside, other=0.0).to(tl.float32)
        tl.store(residual + offset, v.to(residual.dtype.element_ty), mask=inside)
        scale = tl.rsqrt(tl.sum(v * v, axis=0) / dim + eps)
        tl.store(out + offset, (v * scale * w).to(out.dtype.element_ty), mask=inside)


def _normalise(x, weight, eps):
    x = x.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = 1.0 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
        return x * scale * weight.astype(np.float64)


def rms_norm_reference(key, args):
    rows = args["rows"]
    x = args["x"][args["index"]] if key["has_index"] else args["x"]
    result = _normalise(x[:rows], args["weight"], args["eps"])
    made = {"out": result}
    if key["out_dtype"] == "i8":
        coded = encode(result, key["terms"], paired=key["paired"])
        made = {"out": coded["codes"], "out_scales": coded["scales"], "out_sums": coded["sums"]}
    if key["paired"]:
        made["out_pairs"] = coded["pairs"]
    whole = {name: args[name].copy() for name in made}
    for name, values in made.items():
        whole[name][:rows, : values.shape[1]] = values
    return whole


def add_rms_norm_reference(key, args):
    rows = args["rows"]
    residual, out = args["residual"].copy(), args["out"].copy()
    residual[:rows] += args["delta"][:rows]
    out[:rows] = _normalise(residual[:rows], args["weight"], args["eps"])
    return {"residual": residual, "out": out}


# name, rows, dim, x dtype, weight dtype, out dtype
_SHAPES = [
    ("one_row", 1, 576, "f32", "f32", "bf16"),
    ("one_element", 1, 1, "f32", "f32", "f32"),
    ("odd_dim", 3, 577, "f32", "f32", "f32"),
    ("small_dim", 5, 7, "f32", "bf16", "f32"),
    ("many_rows", 67, 64, "f32", "f32", "bf16"),
    ("half", 4, 130, "f16", "f16", "f16"),
    ("bf16_input", 4, 576, "bf16", "bf16", "bf16"),
    ("wide", 2, 5120, "f32", "f32", "bf16"),
]


def _fill(rng: np.random.Generator, rows: int, dim: int, name: str) -> np.ndarray:
    x = rng.standard_normal((rows, dim), dtype=np.float32)
    if name == "many_rows":
        x[3] = 0.0
        x[5] *= 1e15
        x[7] *= 1e-15
        x[11, 2] = np.nan
    return x


def rms_norm_cases():
    rng = np.random.default_rng(11)
    for name, rows, dim, x_dtype, weight_dtype, out_dtype in _SHAPES:
        for has_index in (0, 1):
            stored = rows + 2 if has_index else rows
            index = rng.integers(0, stored, rows).astype(np.int32) if has_index else None
            yield Case(
                name=f"{name}{'_indexed' if has_index else ''}",
                key={
                    "x_dtype": x_dtype, "weight_dtype": weight_dtype, "out_dtype": out_dtype, "dim": dim,
                    "terms": 1, "paired": 0, "out_stride": dim, "has_index": has_index,
                },
                args={
                    "x": _fill(rng, stored, dim, name),
                    "weight": rng.standard_normal(dim, dtype=np.float32),
                    "index": index,
                    "out": np.full((rows + 1, dim), -7.0, dtype=np.float32),
                    "out_scales": None,
                    "out_sums": None,
                    "out_pairs": None,
                    "rows": rows,
                    "eps": 1e-5,
                },
            )  # fmt: skip
    for name, rows, dim, has_index, terms, apart in (
        ("one_row", 1, 576, 0, 1, 0), ("rows", 37, 96, 1, 1, 0), ("group", 2, 32, 0, 1, 0), ("apart", 7, 96, 0, 1, 64),
        ("two_terms", 1, 576, 0, 2, 0), ("two_terms_rows", 37, 96, 1, 2, 0), ("two_terms_apart", 5, 64, 0, 2, 64),
        ("pairs", 5, 576, 0, 1, 0), ("two_terms_pairs", 5, 64, 1, 2, 0),
    ):  # fmt: skip
        x = rng.standard_normal((rows + 2, dim), dtype=np.float32)
        paired = (8 if "two" in name else 4) if "pairs" in name else 0
        planes = planes_for(rows + 1, dim, terms, apart, paired)
        yield Case(
            name=f"codes_{name}",
            key={
                "x_dtype": "f32", "weight_dtype": "f32", "out_dtype": "i8", "dim": dim, "terms": terms, "paired": paired,
                "out_stride": terms * dim + apart, "has_index": has_index,
            },
            args={
                "x": x,
                "weight": rng.standard_normal(dim, dtype=np.float32),
                "index": rng.integers(0, rows + 2, rows).astype(np.int32) if has_index else None,
                "out": planes["codes"],
                "out_scales": planes["scales"],
                "out_sums": planes["sums"],
                "out_pairs": planes["pairs"],
                "rows": rows,
                "eps": 1e-5,
            },
            tolerance={
                "out": CODE_TOLERANCE if terms == 1 else CODE_TOLERANCE_TWO,
                "out_scales": Tolerance(0.0, 1e-5),
                "out_sums": sums_tolerance(np.array([0.1])),
                # A code that is off by one changes a group's sum by 1, in three places; the unit's bits by a few.
                "out_pairs": Tolerance(70000.0, 1e-4),
            },
        )  # fmt: skip


def add_rms_norm_cases():
    rng = np.random.default_rng(12)
    for name, rows, dim, x_dtype, weight_dtype, out_dtype in _SHAPES:
        yield Case(
            name=name,
            key={
                "delta_dtype": x_dtype,
                "weight_dtype": weight_dtype,
                "out_dtype": out_dtype,
                "dim": dim,
            },
            args={
                "residual": _fill(rng, rows + 1, dim, name),
                "delta": rng.standard_normal((rows + 1, dim), dtype=np.float32),
                "weight": rng.standard_normal(dim, dtype=np.float32),
                "out": np.full((rows + 1, dim), -7.0, dtype=np.float32),
                "rows": rows,
                "eps": 1e-6,
            },
        )


_TILES = [{"ROWS": 1, "BLOCK": "next_pow2(dim)", "num_warps": 4}]

RMS_NORM = Kernel(
    name="rms_norm",
    doc="out[r, :] = s * rsqrt(mean(s^2) + eps) * weight with s = x[index[r], :] (x[r, :] without index); "
    "RMSNorm, arXiv 1910.07467",
    fn=rms_norm_kernel,
    key=[
        DType("x_dtype"), DType("weight_dtype"),
        DType("out_dtype", allowed=(*FLOATS, "i8"), doc="i8: codes as activation_codes.py has them"),
        Int("dim", min=1), TERMS, PAIRED, Int("out_stride", min=1, doc="elements from row to row of out"),
        Flag("has_index", doc="rows are gathered by `index`"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="source rows, dim"),
        Ptr("weight", "weight_dtype", "read", shape="dim"),
        Ptr("index", "i32", "read", shape="rows", optional="has_index"),
        Ptr("out", "out_dtype", "write", shape="rows, out_stride"),
        Ptr("out_scales", "f32", "write", shape="rows, dim / 32", optional="out_dtype is i8"),
        Ptr("out_sums", "f32", "write", shape="rows, (1 + terms) * dim / 32", optional="out_dtype is i8"),
        Ptr("out_pairs", "i32", "write", shape="rows, pair_words(dim / 32, terms)", optional="paired"),
        I32("rows"),
        F32("eps"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(
        bytes="rows * dim * (size_of(x_dtype) + terms * size_of(out_dtype)) + dim * size_of(weight_dtype)"
        " + rows * 4 * has_index + (rows * (dim // 32) * (8 + (16 if paired else 4) * terms) if out_dtype == 'i8' else 0)",
        operations="4 * rows * dim",
    ),
    reference=rms_norm_reference,
    cases=rms_norm_cases,
    default_tiles=_TILES,
)  # fmt: skip

ADD_RMS_NORM = Kernel(
    name="add_rms_norm",
    doc="residual[r, :] += delta[r, :]; out[r, :] = RMSNorm(residual[r, :]) * weight",
    fn=add_rms_norm_kernel,
    key=[DType("delta_dtype"), DType("weight_dtype"), DType("out_dtype"), Int("dim", min=1)],
    args=[
        Ptr("residual", "f32", "readwrite", shape="rows, dim"),
        Ptr("delta", "delta_dtype", "read", shape="rows, dim"),
        Ptr("weight", "weight_dtype", "read", shape="dim"),
        Ptr("out", "out_dtype", "write", shape="rows, dim"),
        I32("rows"),
        F32("eps"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(
        bytes="rows * dim * (8 + size_of(delta_dtype) + size_of(out_dtype)) + dim * size_of(weight_dtype)",
        operations="5 * rows * dim",
    ),
    reference=add_rms_norm_reference,
    cases=add_rms_norm_cases,
    default_tiles=_TILES,
)

KERNELS = [RMS_NORM, ADD_RMS_NORM]
