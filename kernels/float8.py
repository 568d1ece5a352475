"""8-bit floats (e4m3: OCP 8-bit Floating Point Specification): conversions that every target can do, and rows of
activations as codes with a scale.

A target whose Triton lacks the type gives kernels u8 instead (ttir.py); conversions then work on bits.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.dtypes import widen as widen_array
from kernels.spec import FLOATS, I32, Case, Cost, DType, Int, Kernel, Ptr, Tolerance

LARGEST = 448.0
_LARGEST = tl.constexpr(LARGEST)


@triton.jit
def is_float8(dtype: tl.constexpr):
    return dtype == tl.float8e4nv or dtype == tl.uint8


@triton.jit
def _widen_bits(code):
    """f32 of e4m3 codes in u8. The three cases: numbers with and without the implicit one, NaN."""
    magnitude = (code & 127).to(tl.int32)
    normal = ((magnitude << 20) + (120 << 23)).to(tl.float32, bitcast=True)
    value = tl.where(magnitude < 8, magnitude.to(tl.float32) * 0.001953125, normal)
    value = tl.where(magnitude == 127, float("nan"), value)
    return tl.where(code >= 128, -value, value)


@triton.jit
def _narrow_bits(x):
    """e4m3 codes in u8 of f32 within +-448 or NaN, to the nearest, ties to even."""
    bits = x.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    normal = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20) - (120 << 3)
    # Below 2^-6 a code is a multiple of 2^-9: what the addition of 2^14 leaves in the last place.
    small = tl.where(magnitude < (121 << 23), magnitude, 0).to(tl.float32, bitcast=True)
    rounded = (small + 16384.0).to(tl.int32, bitcast=True) & 15
    code = tl.where(magnitude < (121 << 23), rounded, normal)
    code = tl.where(x != x, 127, code)
    return (code | ((bits >> 24) & 128)).to(tl.uint8)


@triton.jit
def widen(value, dtype: tl.constexpr):
    """`value` in a wider float type; exact for e4m3."""
    if value.dtype == tl.uint8:
        value = _widen_bits(value).to(dtype)
    elif value.dtype != dtype:
        value = value.to(dtype)
    return value


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """f32 in the element type of a pointer; e4m3 saturates at +-448, and NaN stays NaN."""
    if is_float8(dtype):
        x = tl.where(x > _LARGEST, _LARGEST, tl.where(x < -_LARGEST, -_LARGEST, x))
        if dtype == tl.uint8:
            return _narrow_bits(x)
        else:
            return x.to(dtype)
    else:
        return x.to(dtype)


@triton.jit
def encode_f8_kernel(x, codes, scales, rows, k: tl.constexpr, group: tl.constexpr, BLOCK: tl.constexpr, GROUPS: tl.constexpr):  # fmt: skip
    parts: tl.constexpr = (k + group - 1) // group
    row = tl.program_id(0) % rows
    part = tl.program_id(0) // rows * GROUPS + tl.arange(0, GROUPS)
    local = tl.arange(0, BLOCK)
    column = part[:, None] * group + local[None, :]
    inside = (local < group)[None, :] & (column < k)
    at = row.to(tl.int64) * k + column
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    largest = tl.max(tl.abs(value), axis=1)
    scale = tl.where(largest == 0.0, 1.0, largest / _LARGEST)
    tl.store(codes + at, narrow(value / scale[:, None], codes.dtype.element_ty), mask=inside)
    tl.store(scales + part.to(tl.int64) * rows + row, scale, mask=part < parts)


def encode(x: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Values before they are rounded to e4m3 [rows, k], and scales [parts, rows]."""
    rows, k = x.shape
    parts = -(-k // group)
    padded = np.zeros((rows, parts * group), np.float32)
    padded[:, :k] = x
    largest = np.abs(padded.reshape(rows, parts, group)).max(axis=2)
    scales = np.where(largest == 0, 1, largest / np.float32(LARGEST)).astype(np.float32)
    values = padded / np.repeat(scales, group, axis=1)
    return values[:, :k], np.ascontiguousarray(scales.T)


def encode_f8_reference(key, args):
    rows = args["rows"]
    values, scales = encode(args["x"][:rows], key["group"])
    codes, planes = args["codes"].copy(), args["scales"].copy()
    codes[:rows] = values
    planes.reshape(-1)[: scales.size] = scales.reshape(-1)
    return {"codes": codes, "scales": planes}


def encode_f8_cases():
    rng = np.random.default_rng(71)
    for name, rows, k, group, dtype in (
        ("row", 1, 64, 64, "bf16"),
        ("token", 5, 576, 576, "bf16"),
        ("groups", 19, 512, 128, "bf16"),
        ("ragged", 3, 200, 128, "f32"),
        ("odd", 7, 45, 45, "f16"),
        ("wide", 2, 14336, 14336, "bf16"),
        ("wide_groups", 2, 14336, 128, "bf16"),
    ):
        x = rng.standard_normal((rows, k), dtype=np.float32)
        x[0, : min(k, 128)] = 0  # a group of zeros
        x[-1] *= 1e3
        yield Case(
            name=name,
            key={"x_dtype": dtype, "k": k, "group": group},
            args={
                "x": x,
                "codes": np.full((rows + 1, k), 2, np.float32),
                "scales": np.full((-(-k // group) * rows + 3), -7, np.float32),
                "rows": rows,
            },
            # A value beside the middle of two codes may become either.
            tolerance={"codes": Tolerance(0.001953125, 0.126, mismatch=0), "scales": Tolerance(0, 1e-6)},
        )


def widened(codes: np.ndarray) -> np.ndarray:
    return widen_array(codes, "f8e4m3")


ENCODE_F8 = Kernel(
    name="encode_f8",
    doc="codes[r, :] = x[r, :] / scale of its group of columns, rounded to e4m3; scale = largest magnitude / 448",
    fn=encode_f8_kernel,
    key=[
        DType("x_dtype", allowed=FLOATS), Int("k", min=1),
        Int("group", min=1, doc="columns that share a scale: k, or a power of two"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, k"),
        Ptr("codes", "f8e4m3", "write", shape="rows, k"),
        Ptr("scales", "f32", "write", shape="k / group rounded up, rows"),
        I32("rows"),
    ],
    grid="rows * ceil_div(ceil_div(k, group), GROUPS)",
    select="rows",
    cost=Cost(
        bytes="rows * (k * (size_of(x_dtype) + 1) + 4 * ceil_div(k, group))", operations="2 * rows * k"
    ),
    reference=encode_f8_reference,
    cases=encode_f8_cases,
    default_tiles=[
        {"when": "group < k", "BLOCK": "next_pow2(group)", "GROUPS": "min(next_pow2(ceil_div(k, group)), 32)", "num_warps": 4},
        {"BLOCK": "next_pow2(group)", "GROUPS": 1, "num_warps": "8 if k > 4096 else 4"},
    ],
)  # fmt: skip

KERNELS = [ENCODE_F8]
