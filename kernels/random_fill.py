"""Numbers from a hash of their position: weights of a model whose files are not there."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.spec import F32, I64, U32, Case, Cost, DType, Kernel, Ptr, Tolerance


@triton.jit
def _hash(v):
    """A permutation of u32 that mixes every bit (lowbias32 by C. Wellons)."""
    v = (v ^ (v >> 16)) * 0x7FEB352D
    v = (v ^ (v >> 15)) * 0x846CA68B
    return v ^ (v >> 16)


@triton.jit
def random_fill_kernel(out, count, seed, mask, low, high, dtype: tl.constexpr, BLOCK: tl.constexpr):
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    bits = _hash(_hash(element.to(tl.uint32)) ^ seed)
    if dtype == tl.int32:
        value = (bits & mask).to(tl.int32, bitcast=True)
    else:
        value = (low + (high - low) * ((bits >> 8).to(tl.int32).to(tl.float32) * (1.0 / 16777216.0))).to(dtype)
    tl.store(out + element, value, mask=element < count)


def _hash_reference(v):
    v = (v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D)
    v = (v ^ (v >> np.uint32(15))) * np.uint32(0x846CA68B)
    return v ^ (v >> np.uint32(16))


def random_fill_reference(key, args):
    out, count = args["out"].copy(), args["count"]
    bits = _hash_reference(_hash_reference(np.arange(count, dtype=np.uint32)) ^ np.uint32(args["seed"]))
    if key["dtype"] == "i32":
        out[:count] = (bits & np.uint32(args["mask"])).view(np.int32)
    else:
        low, high = np.float32(args["low"]), np.float32(args["high"])
        out[:count] = low + (high - low) * ((bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24))
    return {"out": out}


def random_fill_cases():
    for name, dtype, count, mask, low, high in (
        ("bits", "i32", 4099, 2**32 - 1, 0.0, 0.0),
        ("small_codes", "i32", 70, 0x1F1F1F1F, 0.0, 0.0),
        ("bf16", "bf16", 5000, 0, -0.03, 0.03),
        ("f16", "f16", 1, 0, 0.001, 0.003),
        ("f32", "f32", 2048, 0, -1.0, 2.0),
    ):
        yield Case(
            name=name,
            key={"dtype": dtype},
            args={
                "out": np.full(count + 5, 7, np.int32 if dtype == "i32" else np.float32),
                "count": count, "seed": 3000000001, "mask": mask, "low": low, "high": high,
            },
            tolerance={"out": Tolerance()} if dtype == "i32" else {},
        )  # fmt: skip


RANDOM_FILL = Kernel(
    name="random_fill",
    doc="out[i] = hash of i and seed: i32 its bits under mask, floats spread evenly over [low, high)",
    fn=random_fill_kernel,
    key=[DType("dtype", allowed=("f32", "f16", "bf16", "i32"))],
    args=[
        Ptr("out", "dtype", "write", shape="count"),
        I64("count"), U32("seed"), U32("mask"), F32("low"), F32("high"),
    ],
    grid="ceil_div(count, BLOCK)",
    cost=Cost(bytes="count * size_of(dtype)"),
    reference=random_fill_reference,
    cases=random_fill_cases,
    default_tiles=[{"BLOCK": 1024, "num_warps": 4}],
)  # fmt: skip

KERNELS = [RANDOM_FILL]
