"""What a machine can do at most: reading from memory, and products out of registers and the first cache.

`nereid bench` launches these to have limits beside its figures (src/ops/limits.h), so that they are measured on
any device, by the same way to it that the model's kernels take."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.dtypes import DTYPES
from kernels.spec import I32, I64, Case, Cost, DType, Int, Kernel, Ptr, Tolerance


@triton.jit
def nothing_kernel(programs):
    pass


@triton.jit
def read_words_kernel(words, sums, count, BLOCK: tl.constexpr, STEPS: tl.constexpr):
    # Two streams: a processor has more of memory than with one.
    tl.static_assert(STEPS % 2 == 0)
    HALF: tl.constexpr = STEPS // 2
    first = tl.program_id(0).to(tl.int64) * (BLOCK * STEPS)
    at = words + first + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.int32)
    for step in range(0, HALF):
        acc += tl.load(at + step * BLOCK)
        acc += tl.load(at + (HALF + step) * BLOCK)
    tl.store(sums + tl.program_id(0), tl.sum(acc, axis=0))


@triton.jit
def _masked(values, mask: tl.constexpr):
    """Some processors are faster where they know that no factor is negative, or that it is small."""
    if values.dtype == tl.int8:
        values = values & mask
    return values


@triton.jit
def repeated_dot_kernel(
    x, w, out, programs, rounds,
    dtype: tl.constexpr, m: tl.constexpr, n: tl.constexpr, k: tl.constexpr, mask: tl.constexpr, LOAD_ONCE: tl.constexpr,
):  # fmt: skip
    # Bytes that one instruction multiplies lie side by side, as in linear.py.
    PART: tl.constexpr = 4 // (dtype.primitive_bitwidth // 8)
    x_at = x + tl.arange(0, m)[:, None] * k + tl.arange(0, k)[None, :]
    w_at = w + tl.arange(0, k // PART)[:, None] * (n * PART) + tl.arange(0, n * PART)[None, :]
    acc = tl.zeros((m, n), dtype=tl.int32 if dtype == tl.int8 else tl.float32)
    if LOAD_ONCE:
        xs = tl.load(x_at)
        ws = _masked(tl.load(w_at), mask)
        ws = tl.reshape(tl.permute(tl.reshape(ws, (k // PART, n, PART)), (0, 2, 1)), (k, n))
        for _ in range(0, rounds):
            acc = tl.dot(xs, ws, acc, input_precision="ieee")
    else:
        for _ in range(0, rounds):
            ws = _masked(tl.load(w_at), mask)
            ws = tl.reshape(tl.permute(tl.reshape(ws, (k // PART, n, PART)), (0, 2, 1)), (k, n))
            acc = tl.dot(tl.load(x_at), ws, acc, input_precision="ieee")
    at = tl.program_id(0).to(tl.int64) * (m * n) + tl.arange(0, m)[:, None] * n + tl.arange(0, n)[None, :]
    tl.store(out + at, acc)


def _no_reference(key, args):
    return {}


def read_words_reference(key, args):
    words = args["words"].astype(np.int64)
    sums = args["sums"].copy()
    programs = len(sums) - 1
    parts = words.reshape(programs, -1).sum(axis=1)
    sums[:programs] = (parts & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return {"sums": sums}


def repeated_dot_reference(key, args):
    m, n, k = key["m"], key["n"], key["k"]
    part = 4 // DTYPES[key["dtype"]].size
    w = args["w"].reshape(k // part, n, part).transpose(0, 2, 1).reshape(k, n)
    integer = key["dtype"] == "i8"
    if integer:
        w = w & key["mask"]
    product = args["x"].astype(np.float64) @ w.astype(np.float64) * args["rounds"]
    out = args["out"].copy()
    out.reshape(-1)[: args["programs"] * m * n] = np.tile(product.reshape(-1), args["programs"])
    return {"out": out.astype(np.int32) if integer else out}


def nothing_cases():
    yield Case(name="some", key={}, args={"programs": 3})


def read_words_cases():
    rng = np.random.default_rng(71)
    words = rng.integers(-(2**31), 2**31, 3 * _READ_WORDS).astype(np.int32)
    yield Case(
        name="three_programs",
        key={},
        args={"words": words, "sums": np.full(4, 7, np.int32), "count": len(words)},
    )


def repeated_dot_cases():
    rng = np.random.default_rng(72)
    for dtype, mask in (("f32", 0), ("bf16", 0), ("i8", 127), ("i8", 15)):
        for m, n, k in ((16, 32, 256), (128, 128, 64)):
            part = 4 // DTYPES[dtype].size
            high = 127 if dtype == "i8" else 1
            x = rng.integers(-high, high + 1, (m, k))
            w = rng.integers(0, high + 1, (k // part, n, part))
            kind = np.int8 if dtype == "i8" else np.float32
            yield Case(
                name=f"{dtype}_{m}_{mask}",
                key={
                    "dtype": dtype, "out_dtype": "i32" if dtype == "i8" else "f32", "m": m, "n": n, "k": k, "mask": mask,
                },
                args={
                    "x": x.astype(kind), "w": w.astype(kind),
                    "out": np.full((2 * m + 1, n), 7, np.int32 if dtype == "i8" else np.float32),
                    "programs": 2, "rounds": 3,
                },
                tolerance={"out": Tolerance()},
            )  # fmt: skip


_READ_WORDS = 16384  # of one program

NOTHING = Kernel(
    name="nothing",
    doc="Does nothing: what a launch itself costs",
    fn=nothing_kernel,
    key=[],
    args=[I32("programs")],
    grid="programs",
    cost=Cost(bytes="0"),
    reference=_no_reference,
    cases=nothing_cases,
    default_tiles=[{"num_warps": 1}],
)

READ_WORDS = Kernel(
    name="read_words",
    doc="sums[p] = sum of words[p * 16384 : (p + 1) * 16384], modulo 2^32",
    fn=read_words_kernel,
    key=[],
    args=[
        Ptr("words", "i32", "read", shape="count"),
        Ptr("sums", "i32", "write", shape="count / 16384"),
        I64("count", doc="a multiple of 16384"),
    ],
    grid="ceil_div(count, BLOCK * STEPS)",
    cost=Cost(bytes="4 * (count + count // 16384)"),
    reference=read_words_reference,
    cases=read_words_cases,
    default_tiles=[{"BLOCK": 2048, "STEPS": 8, "num_warps": 8}],
)

REPEATED_DOT = Kernel(
    name="repeated_dot",
    doc="out[p, :, :] = rounds * x w for every program p, by `rounds` products that are added up; w [k, n] lies as "
    "[k / 4 bytes, n, 4 bytes], and where it is i8 only its bits under `mask` count",
    fn=repeated_dot_kernel,
    key=[
        DType("dtype", allowed=("f32", "bf16", "i8")), DType("out_dtype", allowed=("f32", "i32"), doc="i32 for i8"),
        Int("m", min=1), Int("n", min=1), Int("k", min=1),
        Int("mask", max=127, doc="0 where w is not i8"),
    ],
    args=[
        Ptr("x", "dtype", "read", shape="m, k"),
        Ptr("w", "dtype", "read", shape="k / part, n, part"),
        Ptr("out", "out_dtype", "write", shape="programs, m, n"),
        I32("programs"), I32("rounds"),
    ],
    grid="programs",
    cost=Cost(
        bytes="(m + n) * k * size_of(dtype) + programs * m * n * 4",
        operations="2 * m * n * k * programs * rounds",
        products="dtype",
    ),
    reference=repeated_dot_reference,
    cases=repeated_dot_cases,
    default_tiles=[{"LOAD_ONCE": 1, "num_warps": 8}, {"LOAD_ONCE": 1, "num_warps": 4}],
)  # fmt: skip

KERNELS = [NOTHING, READ_WORDS, REPEATED_DOT]
