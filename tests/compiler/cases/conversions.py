"""Casts between all types; fp8; rounding modes; saturation; booleans."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import FP8_TABLES, Buffer, buffer, decode, poison
from case import Case

_TL = {"fp64": tl.float64, "fp32": tl.float32, "fp16": tl.float16, "bf16": tl.bfloat16,
       "fp8e4nv": tl.float8e4nv, "fp8e5": tl.float8e5, "i64": tl.int64, "i32": tl.int32,
       "i16": tl.int16, "i8": tl.int8, "u8": tl.uint8, "u16": tl.uint16, "u32": tl.uint32,
       "u64": tl.uint64}


@triton.jit
def cast_kernel(x, out, n, TO: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, offs < n).to(TO), offs < n)


def _values(dtype: str, rng: np.random.Generator) -> np.ndarray:
    if dtype[0] in "iu":
        kind = np.dtype({"i": "int", "u": "uint"}[dtype[0]] + dtype[1:])
        limits = np.iinfo(kind)
        v = rng.integers(limits.min, limits.max, 100, dtype=kind, endpoint=True)
        v[:4] = [0, 1, limits.max, limits.min]
        return v
    v = rng.standard_normal(100) * 10.0 ** rng.integers(-3, 3, 100)
    v[:8] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-7, -70000.0, 447.9]
    return v


def _cast(source: str, target: str) -> Case:
    def args(rng):
        v = _values(source, rng)
        if source[0] not in "iu" and target[0] in "iu":
            limit = 127 if target == "i8" else 255 if target == "u8" else 30000
            low = 0 if target[0] == "u" else -limit
            v = np.clip(np.nan_to_num(v, posinf=limit, neginf=low), low, limit)  # others: unspecified
        return {"x": buffer(v, source), "out": poison(100, target), "n": 100}

    def expect(a):
        v = a.x
        if source[0] in "iu" and target[0] not in "iu" and target != "fp64":
            v = v.astype(np.float64)
        if target[0] in "iu":
            return {"out": np.trunc(v).astype(np.int64).astype(poison(1, target).raw.dtype)
                    if source[0] not in "iu" else v.astype(poison(1, target).raw.dtype)}
        return {"out": buffer(v, target).values}

    return Case(f"cast_{source}_to_{target}", cast_kernel, args, expect,
                constexprs={"TO": _TL[target], "BLOCK": 128})


_FLOATS = ("fp64", "fp32", "fp16", "bf16")
CASES = [_cast(s, t) for s in _FLOATS for t in _FLOATS if s != t]
CASES += [_cast(s, t) for s in ("i64", "i32", "i16", "i8", "u8", "u32") for t in ("fp32", "fp64")]
CASES += [_cast("i32", "fp16"), _cast("i8", "bf16"), _cast("u64", "fp32")]
CASES += [_cast(s, t) for s in ("fp32", "fp64") for t in ("i64", "i32", "i8", "u8", "i16")]
CASES += [_cast("fp16", "i32"), _cast("bf16", "i32")]
CASES += [_cast(s, t) for s, t in (("i32", "i64"), ("u32", "i64"), ("i64", "i8"), ("i8", "i64"),
                                   ("u8", "i32"), ("i32", "u16"), ("i16", "u64"))]
CASES += [_cast("fp32", t) for t in ("fp8e4nv", "fp8e5")]
CASES += [_cast(s, t) for s in ("fp16", "bf16") for t in ("fp8e4nv", "fp8e5")]


def _all_codes(dtype: str, target: str) -> Case:
    def args(rng):
        return {"x": Buffer(np.arange(256, dtype=np.uint8), dtype), "out": poison(256, target), "n": 256}

    def expect(a):
        return {"out": buffer(FP8_TABLES[dtype], target).values}

    return Case(f"all_codes_{dtype}_to_{target}", cast_kernel, args, expect,
                constexprs={"TO": _TL[target], "BLOCK": 256})


CASES += [_all_codes(d, t) for d in FP8_TABLES for t in ("fp32", "fp16", "bf16")]


@triton.jit
def round_to_zero_kernel(x, out, n, TO: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n)
    tl.store(out + offs, v.to(TO, fp_downcast_rounding="rtz"), offs < n)


def _rtz(target: str) -> Case:
    def args(rng):
        return {"x": buffer(rng.standard_normal(100) * 100, "fp32"), "out": poison(100, target), "n": 100}

    def expect(a):
        nearest = buffer(a.x, target)
        bits = nearest.raw.view(np.uint16) - (np.abs(nearest.values.astype(np.float64)) > np.abs(a.x))
        return {"out": decode(bits.astype(np.uint16).view(nearest.raw.dtype), target)}

    return Case(f"cast_fp32_to_{target}_toward_zero", round_to_zero_kernel, args, expect,
                constexprs={"TO": _TL[target], "BLOCK": 128})


CASES += [_rtz("fp16"), _rtz("bf16")]


@triton.jit
def bool_cast_kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    b = tl.load(x + offs).to(tl.int1)
    tl.store(out + offs, b.to(tl.float32) + (~b).to(tl.int32) * 2 + (b ^ (offs > 5)).to(tl.int8))


CASES.append(Case(
    "booleans_as_numbers", bool_cast_kernel,
    lambda rng: {"x": buffer(rng.integers(-1, 2, 16), "i32"), "out": poison(16, "fp32")},
    lambda a: {"out": (a.x != 0) + 2.0 * (a.x == 0) + ((a.x != 0) ^ (np.arange(16) > 5))},
    constexprs={"BLOCK": 16}))


@triton.jit
def bf16_arithmetic_kernel(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a, b = tl.load(x + offs, offs < n), tl.load(y + offs, offs < n)
    tl.store(out + offs, a * b + a, offs < n)


def _half_arithmetic(dtype: str) -> Case:
    def expect(a):
        product = buffer(a.x.astype(np.float64) * a.y, dtype).values.astype(np.float64)
        return {"out": buffer(product + a.x, dtype).values}

    return Case(f"arithmetic_rounds_each_step_{dtype}", bf16_arithmetic_kernel,
                lambda rng: {"x": buffer(rng.standard_normal(99), dtype),
                             "y": buffer(rng.standard_normal(99), dtype), "out": poison(99, dtype), "n": 99},
                expect, constexprs={"BLOCK": 128}, rtol=2e-2 if dtype == "bf16" else 2e-3, atol=1e-2)


CASES += [_half_arithmetic("bf16"), _half_arithmetic("fp16")]


@triton.jit
def pointer_int_kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    address = x.to(tl.int64)
    p = (address + offs * 4).to(tl.pointer_type(tl.float32))
    tl.store(out + offs, tl.load(p))


CASES.append(Case(
    "pointers_from_integers", pointer_int_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(32), "fp32"), "out": poison(32, "fp32")},
    lambda a: {"out": a.x}, constexprs={"BLOCK": 32}))

