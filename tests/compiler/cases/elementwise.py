"""Elementwise arithmetic in every type, with masks at the end."""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case
from scipy_free import erf


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    tl.store(out + offs, tl.load(x + offs, mask) + tl.load(y + offs, mask), mask)


def _add_case(name: str, dtype: str, n: int, block: int, aligned: bool = False) -> Case:
    def args(rng):
        if dtype[0] in "iu":
            low, high = (0, 200) if dtype[0] == "u" else (-60, 60)
            x, y = rng.integers(low, high, (2, n))
        else:
            x, y = rng.standard_normal((2, n))
        return {"x": buffer(x, dtype), "y": buffer(y, dtype), "out": poison(n, dtype), "n": n}

    def expect(a):
        if dtype in ("bf16", "fp16"):
            return {"out": buffer(a.x.astype(np.float32) + a.y.astype(np.float32), dtype).values}
        return {"out": a.x + a.y}

    return Case(name, add_kernel, args, expect, grid=(max(1, -(-n // block)),),
                constexprs={"BLOCK": block}, aligned=aligned)


CASES = [
    _add_case(f"add_{dtype}", dtype, 1000, 256)
    for dtype in ("fp64", "fp32", "fp16", "bf16", "i64", "i32", "i16", "i8", "u8", "u16")
]
CASES += [_add_case(f"add_n{n}_block{block}", "fp32", n, block)
          for n, block in ((1, 1), (1, 16), (15, 16), (17, 16), (16, 16), (3, 4), (31, 2), (5, 8),
                           (4096, 4096), (4097, 4096), (1, 4096), (100000, 1024))]
CASES += [_add_case("add_aligned", "fp32", 1024, 256, aligned=True),
          _add_case("add_aligned_bf16_tail", "bf16", 1016, 128, aligned=True)]


@triton.jit
def unary_kernel(x, out, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n)
    if OP == "exp":
        r = tl.exp(v)
    elif OP == "exp2":
        r = tl.exp2(v)
    elif OP == "log":
        r = tl.log(v)
    elif OP == "log2":
        r = tl.log2(v)
    elif OP == "sin":
        r = tl.sin(v)
    elif OP == "cos":
        r = tl.cos(v)
    elif OP == "sqrt":
        r = tl.sqrt(v)
    elif OP == "sqrt_rn":
        r = tl.sqrt_rn(v)
    elif OP == "rsqrt":
        r = tl.rsqrt(v)
    elif OP == "erf":
        r = tl.erf(v)
    elif OP == "abs":
        r = tl.abs(v)
    elif OP == "floor":
        r = tl.floor(v)
    elif OP == "ceil":
        r = tl.ceil(v)
    elif OP == "neg":
        r = -v
    elif OP == "sigmoid":
        r = tl.sigmoid(v)
    elif OP == "silu":
        r = v * tl.sigmoid(v)
    elif OP == "gelu":
        r = 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))
    tl.store(out + offs, r, offs < n)


_REFERENCES = {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2, "sin": np.sin, "cos": np.cos,
    "sqrt": np.sqrt, "sqrt_rn": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "erf": erf,
    "abs": np.abs, "floor": np.floor, "ceil": np.ceil, "neg": np.negative,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))),
}
_SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 80.0, -80.0, 200.0, -200.0]


def _unary_case(op: str, dtype: str, n: int = 777) -> Case:
    def args(rng):
        x = rng.standard_normal(n) * 10
        x[: len(_SPECIAL)] = _SPECIAL
        return {"x": buffer(x, dtype), "out": poison(n, dtype), "n": n}

    def expect(a):
        r = _REFERENCES[op](a.x.astype(np.float64))
        if op == "silu":
            r[np.isneginf(a.x)] = np.nan  # -inf * 0
        return {"out": buffer(r, dtype).values}

    rtol = {"fp64": 1e-13, "fp32": 1e-6, "fp16": 2e-3, "bf16": 1e-2}[dtype]
    atol = 1e-6 if op in ("gelu", "log", "log2", "silu", "sin", "cos") else 1e-37
    return Case(f"{op}_{dtype}", unary_kernel, args, expect, grid=(-(-n // 128),),
                constexprs={"OP": op, "BLOCK": 128}, rtol=rtol, atol=atol)


CASES += [_unary_case(op, "fp32") for op in _REFERENCES]
CASES += [_unary_case(op, "fp64") for op in ("exp", "log", "sin", "sqrt", "abs", "floor")]


@triton.jit
def unary_small_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n).to(tl.float32)
    tl.store(out + offs, tl.exp(v), offs < n)


def _exp_small(dtype: str) -> Case:
    def args(rng):
        return {"x": buffer(rng.standard_normal(333), dtype), "out": poison(333, dtype), "n": 333}

    return Case(f"exp_through_f32_{dtype}", unary_small_kernel, args,
                lambda a: {"out": buffer(np.exp(a.x.astype(np.float64)), dtype).values},
                grid=(3,), constexprs={"BLOCK": 128}, rtol=1e-2)


CASES += [_exp_small("fp16"), _exp_small("bf16")]


@triton.jit
def binary_kernel(x, y, out, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    a = tl.load(x + offs, mask)
    b = tl.load(y + offs, mask)
    if OP == "sub":
        r = a - b
    elif OP == "mul":
        r = a * b
    elif OP == "div":
        r = a / b
    elif OP == "floordiv":
        r = a // b
    elif OP == "mod":
        r = a % b
    elif OP == "and":
        r = a & b
    elif OP == "or":
        r = a | b
    elif OP == "xor":
        r = a ^ b
    elif OP == "shl":
        r = a << b
    elif OP == "shr":
        r = a >> b
    elif OP == "max":
        r = tl.maximum(a, b)
    elif OP == "min":
        r = tl.minimum(a, b)
    elif OP == "max_nan":
        r = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    elif OP == "min_nan":
        r = tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
    elif OP == "lt":
        r = (a < b).to(tl.int32)
    elif OP == "eq":
        r = (a == b).to(tl.int32)
    elif OP == "ne":
        r = (a != b).to(tl.int32)
    elif OP == "umulhi":
        r = tl.umulhi(a, b)
    elif OP == "div_rn":
        r = tl.div_rn(a, b)
    elif OP == "fdiv":
        r = tl.fdiv(a, b)
    tl.store(out + offs, r, mask)


def _trunc_div(a, b):
    a, b = a.astype(np.int64), b.astype(np.int64)
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


_INT_REFERENCES = {
    "sub": np.subtract, "mul": np.multiply, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "max": np.maximum, "min": np.minimum, "floordiv": _trunc_div,
    "mod": lambda a, b: a.astype(np.int64) - _trunc_div(a, b) * b.astype(np.int64),
    "shl": lambda a, b: a << b, "shr": lambda a, b: a >> b,
    "lt": lambda a, b: a < b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}


def _int_case(op: str, dtype: str) -> Case:
    n, out = 500, "i32" if op in ("lt", "eq", "ne") else dtype
    kind = np.dtype({"i": "int", "u": "uint"}[dtype[0]] + dtype[1:])
    bits = kind.itemsize * 8

    def args(rng):
        limits = np.iinfo(kind)
        x = rng.integers(limits.min, limits.max, n, dtype=kind, endpoint=True)
        y = rng.integers(limits.min, limits.max, n, dtype=kind, endpoint=True)
        y[:100] = x[:100]
        if op in ("shl", "shr"):
            y = rng.integers(0, bits, n).astype(kind)
        if op in ("floordiv", "mod"):
            y[rng.random(n) < 0.5] //= kind.type(64)
            y[y == 0] = 3
            x[y == -1 if kind.kind == "i" else y == 0] = 7  # minimum / -1 overflows
        return {"x": buffer(x, dtype), "y": buffer(y, dtype), "out": poison(n, out), "n": n}

    def expect(a):
        if kind.kind == "u" and op in ("floordiv", "mod"):
            r = a.x // a.y if op == "floordiv" else a.x % a.y
        else:
            r = _INT_REFERENCES[op](a.x, a.y)
        return {"out": np.asarray(r).astype(np.int32 if out == "i32" else kind)}

    return Case(f"int_{op}_{dtype}", binary_kernel, args, expect, grid=(4,),
                constexprs={"OP": op, "BLOCK": 128})


CASES += [_int_case(op, "i32") for op in _INT_REFERENCES]
CASES += [_int_case(op, dtype) for op in ("mul", "floordiv", "mod", "shr", "max", "lt")
          for dtype in ("i64", "i8", "u8", "u32")]
CASES += [_int_case("shl", "i16"), _int_case("shr", "u16"), _int_case("sub", "u64")]


@triton.jit
def divide_by_zero_kernel(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a = tl.load(x + offs, offs < n, other=1)
    b = tl.load(y + offs, offs < n, other=0)  # masked-off lanes divide by zero
    tl.store(out + offs, a // b + a % b, offs < n)


CASES.append(Case(
    "int_division_by_zero_in_masked_lanes", divide_by_zero_kernel,
    lambda rng: {"x": buffer(rng.integers(-99, 99, 50), "i32"),
                 "y": buffer(rng.integers(1, 9, 50), "i32"), "out": poison(50, "i32"), "n": 50},
    lambda a: {"out": (_trunc_div(a.x, a.y) + a.x - _trunc_div(a.x, a.y) * a.y).astype(np.int32)},
    constexprs={"BLOCK": 64}))


def _nan_min(a, b):
    return np.where(np.isnan(a) | np.isnan(b), np.nan, np.minimum(a, b))


_FLOAT_REFERENCES = {
    "sub": np.subtract, "mul": np.multiply, "div": np.divide, "div_rn": np.divide,
    "fdiv": np.divide, "max": np.fmax, "min": np.fmin, "max_nan": np.maximum,
    "min_nan": _nan_min, "mod": np.fmod,
}


def _float_case(op: str, dtype: str = "fp32") -> Case:
    n = 400

    def args(rng):
        x, y = rng.standard_normal((2, n)) * 5
        special = [0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
        grid = [(p, q) for p in special for q in special]
        x[:36], y[:36] = np.array(grid).T
        return {"x": buffer(x, dtype), "y": buffer(y, dtype), "out": poison(n, dtype), "n": n}

    def expect(a):
        r = _FLOAT_REFERENCES[op](a.x, a.y)
        return {"out": buffer(r, dtype).values}

    return Case(f"float_{op}_{dtype}", binary_kernel, args, expect, grid=(4,),
                constexprs={"OP": op, "BLOCK": 128}, rtol=1e-6 if op in ("div", "fdiv") else 0)


CASES += [_float_case(op) for op in _FLOAT_REFERENCES]
CASES += [_float_case("mul", "fp64"), _float_case("mul", "fp16"), _float_case("max", "bf16")]


@triton.jit
def umulhi_kernel(x, y, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.umulhi(tl.load(x + offs), tl.load(y + offs)))


def _umulhi(dtype: str) -> Case:
    kind = np.uint32 if dtype == "u32" else np.uint64
    bits = 32 if dtype == "u32" else 64

    def args(rng):
        x, y = rng.integers(0, np.iinfo(kind).max, (2, 64), dtype=kind, endpoint=True)
        return {"x": buffer(x, dtype), "y": buffer(y, dtype), "out": poison(64, dtype)}

    def expect(a):
        high = [(int(p) * int(q)) >> bits for p, q in zip(a.x, a.y)]
        return {"out": np.array(high, kind)}

    return Case(f"umulhi_{dtype}", umulhi_kernel, args, expect, constexprs={"BLOCK": 64})


CASES += [_umulhi("u32"), _umulhi("u64")]


@triton.jit
def select_kernel(x, out, n, low, high, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n, other=0.0)
    r = tl.where(v > 0, v, 0.01 * v)
    r = tl.where((v > -1) & ~(v > 1) | (offs % 3 == 0), r, tl.clamp(r, low, high))
    tl.store(out + offs, tl.fma(r, r, v), offs < n)


def _select_reference(a):
    v = a.x
    r = np.where(v > 0, v, np.float32(0.01) * v)
    keep = ((v > -1) & ~(v > 1)) | (np.arange(v.size) % 3 == 0)
    r = np.where(keep, r, np.clip(r, np.float32(a.low), np.float32(a.high)))
    return {"out": (r.astype(np.float64) * r + v).astype(np.float32)}


CASES.append(Case(
    "select_clamp_fma", select_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(300) * 4, "fp32"), "out": poison(300, "fp32"),
                 "n": 300, "low": -0.02, "high": 2.5},
    _select_reference, grid=(3,), constexprs={"BLOCK": 128}, rtol=1e-6))


@triton.jit
def clamp_nan_kernel(x, out, BLOCK: tl.constexpr, ALL: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs)
    if ALL:
        r = tl.clamp(v, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
    else:
        r = tl.clamp(v, -1.0, 1.0)
    tl.store(out + offs, r)


CASES.append(Case(
    "clamp_keeps_nan", clamp_nan_kernel,
    lambda rng: {"x": buffer(np.where(np.arange(32) % 5 == 0, np.nan, np.linspace(-3, 3, 32)), "fp32"),
                 "out": poison(32, "fp32")},
    lambda a: {"out": np.clip(a.x, -1, 1)}, constexprs={"BLOCK": 32, "ALL": True}))
CASES.append(Case(
    "clamp_drops_nan", clamp_nan_kernel,
    lambda rng: {"x": buffer(np.where(np.arange(32) % 5 == 0, np.nan, np.linspace(-3, 3, 32)), "fp32"),
                 "out": poison(32, "fp32")},
    lambda a: {"out": np.where(np.isnan(a.x), np.float32(-1), np.clip(a.x, -1, 1))},
    constexprs={"BLOCK": 32, "ALL": False}))


@triton.jit
def scalar_args_kernel(out, i8v, i16v, i32v, i64v, u32v, f32v, f64v, b):
    tl.store(out + 0, i8v.to(tl.float64))
    tl.store(out + 1, i16v.to(tl.float64))
    tl.store(out + 2, i32v.to(tl.float64))
    tl.store(out + 3, i64v.to(tl.float64))
    tl.store(out + 4, u32v.to(tl.float64))
    tl.store(out + 5, f32v.to(tl.float64))
    tl.store(out + 6, f64v)
    if b:
        tl.store(out + 7, 1.0)
    else:
        tl.store(out + 7, 2.0)


def _scalar_args(rng):
    from buffers import Scalar

    return {"out": poison(8, "fp64"), "i8v": Scalar(-5, "i8"), "i16v": Scalar(-300, "i16"),
            "i32v": -70000, "i64v": Scalar(-(2**40), "i64"), "u32v": Scalar(2**32 - 2, "u32"),
            "f32v": Scalar(1.5, "fp32"), "f64v": Scalar(-2.25, "fp64"), "b": Scalar(1, "i1")}


CASES.append(Case("scalar_arguments", scalar_args_kernel, _scalar_args,
                  lambda a: {"out": np.array([-5, -300, -70000, -(2.0**40), 2.0**32 - 2, 1.5, -2.25, 1])}))
