"""Scales of quantised weights in pairs of 16 bits, for linear_pairs.py: made once, when a model is loaded.

For weights [n, k] with groups of 32 columns, k a multiple of 64:

    scales  i32  [n_pad / 32, k / 64 + 1, 32]  scales of an even group, low, and of the next one, high; in the last row the
                                               bits of an f32: what 1 stands for, also in mins, its row's unit
    mins    i32  [n_pad / 32, k / 64, 32]      likewise what the code 8 stands for: min + 8 * scale; only of codes of 4 bits

Units are such that a sum of MOST_GROUPS groups has 32 bits, whatever the codes: a group of a row's codes times codes less
their zero is 32512 units of the row at most, and the row's codes alone are an eighth of that. So the largest of a row of
weights is LARGEST units, where it is a scale, or a scale and an eighth of its min + 8 * scale. Rounding to units takes
0.014 % of that, far less than rounding rows to codes does."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.spec import I32, Case, Cost, DType, Flag, Int, Kernel, Ptr

MOST_GROUPS = 18
LARGEST = tl.constexpr(3640.0)  # times 32512 and MOST_GROUPS: less than 2^31


@triton.jit
def _rounded(x):
    return tl.floor(x + 0.5).to(tl.int32)


@triton.jit
def _scale_and_offset(scale_at, min_at, g, has_min: tl.constexpr):
    """f32 [32] each, of group g."""
    scale = tl.load(scale_at + g * 32).to(tl.float32)
    offset = tl.zeros_like(scale)
    if has_min:
        offset = tl.load(min_at + g * 32).to(tl.float32) + scale * 8.0
    return scale, offset


@triton.jit
def pair_scales_kernel(
    scales, mins, pairs, min_pairs, panels,
    scale_dtype: tl.constexpr, has_min: tl.constexpr, k: tl.constexpr,
):  # fmt: skip
    GROUPS: tl.constexpr = k // 32
    panel = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, 32)
    scale_at = scales + panel * (GROUPS * 32) + lane
    min_at = mins + panel * (GROUPS * 32) + lane
    pair_at = pairs + panel * (GROUPS * 16 + 32) + lane
    min_pair_at = min_pairs + panel * (GROUPS * 16) + lane
    largest = tl.zeros((32,), dtype=tl.float32)
    for g in range(0, GROUPS):
        scale, offset = _scale_and_offset(scale_at, min_at, g, has_min)
        largest = tl.maximum(largest, tl.abs(scale) + tl.abs(offset) * 0.125)
    tl.store(pair_at + GROUPS * 16, (largest * (1.0 / LARGEST)).to(tl.int32, bitcast=True))
    inverse = tl.where(largest > 0.0, LARGEST / largest, 0.0)
    for g in range(0, GROUPS, 2):
        scale, offset = _scale_and_offset(scale_at, min_at, g, has_min)
        next_scale, next_offset = _scale_and_offset(scale_at, min_at, g + 1, has_min)
        word = (_rounded(scale * inverse) & 0xFFFF) | (_rounded(next_scale * inverse) << 16)
        tl.store(pair_at + g * 16, word)
        if has_min:
            word = (_rounded(offset * inverse) & 0xFFFF) | (_rounded(next_offset * inverse) << 16)
            tl.store(min_pair_at + g * 16, word)


def pair_scales(scales: np.ndarray, mins: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """pairs and min_pairs of [panels, groups, 32]."""
    scales = scales.astype(np.float64)
    offsets = None if mins is None else mins.astype(np.float64) + 8 * scales
    largest = np.abs(scales) + (0 if mins is None else np.abs(offsets) / 8)
    # In f32, as the kernel has it: units are compared bit by bit.
    unit = largest.max(axis=1, keepdims=True).astype(np.float32) * np.float32(1 / LARGEST.value)

    def words(values):
        numbers = np.floor(np.divide(values, unit, where=unit > 0, out=np.zeros_like(values)) + 0.5).astype(np.int64)
        return ((numbers[:, ::2] & 0xFFFF) | (numbers[:, 1::2] << 16)).astype(np.uint32).view(np.int32)

    pairs = np.concatenate([words(scales), unit.view(np.int32)], axis=1)
    return {"pairs": pairs, "min_pairs": None if mins is None else words(offsets)}


def scales_of_pairs(pairs: np.ndarray, min_pairs: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """scales and offsets, f64 [panels, groups, 32], of pairs and min_pairs."""
    unit = pairs[:, -1:].view(np.float32).astype(np.float64)

    def numbers(words):
        return np.stack([(words << 16) >> 16, words >> 16], axis=2).reshape(words.shape[0], -1, 32) * unit

    return numbers(pairs[:, :-1]), None if min_pairs is None else numbers(min_pairs)


def pair_scales_reference(key, args):
    made = pair_scales(args["scales"], args["mins"])
    return {name: values for name, values in made.items() if values is not None}


def pair_scales_cases():
    rng = np.random.default_rng(71)
    for scale_dtype in ("f16", "f32"):
        for has_min in (0, 1):
            for panels, k in ((1, 64), (3, 576), (2, 1536)):
                shape = (panels, k // 32, 32)
                # Multiples of the units that f16 holds, so that nothing is rounded.
                scales = rng.integers(-900, 900, shape) / 1024
                offsets = 8 * scales + 16 * rng.integers(-450, 450, shape) / 1024 if has_min else 0 * scales
                scales[:, 0] = 1820 * (2 - has_min) / 1024
                offsets[:, 0] = 8 * 1820 * has_min / 1024
                mins = offsets - 8 * scales if has_min else None
                yield Case(
                    name=f"{scale_dtype}_min{has_min}_{panels}x{k}",
                    key={"scale_dtype": scale_dtype, "has_min": has_min, "k": k},
                    args={
                        "scales": scales.astype(np.float32),
                        "mins": None if mins is None else mins.astype(np.float32),
                        "pairs": np.full((panels, k // 64 + 1, 32), 7, np.int32),
                        "min_pairs": np.full((panels, k // 64, 32), 7, np.int32) if has_min else None,
                        "panels": panels,
                    },
                )


PAIR_SCALES = Kernel(
    name="pair_scales",
    doc="pairs and min_pairs of scales and mins: see the head of scale_pairs.py",
    fn=pair_scales_kernel,
    key=[DType("scale_dtype", allowed=("f16", "f32")), Flag("has_min"), Int("k", min=64, doc="a multiple of 64")],
    args=[
        Ptr("scales", "scale_dtype", "read", shape="panels, k / 32, 32"),
        Ptr("mins", "scale_dtype", "read", shape="panels, k / 32, 32", optional="has_min"),
        Ptr("pairs", "i32", "write", shape="panels, k / 64 + 1, 32"),
        Ptr("min_pairs", "i32", "write", shape="panels, k / 64, 32", optional="has_min"),
        I32("panels"),
    ],
    grid="panels",
    cost=Cost(bytes="panels * 32 * (k // 32) * (size_of(scale_dtype) + 2) * (1 + has_min)"),
    reference=pair_scales_reference,
    cases=pair_scales_cases,
    default_tiles=[{"num_warps": 1}],
)

KERNELS = [PAIR_SCALES]
