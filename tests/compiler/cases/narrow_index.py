"""Indices that wrap on purpose: computed in types below 32 bits, or cut off by a truncation."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import Scalar, buffer, poison
from case import Case

_TL = {"i8": tl.int8, "u8": tl.uint8, "i16": tl.int16, "u16": tl.uint16}
_NP = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16}


@triton.jit
def narrow_kernel(x, out, start, zero, OP: tl.constexpr, DT: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    v = (o + start).to(DT)
    if OP == "add":
        v = v + 100
    elif OP == "mul":
        v = v * 3
    elif OP == "shl":
        v = v << 3
    elif OP == "div":
        v = v // 16
    elif OP == "rem":
        v = v % 16
    if OP == "pointer":
        r = tl.load(x + zero + v)
    else:
        r = tl.load(x + (v.to(tl.int32) + zero))
    tl.store(out + o, r)


def _wrapped(op: str, v: np.ndarray) -> np.ndarray:
    kind = v.dtype
    wide = v.astype(np.int64)
    if op in ("div", "rem"):  # towards zero, as C
        quotient = (np.sign(wide) * (np.abs(wide) // 16)).astype(np.int64)
        return quotient if op == "div" else wide - 16 * quotient
    wide = {"add": wide + 100, "mul": wide * 3, "shl": wide << 3}.get(op, wide)
    return wide.astype(kind).astype(np.int64)


def _narrow(op: str, dtype: str, n: int, start: int) -> Case:
    span = 1 << (8 * _NP[dtype]().itemsize)
    zero = span // 2 if dtype[0] == "i" else 0

    def expect(a):
        v = (np.arange(n) + start).astype(_NP[dtype])
        return {"out": a.x[_wrapped(op, v) + zero]}

    return Case(f"narrow_{op}_{dtype}_{n}", narrow_kernel,
                lambda rng: {"x": buffer(rng.permutation(span), "i32"), "out": poison(n, "i32"),
                             "start": start, "zero": zero},
                expect, constexprs={"OP": op, "DT": _TL[dtype], "N": n})


CASES = [_narrow(op, dtype, n, start)
         for op in ("none", "add", "mul", "shl", "div", "rem", "pointer")
         for dtype, start in (("u8", 249), ("i8", 121))
         for n in (32, 1024)]
CASES += [_narrow(op, dtype, 512, start)
          for op in ("none", "add", "mul", "shl", "pointer")
          for dtype, start in (("u16", 65500), ("i16", 32700))]


@triton.jit
def narrow_constant_kernel(x, out, N: tl.constexpr, ADD: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(out + o, tl.load(x + ((o + ADD).to(tl.uint8).to(tl.int32) + 128)))


CASES += [Case(f"narrow_constant_{n}", narrow_constant_kernel,
               lambda rng, n=n: {"x": buffer(rng.permutation(384), "i32"), "out": poison(n, "i32")},
               lambda a: {"out": a.x[(np.arange(a.N) + a.ADD) % 256 + 128]},
               constexprs={"N": n, "ADD": 256 - n // 2 - 3})
          for n in (16, 64, 512)]


@triton.jit
def truncated_kernel(x, out, start, N: tl.constexpr):
    o = tl.arange(0, N)
    index = (o + start).to(tl.int32)  # from 64 bits; some lanes wrap below zero
    tl.store(out + o, tl.load(x + (index + N)))


def _truncated(n: int, start: int) -> Case:
    def expect(a):
        return {"out": a.x[(np.arange(n) + start).astype(np.int32).astype(np.int64) + n]}

    return Case(f"index_truncated_from_i64_{n}", truncated_kernel,
                lambda rng: {"x": buffer(rng.permutation(2 * n), "i32"), "out": poison(n, "i32"),
                             "start": Scalar(start, "i64")},
                expect, constexprs={"N": n})


CASES += [_truncated(32, 2**32 - 13), _truncated(1024, 2**32 - 501)]


@triton.jit
def narrow_induction_kernel(x, out, steps, N: tl.constexpr):
    o = tl.arange(0, N)
    index = o.to(tl.uint8)
    total = tl.zeros([N], tl.int32)
    for _ in range(steps):
        total += tl.load(x + index.to(tl.int32))
        index += 60
    tl.store(out + o, total)


def _narrow_induction_expect(a):
    indices = (np.arange(a.N)[:, None] + 60 * np.arange(a.steps)[None, :]) % 256
    return {"out": a.x[indices].sum(1)}


CASES += [Case(f"narrow_induction_{n}", narrow_induction_kernel,
               lambda rng, n=n: {"x": buffer(rng.integers(0, 999, 256), "i32"),
                                 "out": poison(n, "i32"), "steps": 9},
               _narrow_induction_expect, constexprs={"N": n})
          for n in (16, 512)]


@triton.jit
def bit_index_kernel(x, out, N: tl.constexpr):
    o = tl.arange(0, N)
    odd = (o & 1) != 0
    third = (o % 3) == 0
    tl.store(out + o, tl.load(x + (odd ^ third).to(tl.int32)))


CASES.append(Case(
    "index_of_one_bit", bit_index_kernel,
    lambda rng: {"x": buffer([5, 7], "i32"), "out": poison(64, "i32")},
    lambda a: {"out": a.x[(np.arange(64) % 2 != 0).astype(int) ^ (np.arange(64) % 3 == 0)]},
    constexprs={"N": 64}))
