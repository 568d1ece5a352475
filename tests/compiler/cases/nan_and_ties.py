"""NaN in maxima and minima, and which of several equal elements argmax and argmin find."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


def _values(rng: np.random.Generator, shape: tuple[int, ...], nans: bool) -> np.ndarray:
    values = rng.integers(-3, 4, shape).astype(np.float32)
    if nans:
        values[rng.random(shape) < 0.3] = np.nan
    return values


@triton.jit
def extreme_kernel(x, out, MAX: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    a = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    tl.store(out + tl.arange(0, M), tl.max(a, 1) if MAX else tl.min(a, 1))


CASES = [Case(f"reduce_{'max' if is_max else 'min'}_ignores_nan_{n}", extreme_kernel,
              lambda rng, n=n: {"x": buffer(_values(rng, (8, n), True), "fp32"),
                                "out": poison(8, "fp32")},
              lambda a: {"out": (np.nanmax if a.MAX else np.nanmin)(a.x, 1)},
              constexprs={"MAX": is_max, "M": 8, "N": n})
         for n in (16, 128, 1024) for is_max in (True, False)]


@triton.jit
def position_kernel(x, out, MAX: tl.constexpr, LEFT: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    rows = tl.arange(0, M)
    a = tl.load(x + rows[:, None] * N + tl.arange(0, N)[None, :])
    at = tl.argmax(a, 1, tie_break_left=LEFT) if MAX else tl.argmin(a, 1, tie_break_left=LEFT)
    # Without tie_break_left any of the equal elements may be found.
    tl.store(out + rows, at if LEFT else tl.load(x + rows * N + at).to(tl.int32))


def _position_expect(a):
    if a.LEFT:
        return {"out": (np.argmax if a.MAX else np.argmin)(a.x, 1)}
    return {"out": (np.max if a.MAX else np.min)(a.x, 1)}


CASES += [Case(f"arg{'max' if is_max else 'min'}_ties_{'left' if left else 'any'}_{n}",
               position_kernel,
               lambda rng, n=n: {"x": buffer(_values(rng, (8, n), False), "fp32"),
                                 "out": poison(8, "i32")},
               _position_expect, constexprs={"MAX": is_max, "LEFT": left, "M": 8, "N": n})
          for n in (16, 1024) for is_max in (True, False) for left in (True, False)]


@triton.jit
def larger_kernel(x, y, out, MAX: tl.constexpr, ALL: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    a, b = tl.load(x + o), tl.load(y + o)
    nan: tl.constexpr = tl.PropagateNan.ALL if ALL else tl.PropagateNan.NONE
    tl.store(out + o, tl.maximum(a, b, nan) if MAX else tl.minimum(a, b, nan))


def _larger_expect(a):
    name = ("maximum" if a.MAX else "minimum") if a.ALL else ("fmax" if a.MAX else "fmin")
    return {"out": getattr(np, name)(a.x, a.y)}


CASES += [Case(f"{'maximum' if is_max else 'minimum'}_nan_{'all' if propagate else 'none'}_{dtype}",
               larger_kernel,
               lambda rng, dtype=dtype: {"x": buffer(_values(rng, (256,), True), dtype),
                                         "y": buffer(_values(rng, (256,), True), dtype),
                                         "out": poison(256, dtype)},
               _larger_expect, constexprs={"MAX": is_max, "ALL": propagate, "N": 256})
          for dtype in ("fp32", "bf16", "fp16") for is_max in (True, False)
          for propagate in (True, False)]
