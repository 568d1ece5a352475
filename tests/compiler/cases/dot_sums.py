"""Sums of dots that grow through loops and branches, and operands that are computed once for dots of a loop."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case

CASES = []


# Two loops and a dot, one behind the other, in each branch; KEEP: what the first loop gives is read once more.
@triton.jit
def chained_sums_kernel(a, b, c, kept, flag, steps, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, KEEP: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    b_at = b + k[:, None] * N + n[None, :]
    at = m[:, None] * N + n[None, :]
    first = tl.zeros((M, N), tl.float32)
    if flag > 0:
        for step in range(steps):
            first = tl.dot(va, tl.load(b_at + step * K * N), first)
        acc = first
        for step in range(steps):
            acc = tl.dot(va, tl.load(b_at + step * K * N), acc * 0.5)
        acc = tl.dot(va, tl.load(b_at), acc)
    else:
        acc = tl.dot(va, tl.load(b_at))
        for step in range(steps):
            acc = tl.dot(va, tl.load(b_at + step * K * N), acc)
    if KEEP:
        tl.store(kept + at, first)
    tl.store(c + at, acc)


def _chained_expect(v):
    products = [v.a.astype(np.float64) @ b for b in v.b.astype(np.float64)]
    taken = products[: v.steps]
    first = sum(taken, np.zeros_like(products[0])) if v.flag > 0 else np.zeros_like(products[0])
    acc = first if v.flag > 0 else products[0]
    for product in taken:
        acc = acc * (0.5 if v.flag > 0 else 1) + product
    acc = acc + products[0] if v.flag > 0 else acc
    return {"c": acc, "kept": first if v.KEEP else v.kept}


def _chained_sums(m, k, flag, steps, keep, dtype):
    return Case(
        f"dot_chained_sums_{m}x32x{k}_{dtype}_flag{flag}_steps{steps}_keep{keep}", chained_sums_kernel,
        lambda rng: {"a": buffer(rng.standard_normal((m, k)), dtype), "b": buffer(rng.standard_normal((3, k, 32)), dtype),
                     "c": poison((m, 32), "fp32"), "kept": poison((m, 32), "fp32"), "flag": flag, "steps": steps},
        _chained_expect, constexprs={"M": m, "N": 32, "K": k, "KEEP": keep}, rtol=2e-5, atol=2e-4)


CASES += [_chained_sums(m, k, flag, steps, keep, dtype) for m, k, dtype in ((32, 64, "bf16"), (8, 32, "bf16"), (64, 32, "fp32"))
          for flag in (0, 1) for steps in (0, 3) for keep in (False, True)]


# A sum that a loop carries into loops of a branch, of which one leaves it as it is.
@triton.jit
def carried_sum_kernel(a, b, c, steps, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    b_at = b + k[:, None] * N + n[None, :]
    acc = tl.full((M, N), 1.0, tl.float32)
    other = tl.full((M, N), 2.0, tl.float32)
    for step in range(steps):
        if step % 3 == 1:
            for inner in range(step):
                acc = tl.dot(va, tl.load(b_at + inner * K * N), acc)
        elif step % 3 == 2:
            before = acc
            acc = tl.dot(va, tl.load(b_at), other)
            other = before
    tl.store(c + m[:, None] * N + n[None, :], acc + 4.0 * other)


def _carried_expect(v):
    products = [v.a.astype(np.float64) @ b for b in v.b.astype(np.float64)]
    acc, other = np.full_like(products[0], 1), np.full_like(products[0], 2)
    for step in range(v.steps):
        if step % 3 == 1:
            acc = sum(products[:step], acc)
        elif step % 3 == 2:
            acc, other = other + products[0], acc
    return {"c": acc + 4 * other}


CASES += [Case(f"dot_carried_sum_{m}_{dtype}_{steps}_steps", carried_sum_kernel,
               lambda rng, m=m, dtype=dtype, steps=steps: {
                   "a": buffer(rng.standard_normal((m, 64)), dtype), "b": buffer(rng.standard_normal((8, 64, 32)), dtype),
                   "c": poison((m, 32), "fp32"), "steps": steps},
               _carried_expect, constexprs={"M": m, "N": 32, "K": 64}, rtol=2e-5, atol=2e-4)
          for m, dtype in ((32, "bf16"), (4, "bf16"), (64, "fp32")) for steps in (0, 2, 8)]


# b computed once for the dots of a loop and for one of a branch; ALSO: something else reads it too, or a dot beside it.
@triton.jit
def hoisted_operand_kernel(a, codes, scales, c, sums, rows, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, ALSO: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    code = tl.load(codes + k[:, None] * N + n[None, :])
    w = (code.to(tl.float32) * tl.load(scales + k)[:, None]).to(tl.bfloat16)
    if ALSO == 1:
        tl.store(sums + n, tl.sum(w.to(tl.float32), axis=0))
    if ALSO == 2:
        product = tl.dot(tl.load(a + m[:, None] * K + k[None, :]), w)
        tl.store(sums + n, tl.sum(product, axis=0))
    if rows < M:
        inside = (m < rows)[:, None]
        va = tl.load(a + m[:, None] * K + k[None, :], mask=inside, other=0.0)
        tl.store(c + m[:, None] * N + n[None, :], tl.dot(va, w), mask=inside)
    else:
        for first in range(0, rows, M):
            row = tl.minimum(first, rows - M) + m
            va = tl.load(a + row[:, None] * K + k[None, :])
            tl.store(c + row[:, None] * N + n[None, :], tl.dot(va, w), mask=(row >= first)[:, None])


def _hoisted_expect(v):
    w = buffer(v.codes.astype(np.float32) * v.scales[:, None], "bf16").values.astype(np.float64)
    a = v.a.astype(np.float64)
    sums = w.sum(axis=0) if v.ALSO == 1 else (a[: v.M] @ w).sum(axis=0) if v.ALSO == 2 else v.sums
    return {"c": np.where((np.arange(len(v.c)) < v.rows)[:, None], a @ w, v.c), "sums": sums}


def _hoisted_operand(m, n, k, rows, also):
    whole = max(rows, m)
    return Case(
        f"dot_hoisted_operand_{m}x{n}x{k}_rows{rows}_also{also}", hoisted_operand_kernel,
        lambda rng: {"a": buffer(rng.standard_normal((whole, k)), "bf16"), "codes": buffer(rng.integers(-8, 8, (k, n)), "i8"),
                     "scales": buffer(rng.standard_normal(k), "fp32"), "c": poison((whole, n), "fp32"),
                     "sums": poison((n,), "fp32"), "rows": rows},
        _hoisted_expect, constexprs={"M": m, "N": n, "K": k, "ALSO": also}, rtol=2e-5, atol=1e-5 * k)


CASES += [_hoisted_operand(m, n, k, rows, also) for m, n, k in ((16, 32, 64), (32, 32, 256), (32, 64, 32), (8, 32, 32), (16, 32, 16))
          for rows in (5, 70) for also in (0, 1, 2)]


# b that a branch or a loop gives, or that the loop carries: such values are kept row by row.
@triton.jit
def given_operand_kernel(a, b, c, flag, steps, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FROM: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    b_at = b + k[:, None] * N + n[None, :]
    w = tl.zeros((K, N), tl.bfloat16)
    if FROM == 0:
        if flag > 0:
            w = tl.load(b_at)
    if FROM == 1:
        for _ in range(flag):
            w += tl.load(b_at)
    if FROM == 2:
        w = tl.load(b_at)
    for step in range(steps):
        at = step * M * N + m[:, None] * N + n[None, :]
        if step + flag > 0:
            tl.store(c + at, tl.dot(tl.load(a + step * M * K + m[:, None] * K + k[None, :]), w))
        if FROM == 2:
            w = tl.load(b_at) * 2.0


def _given_expect(v):
    factors = np.arange(v.steps) * (v.FROM == 2)
    return {"c": v.a.astype(np.float64) @ v.b.astype(np.float64) * np.where(factors > 0, 2, 1)[:, None, None]}


CASES += [Case(f"dot_given_operand_{m}_from{source}", given_operand_kernel,
               lambda rng, m=m: {"a": buffer(rng.integers(-3, 4, (3, m, 64)), "bf16"), "b": buffer(rng.integers(-3, 4, (64, 32)), "bf16"),
                                 "c": poison((3, m, 32), "fp32"), "flag": 1, "steps": 3},
               _given_expect, constexprs={"M": m, "N": 32, "K": 64, "FROM": source}) for m in (16, 32, 8) for source in (0, 1, 2)]
