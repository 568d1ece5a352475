"""Moving bytes: copies of KV-cache pages, fills, and conversions between float types."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.dtypes import round_to
from kernels.spec import F32, I32, I64, Case, Cost, DType, Int, Kernel, Ptr, Tolerance


@triton.jit
def copy_pages_kernel(
    cache, source, target, count, page_elements: tl.constexpr, BLOCK: tl.constexpr
):
    blocks: tl.constexpr = (page_elements + BLOCK - 1) // BLOCK
    program = tl.program_id(0)
    index = program // blocks
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < page_elements
    from_page = tl.load(source + index).to(tl.int64) * page_elements
    to_page = tl.load(target + index).to(tl.int64) * page_elements
    tl.store(
        cache + to_page + column, tl.load(cache + from_page + column, mask=inside), mask=inside
    )


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


def copy_pages_reference(key, args):
    cache = args["cache"].copy()
    for source, target in zip(args["source"][: args["count"]], args["target"]):
        cache[target] = args["cache"][source]
    return {"cache": cache}


def fill_reference(key, args):
    out = args["out"].copy()
    out[: args["count"]] = args["value"]
    return {"out": out}


def convert_reference(key, args):
    out = args["out"].copy()
    out[: args["count"]] = args["x"][: args["count"]]
    return {"out": out}


def copy_pages_cases():
    rng = np.random.default_rng(51)
    for name, dtype, pages, elements, count in (
        ("one_page", "bf16", 4, 3 * 16 * 64, 1),
        ("several", "f32", 9, 1000, 3),
        ("tiny_page", "f16", 8, 7, 4),
        ("none", "f32", 2, 64, 0),
    ):
        order = rng.permutation(pages).astype(np.int32)
        yield Case(
            name=name,
            key={"dtype": dtype, "page_elements": elements},
            args={
                "cache": round_to(rng.standard_normal((pages, elements), dtype=np.float32), dtype),
                "source": order[:count] if count else order[:1],
                "target": order[count : 2 * count] if count else order[:1],
                "count": count,
            },
            tolerance={"cache": Tolerance()},
        )


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


COPY_PAGES = Kernel(
    name="copy_pages",
    doc="cache[target[i], :] = cache[source[i], :]; no page is both a source and a target",
    fn=copy_pages_kernel,
    key=[DType("dtype"), Int("page_elements", min=1, doc="num_kv_heads * page_size * head_dim")],
    args=[
        Ptr("cache", "dtype", "readwrite", shape="num_pages, page_elements"),
        Ptr("source", "i32", "read", shape="count"),
        Ptr("target", "i32", "read", shape="count"),
        I32("count"),
    ],
    grid="count * ceil_div(page_elements, BLOCK)",
    cost=Cost(bytes="count * (2 * page_elements * size_of(dtype) + 8)"),
    reference=copy_pages_reference,
    cases=copy_pages_cases,
    default_tiles=[{"BLOCK": "min(next_pow2(page_elements), 4096)", "num_warps": 4}],
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

KERNELS = [COPY_PAGES, FILL, CONVERT]
