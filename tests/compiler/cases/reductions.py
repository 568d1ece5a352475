"""Reductions and scans: kinds, axes, types, combiners, ties, NaN and infinities."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def _product(a, b):
    return a * b


@triton.jit
def _abs_max(a, b):
    return tl.maximum(tl.abs(a), tl.abs(b))


@triton.jit
def reduce_1d_kernel(x, out, n, BLOCK: tl.constexpr, OP: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    if OP == "sum":
        r = tl.sum(tl.load(x + offs, offs < n, other=0), 0)
    elif OP == "max":
        r = tl.max(tl.load(x + offs, offs < n, other=float("-inf")), 0)
    elif OP == "min":
        r = tl.min(tl.load(x + offs, offs < n, other=float("inf")), 0)
    elif OP == "prod":
        r = tl.reduce(tl.load(x + offs, offs < n, other=1), 0, _product)
    elif OP == "absmax":
        r = tl.reduce(tl.load(x + offs, offs < n, other=0), 0, _abs_max)
    elif OP == "xor":
        r = tl.xor_sum(tl.load(x + offs, offs < n, other=0), 0)
    tl.store(out, r)


_REDUCERS = {"sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod,
             "absmax": lambda x: np.max(np.abs(x)), "xor": np.bitwise_xor.reduce}


def _reduce_1d(op: str, dtype: str, n: int, block: int) -> Case:
    def args(rng):
        x = rng.integers(-50, 50, n) if dtype[0] == "i" else rng.standard_normal(n)
        if op == "prod":
            x = 1 + 0.01 * rng.standard_normal(n)
        return {"x": buffer(x, dtype), "out": poison(1, dtype), "n": n}

    def expect(a):
        wide = a.x.astype(np.int64 if dtype[0] == "i" else np.float64)
        return {"out": np.array([_REDUCERS[op](wide)]).astype(a.out.dtype)}

    tolerance = {"fp32": 1e-5, "fp64": 1e-12}.get(dtype, 0) if op in ("sum", "prod") else 0
    return Case(f"{op}_{dtype}_{n}_of_{block}", reduce_1d_kernel, args, expect,
                constexprs={"BLOCK": block, "OP": op}, rtol=tolerance, atol=tolerance)


CASES = [_reduce_1d(op, "fp32", n, block) for op in ("sum", "max", "min")
         for n, block in ((1000, 1024), (1, 1), (3, 4), (16, 16), (4095, 4096))]
CASES += [_reduce_1d("prod", "fp32", 100, 128), _reduce_1d("absmax", "fp32", 99, 128),
          _reduce_1d("sum", "fp64", 700, 1024), _reduce_1d("sum", "i32", 700, 1024),
          _reduce_1d("sum", "i64", 50, 64), _reduce_1d("xor", "i32", 300, 512),
          _reduce_1d("sum", "fp32", 49152, 65536)]


@triton.jit
def reduce_2d_kernel(x, out, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, OP: tl.constexpr):
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    if OP == "sum":
        r = tl.sum(v, AXIS)
    elif OP == "max":
        r = tl.max(v, AXIS)
    elif OP == "argmax":
        r = tl.argmax(v, AXIS)
    elif OP == "argmin":
        r = tl.argmin(v, AXIS)
    if AXIS == 0:
        tl.store(out + tl.arange(0, N), r)
    else:
        tl.store(out + tl.arange(0, M), r)


def _reduce_2d(op: str, m: int, n: int, axis: int, dtype: str = "fp32") -> Case:
    out = "i32" if op.startswith("arg") else dtype
    functions = {"sum": np.sum, "max": np.max, "argmax": np.argmax, "argmin": np.argmin}
    return Case(f"{op}_{m}x{n}_axis{axis}_{dtype}", reduce_2d_kernel,
                lambda rng: {"x": buffer(rng.integers(-20, 20, (m, n)), dtype),
                             "out": poison(n if axis == 0 else m, out)},
                lambda a: {"out": functions[op](a.x, axis).astype(np.int32 if out == "i32" else a.x.dtype)},
                constexprs={"M": m, "N": n, "AXIS": axis, "OP": op})


CASES += [_reduce_2d(op, m, n, axis) for op in ("sum", "max", "argmax", "argmin")
          for m, n, axis in ((16, 32, 1), (16, 32, 0), (1, 64, 1), (64, 1, 1), (8, 4, 0))]
CASES += [_reduce_2d("sum", 128, 128, 1), _reduce_2d("sum", 128, 128, 0),
          _reduce_2d("max", 4, 1024, 1, "i32"), _reduce_2d("argmax", 2, 4096, 1, "i32")]


@triton.jit
def reduce_3d_kernel(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr):
    n: tl.constexpr = A * B * C
    v = tl.reshape(tl.load(x + tl.arange(0, n)), (A, B, C))
    r = tl.sum(v, AXIS)
    tl.store(out + tl.arange(0, n // v.shape[AXIS]), tl.ravel(r))


CASES += [Case(f"sum_3d_axis{axis}", reduce_3d_kernel,
               lambda rng, axis=axis: {"x": buffer(rng.integers(-9, 9, (4, 8, 16)), "fp32"),
                                       "out": poison(512 // (4, 8, 16)[axis], "fp32")},
               lambda a, axis=axis: {"out": a.x.sum(axis).ravel()},
               constexprs={"A": 4, "B": 8, "C": 16, "AXIS": axis}) for axis in (0, 1, 2)]


@triton.jit
def nan_kernel(x, out, BLOCK: tl.constexpr):
    v = tl.load(x + tl.arange(0, BLOCK))
    tl.store(out + 0, tl.max(v, 0))
    tl.store(out + 1, tl.min(v, 0))
    tl.store(out + 2, tl.sum(v, 0))


def _special_reduce(name: str, values: np.ndarray, expected: list[float]) -> Case:
    return Case(f"reduce_{name}", nan_kernel,
                lambda rng: {"x": buffer(values, "fp32"), "out": poison(3, "fp32")},
                lambda a: {"out": np.array(expected, np.float32)}, constexprs={"BLOCK": values.size})


_with_nan = np.linspace(-1, 1, 64)
_with_nan[37] = np.nan
_negative = np.full(64, -np.inf)
CASES += [_special_reduce("nan_is_skipped_by_max", _with_nan, [1.0, -1.0, np.nan]),
          _special_reduce("all_minus_inf", _negative, [-np.inf, -np.inf, -np.inf]),
          _special_reduce("inf_minus_inf", np.array([np.inf, -np.inf] * 8), [np.inf, -np.inf, np.nan])]


@triton.jit
def argmax_ties_kernel(x, out, BLOCK: tl.constexpr, LEFT: tl.constexpr):
    v = tl.load(x + tl.arange(0, BLOCK))
    tl.store(out + 0, tl.argmax(v, 0, tie_break_left=LEFT))
    tl.store(out + 1, tl.argmin(v, 0, tie_break_left=LEFT))
    best, where = tl.max(v, 0, return_indices=True)
    tl.store(out + 2, where)


CASES.append(Case(
    "argmax_first_of_ties", argmax_ties_kernel,
    lambda rng: {"x": buffer(rng.integers(0, 3, 256), "fp32"), "out": poison(3, "i32")},
    lambda a: {"out": np.array([a.x.argmax(), a.x.argmin(), a.x.argmax()], np.int32)},
    constexprs={"BLOCK": 256, "LEFT": True}))


@triton.jit
def _welford(mean_a, m2_a, count_a, mean_b, m2_b, count_b):
    count = count_a + count_b
    delta = mean_b - mean_a
    share = tl.where(count == 0.0, 0.0, count_b / count)
    return mean_a + delta * share, m2_a + m2_b + delta * delta * count_a * share, count


@triton.jit
def welford_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n, other=0.0)
    ones = tl.where(offs < n, 1.0, 0.0)
    mean, m2, count = tl.reduce((v, tl.zeros_like(v), ones), 0, _welford)
    tl.store(out, mean)
    tl.store(out + 1, m2 / count)
    tl.store(out + 2, count)


CASES.append(Case(
    "reduce_welford_three_operands", welford_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(200) + 5, "fp32"), "out": poison(3, "fp32"), "n": 200},
    lambda a: {"out": np.array([a.x.mean(dtype=np.float64), a.x.var(dtype=np.float64), 200])},
    constexprs={"BLOCK": 256}, rtol=1e-5))


@triton.jit
def reduce_small_types_kernel(x, out, BLOCK: tl.constexpr):
    v = tl.load(x + tl.arange(0, BLOCK))
    tl.store(out, tl.max(v, 0))


CASES += [Case(f"max_{dtype}", reduce_small_types_kernel,
               lambda rng, dtype=dtype: {"x": buffer(rng.integers(0, 100, 64), dtype),
                                         "out": poison(1, dtype)},
               lambda a: {"out": np.array([a.x.max()])}, constexprs={"BLOCK": 64})
          for dtype in ("fp16", "bf16", "i8", "u8", "i16", "i64", "fp64")]


@triton.jit
def sum_i1_kernel(x, out, BLOCK: tl.constexpr):
    v = tl.load(x + tl.arange(0, BLOCK)) > 0
    tl.store(out, tl.sum(v.to(tl.int32), 0))
    tl.store(out + 1, tl.max(v.to(tl.int32), 0))


CASES.append(Case(
    "count_booleans", sum_i1_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(512), "fp32"), "out": poison(2, "i32")},
    lambda a: {"out": np.array([(a.x > 0).sum(), 1], np.int32)}, constexprs={"BLOCK": 512}))


# --- scans ------------------------------------------------------------------------------------------
@triton.jit
def _keep_last(a, b):
    return tl.where(b != 0, b, a)


@triton.jit
def _linear(a0, b0, a1, b1):
    return a0 * a1, b0 * a1 + b1


@triton.jit
def scan_kernel(x, out, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr,
                OP: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    v = tl.load(x + at)
    if OP == "sum":
        r = tl.cumsum(v, AXIS, reverse=REVERSE)
    elif OP == "prod":
        r = tl.cumprod(v, AXIS, reverse=REVERSE)
    elif OP == "last":
        r = tl.associative_scan(v, AXIS, _keep_last, reverse=REVERSE)
    tl.store(out + at, r)


def _scan_reference(op: str, x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    y = np.flip(x, axis) if reverse else x
    if op == "sum":
        y = np.cumsum(y, axis, dtype=x.dtype)
    elif op == "prod":
        y = np.cumprod(y, axis, dtype=x.dtype)
    else:
        y = np.moveaxis(y.copy(), axis, 0)
        for step in range(1, y.shape[0]):
            y[step] = np.where(y[step] != 0, y[step], y[step - 1])
        y = np.moveaxis(y, 0, axis)
    return np.flip(y, axis) if reverse else y


def _scan(op: str, m: int, n: int, axis: int, reverse: bool, dtype: str = "i32") -> Case:
    low, high = (-1, 2) if op == "prod" else (0, 2) if op == "last" else (-9, 9)

    def args(rng):
        x = rng.integers(low, high, (m, n)) * (np.arange(m * n).reshape(m, n) % 5 + 1 if op == "last" else 1)
        return {"x": buffer(x, dtype), "out": poison((m, n), dtype)}

    return Case(f"scan_{op}_{m}x{n}_axis{axis}{'_reverse' if reverse else ''}_{dtype}", scan_kernel, args,
                lambda a: {"out": _scan_reference(op, a.x, axis, reverse)},
                constexprs={"M": m, "N": n, "AXIS": axis, "REVERSE": reverse, "OP": op})


CASES += [_scan(op, m, n, axis, reverse) for op in ("sum", "last")
          for m, n, axis in ((1, 64, 1), (8, 16, 1), (8, 16, 0)) for reverse in (False, True)]
CASES += [_scan("sum", 4, 256, 1, False, "fp32"), _scan("prod", 2, 32, 1, False, "fp32"),
          _scan("sum", 1, 4096, 1, False), _scan("sum", 64, 1, 1, False), _scan("sum", 1, 1, 0, True)]


@triton.jit
def linear_recurrence_kernel(a, b, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    _, r = tl.associative_scan((tl.load(a + offs), tl.load(b + offs)), 0, _linear)
    tl.store(out + offs, r)


def _recurrence(args):
    r, state = [], 0.0
    for a, b in zip(args.a.astype(np.float64), args.b.astype(np.float64)):
        state = state * a + b
        r.append(state)
    return {"out": np.array(r)}


CASES.append(Case(
    "scan_linear_recurrence_two_operands", linear_recurrence_kernel,
    lambda rng: {"a": buffer(rng.random(128), "fp32"), "b": buffer(rng.standard_normal(128), "fp32"),
                 "out": poison(128, "fp32")},
    _recurrence, constexprs={"N": 128}, rtol=1e-4, atol=1e-5))


@triton.jit
def softmax_kernel(x, out, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + offs, offs < n, other=-float("inf"))
    v = tl.exp(v - tl.max(v, 0))
    tl.store(out + row * stride + offs, v / tl.sum(v, 0), offs < n)


def _softmax_reference(x):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


CASES += [Case(f"softmax_rows_{rows}x{cols}", softmax_kernel,
               lambda rng, rows=rows, cols=cols: {"x": buffer(rng.standard_normal((rows, cols)) * 8, "fp32"),
                                                  "out": poison((rows, cols), "fp32"),
                                                  "stride": cols, "n": cols},
               lambda a: {"out": _softmax_reference(a.x)}, grid=(rows,),
               constexprs={"BLOCK": block}, rtol=1e-5, atol=1e-9)
          for rows, cols, block in ((5, 781, 1024), (3, 16, 16), (2, 1, 1), (1, 4000, 4096), (4, 33, 64))]


@triton.jit
def argmax_vocab_kernel(x, out, n, BLOCK: tl.constexpr):
    best = float("-inf")
    where = 0
    for start in range(0, n, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        v = tl.load(x + offs, offs < n, other=float("-inf"))
        m = tl.max(v, 0)
        i = tl.argmax(v, 0) + start
        where = tl.where(m > best, i, where)
        best = tl.maximum(m, best)
    tl.store(out, where)


CASES.append(Case(
    "argmax_over_vocabulary", argmax_vocab_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(49152), "fp32"), "out": poison(1, "i32"), "n": 49152},
    lambda a: {"out": np.array([a.x.argmax()], np.int32)}, constexprs={"BLOCK": 4096}))
