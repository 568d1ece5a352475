"""Products of the 16-bit halves of words and their sums, which compilers may make with one instruction, and shifts by
amounts of any size."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer
from case import Case

CASES: list[Case] = []


@triton.jit
def _low(word):
    return (word << 16) >> 16


@triton.jit
def pairs_kernel(a, b, words, parts, out, M: tl.constexpr, N: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
                 SCALED: tl.constexpr, ROUND: tl.constexpr, DOWN: tl.constexpr):
    """HIGH: how far down the upper halves of a and b are; WIDE: whether words differ from row to row."""
    m, n = tl.arange(0, M), tl.arange(0, N)
    at = m[:, None] * N + n[None, :]
    low, high = tl.load(a + at), tl.load(b + at) >> HIGH
    w = tl.load(words + at) if WIDE else tl.load(words + n)[None, :]
    if SCALED:
        p = tl.load(parts + m)[:, None]
        low = (_low(low) * _low(p) + ROUND) >> DOWN
        high = (_low(high) * (p >> 16) + ROUND) >> DOWN
    tl.store(out + at, tl.load(out + at) + (_low(low) * _low(w) + _low(high) * (w >> 16)))


def _pairs(m, n, high=16, wide=0, scaled=0, rounding=16384, down=15, fill=None):
    def make(rng):
        shapes = {"a": (m, n), "b": (m, n), "words": (m if wide else 1, n), "parts": (m,)}
        values = {name: rng.integers(-(2**31), 2**31, shape) for name, shape in shapes.items()}
        if fill:
            values = {name: np.full(shape, fill) for name, shape in shapes.items()}
        made = {name: buffer(value.astype(np.int32), "i32") for name, value in values.items()}
        return made | {"out": buffer(rng.integers(-99, 99, (m, n)), "i32")}

    def half(word, upper):
        word = word.astype(np.int64)
        return ((word >> 16 if upper else word) + 32768) % 65536 - 32768

    def expect(v):
        low, high = half(v.a, False), half(v.b.astype(np.int64) >> high_shift, False)
        if scaled:
            low = half((low * half(v.parts, False)[:, None] + rounding) >> down, False)
            high_part = half((high * half(v.parts, True)[:, None] + rounding) >> down, False)
        else:
            high_part = high
        return {"out": (v.out + low * half(v.words, False) + high_part * half(v.words, True)).astype(np.int32)}

    high_shift = high
    name = f"pairs_{m}x{n}_{high}_{wide}_{scaled}_{rounding}_{down}" + (f"_{fill}" if fill else "")
    return Case(
        name, pairs_kernel, make, expect,
        constexprs={"M": m, "N": n, "HIGH": high, "WIDE": wide, "SCALED": scaled, "ROUND": rounding, "DOWN": down})


CASES += [_pairs(m, n, wide=w, scaled=s) for m, n in ((1, 1), (1, 2), (2, 4), (1, 8), (4, 32), (2, 64)) for w in (0, 1) for s in (0, 1)]
CASES += [_pairs(4, 32, high=h) for h in (0, 8, 31)]
CASES += [_pairs(4, 32, scaled=1, rounding=r, down=d) for r, d in ((16384, 14), (8192, 15), (0, 15))]  # another rounding
CASES += [_pairs(4, 32, scaled=s, fill=f) for s in (0, 1) for f in (0x7FFF7FFF, -0x7FFF7FFF, 0x7FFF8001 - 2**32, 1)]
# -32768 times itself in both halves is the one sum that 32 bits do not hold.
CASES += [_pairs(4, 32, scaled=s, fill=0x80008000 - 2**32) for s in (0, 1)]


@triton.jit
def nested_pairs_kernel(a, words, out, N: tl.constexpr):
    n = tl.arange(0, N)
    x, w = tl.load(a + n), tl.load(words + n)
    y = _low(x) * _low(w) + _low(x >> 16) * (w >> 16)
    tl.store(out + n, _low(y) * _low(w) + _low(y >> 16) * (w >> 16))


def _nested(n):
    def make(rng):
        values = {name: buffer(rng.integers(-(2**31), 2**31, n).astype(np.int32), "i32") for name in ("a", "words")}
        return values | {"out": buffer(np.zeros(n, np.int32), "i32")}

    def expect(v):
        def once(x):
            low, high = (((y.astype(np.int64) + 32768) % 65536 - 32768) for y in (x, x >> 16))
            w = v.words.astype(np.int64)
            return (low * ((w + 32768) % 65536 - 32768) + high * (w >> 16)).astype(np.int32)

        return {"out": once(once(v.a))}

    return Case(f"pairs_nested_{n}", nested_pairs_kernel, make, expect, constexprs={"N": n})


CASES += [_nested(n) for n in (1, 16, 64)]


@triton.jit
def shifts_kernel(x, by, left, right, signless, M: tl.constexpr, N: tl.constexpr, SAME: tl.constexpr):
    m, n = tl.arange(0, M), tl.arange(0, N)
    at = m[:, None] * N + n[None, :]
    v = tl.load(x + at)
    amount = tl.load(by + m)[:, None] if SAME else tl.load(by + at)
    tl.store(left + at, v << amount)
    tl.store(right + at, v >> amount)
    tl.store(signless + at, (v.to(tl.uint32, bitcast=True) >> amount.to(tl.uint32)).to(tl.int32, bitcast=True))


def _shifts(m, n, same):
    def make(rng):
        x = rng.integers(-(2**31), 2**31, (m, n)).astype(np.int32)
        by = rng.integers(0, 32, (m,) if same else (m, n))
        by.flat[:: 3 if same else 2] = rng.choice([32, 33, 255, -1, -(2**31), 31], by.flat[:: 3 if same else 2].shape)
        by = by.astype(np.int32)
        return {"x": buffer(x, "i32"), "by": buffer(by, "i32")} | {
            name: buffer(np.zeros((m, n), np.int32), "i32") for name in ("left", "right", "signless")
        }

    def expect(v):
        by = v.by[:, None] if same else v.by
        inside = (by >= 0) & (by < 32)
        amount = np.where(inside, by, 0)
        right = v.x >> np.where(inside, by, 31)
        signless = (v.x.astype(np.uint32) >> amount.astype(np.uint32)).view(np.int32)
        return {"left": np.where(inside, v.x << amount, 0), "right": right, "signless": np.where(inside, signless, 0)}

    return Case(f"shifts_{m}x{n}_{same}", shifts_kernel, make, expect, constexprs={"M": m, "N": n, "SAME": same})


CASES += [_shifts(m, n, same) for m, n in ((1, 1), (1, 2), (2, 4), (1, 8), (1, 16), (4, 32), (1, 64)) for same in (0, 1)]
