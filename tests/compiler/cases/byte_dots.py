"""tl.dot of bytes: where compilers may know more of an operand than its type, or make one dot of two."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case

CASES = []


# b masked with a constant: where bytes are multiplied to 16 bits, the mask says how many products may be summed there.
@triton.jit
def masked_dot_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, MASK: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    vb = tl.load(b + k[:, None] * N + n[None, :]) & MASK
    start = tl.load(c + m[:, None] * N + n[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot(va, vb, start, out_dtype=tl.int32))


def _masked_dot(mask, m, n, k, fill):
    def make(rng):
        a = np.full((m, k), fill) if fill else rng.integers(-128, 128, (m, k))
        b = np.full((k, n), -1) if fill else rng.integers(-128, 128, (k, n))
        return {"a": buffer(a, "i8"), "b": buffer(b, "i8"), "c": buffer(rng.integers(-99, 99, (m, n)), "i32")}

    return Case(
        f"dot_i8_mask{mask}_{m}x{n}x{k}_{fill}", masked_dot_kernel, make,
        lambda v: {"c": v.c + v.a.astype(np.int32) @ (v.b.astype(np.int32) & mask)},
        constexprs={"M": m, "N": n, "K": k, "MASK": mask})


CASES += [_masked_dot(mask, 8, 32, 128, fill) for mask in (1, 7, 15, 31, 63, 127) for fill in (0, -128, 127)]
CASES += [_masked_dot(15, m, 32, k, -128) for m, k in ((1, 64), (2, 4), (4, 8), (16, 32))]


# A number of two bytes times bytes: a dot that starts from what is computed with another.
@triton.jit
def two_term_kernel(first, second, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FACTOR: tl.constexpr,
                    MASK: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    vb = tl.load(b + k[:, None] * N + n[None, :]) & MASK
    product = tl.dot(tl.load(first + m[:, None] * K + k[None, :]), vb)
    product = tl.dot(tl.load(second + m[:, None] * K + k[None, :]), vb, product * FACTOR)
    tl.store(c + m[:, None] * N + n[None, :], product)


def _two_terms(factor, m, n, k, fill, mask=-1):
    def draw(rng, *shape):
        return buffer(np.full(shape, fill) if fill else rng.integers(-128, 128, shape), "i8")

    return Case(
        f"dot_two_terms_{factor}_{m}x{n}x{k}_{fill}_{mask}", two_term_kernel,
        lambda rng: {"first": draw(rng, m, k), "second": draw(rng, m, k), "b": draw(rng, k, n),
                     "c": poison((m, n), "i32")},
        lambda v: {"c": (factor * v.first.astype(np.int32) + v.second) @ (v.b.astype(np.int32) & mask)},
        constexprs={"M": m, "N": n, "K": k, "FACTOR": factor, "MASK": mask})


CASES += [_two_terms(f, 8, 32, 32, fill) for f in (254, 255, -255, 256, 1) for fill in (0, -128, 127)]
CASES += [_two_terms(254, m, n, k, 0, mask) for m, n, k in ((1, 32, 64), (2, 32, 4), (4, 32, 8), (64, 32, 32), (8, 4, 32))
          for mask in (-1, 15)]


# Bytes without signs in two parts: compilers may multiply them whole. SHIFT 6 and FACTOR 64 are not such parts.
@triton.jit
def unsigned_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, SHIFT: tl.constexpr,
                    FACTOR: tl.constexpr, STARTS: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    at = c + m[:, None] * N + n[None, :]
    va = tl.load(a + m[:, None] * K + k[None, :])
    vb = tl.load(b + k[:, None] * N + n[None, :])
    start = tl.dot(va, (vb >> SHIFT) & 1) * FACTOR
    if STARTS:
        start += tl.load(at)
    tl.store(at, tl.dot(va, vb & 127, start))


def _unsigned(m, n, k, fill=None, shift=7, factor=128, starts=0):
    def make(rng):
        a = np.full((m, k), fill[0]) if fill else rng.integers(-128, 128, (m, k))
        b = np.full((k, n), fill[1]) if fill else rng.integers(-128, 128, (k, n))
        return {"a": buffer(a, "i8"), "b": buffer(b, "i8"), "c": buffer(rng.integers(-99, 99, (m, n)), "i32")}

    def expect(v):
        high = (v.b.astype(np.int32) >> shift) & 1
        return {"c": starts * v.c + v.a.astype(np.int32) @ ((v.b.astype(np.int32) & 127) + factor * high)}

    filled = f"_{fill[0]}_{fill[1]}" if fill else ""
    return Case(
        f"dot_unsigned_{m}x{n}x{k}{filled}_{shift}_{factor}_{starts}", unsigned_kernel, make, expect,
        constexprs={"M": m, "N": n, "K": k, "SHIFT": shift, "FACTOR": factor, "STARTS": starts})


CASES += [_unsigned(8, 32, 32, (x, w)) for x in (-128, 127) for w in (-128, -1, 127)]
CASES += [_unsigned(m, n, k, starts=s) for m, n, k in ((1, 32, 32), (2, 32, 4), (4, 32, 8), (64, 32, 32), (8, 4, 32), (16, 16, 2))
          for s in (0, 1)]
CASES += [_unsigned(8, 32, 32, shift=6), _unsigned(8, 32, 32, factor=64)]
