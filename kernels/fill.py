"""Fills, and conversions between float types."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.dtypes import round_to
from kernels.spec import F32, I64, Case, Cost, DType, Kernel, Ptr, Tolerance


@triton.jit
def fill_kernel(out, count, value, BLOCK: tl.constexpr):
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    filled = tl.full([BLOCK], 0.0, tl.float32) + value
    tl.store(out + element, filled.to(out.dtype.element_ty), mask=element < count)


@triton.jit
def convert_kernel(x, out, count, BLOCK: tl.constexpr):
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = element < count
    v = tl.load(x + element, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + element, v.to(out.dtype.element_ty), mask=inside)


def fill_reference(key, args):
    out = args["out"].copy()
    out[: args["count"]] = args["value"]
    return {"out": out}


def convert_reference(key, args):
    out = args["out"].copy()
    out[: args["count"]] = args["x"][: args["count"]]
    return {"out": out}


def fill_cases():
    for name, dtype, count, value in (
        ("zero_counts", "i32", 1025, 0.0),
        ("f32", "f32", 4096, -3.5),
        ("bf16_infinity", "bf16", 17, -np.inf),
        ("f16", "f16", 100, 0.1),
        ("one_byte", "u8", 1, 255.0),
    ):
        storage = (
            np.float32
            if dtype in ("f32", "f16", "bf16")
            else {"i32": np.int32, "u8": np.uint8}[dtype]
        )
        yield Case(
            name=name,
            key={"dtype": dtype},
            args={"out": np.full(count + 5, 7, storage), "count": count, "value": value},
            tolerance={"out": Tolerance()},
        )


def convert_cases():
    rng = np.random.default_rng(52)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, 1e-8, 65504.0, 1e-3, 3.3895e38, 1.00390625, 1.01171875],
        np.float32,
    )
    for x_dtype in ("f32", "f16", "bf16"):
        for out_dtype in ("f32", "f16", "bf16"):
            for name, count in (("odd", 2051), ("one", 1)):
                x = rng.standard_normal(count + 3, dtype=np.float32)
                if count > 1:
                    x[: len(special)] = special
                    x[len(special)] = np.nan
                yield Case(
                    name=f"{x_dtype}_to_{out_dtype}_{name}",
                    key={"x_dtype": x_dtype, "out_dtype": out_dtype},
                    args={
                        "x": round_to(x, x_dtype),
                        "out": np.full(count + 3, 7, np.float32),
                        "count": count,
                    },
                    tolerance={"out": Tolerance()},
                )


FILL = Kernel(
    name="fill",
    doc="out[:count] = value",
    fn=fill_kernel,
    key=[DType("dtype", allowed=("f32", "f16", "bf16", "i32", "u8"))],
    args=[Ptr("out", "dtype", "write", shape="count"), I64("count"), F32("value")],
    grid="ceil_div(count, BLOCK)",
    cost=Cost(bytes="count * size_of(dtype)"),
    reference=fill_reference,
    cases=fill_cases,
    default_tiles=[{"BLOCK": 1024, "num_warps": 4}],
)

CONVERT = Kernel(
    name="convert",
    doc="out[:count] = x[:count] in another float type, rounded to nearest even",
    fn=convert_kernel,
    key=[DType("x_dtype"), DType("out_dtype")],
    args=[
        Ptr("x", "x_dtype", "read", shape="count"),
        Ptr("out", "out_dtype", "write", shape="count"),
        I64("count"),
    ],
    grid="ceil_div(count, BLOCK)",
    cost=Cost(bytes="count * (size_of(x_dtype) + size_of(out_dtype))"),
    reference=convert_reference,
    cases=convert_cases,
    default_tiles=[{"BLOCK": 1024, "num_warps": 4}],
)

KERNELS = [FILL, CONVERT]
