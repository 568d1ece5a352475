"""Loops, branches, early return, calls: control flow around scalars and tiles."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import Scalar, buffer, poison
from case import Case


@triton.jit
def trip_count_kernel(x, out, begin, end, step, N: tl.constexpr):
    offs = tl.arange(0, N)
    acc = tl.load(x + offs)
    total = 0
    for i in range(begin, end, step):
        acc = acc * 0.5 + i
        total += i
    tl.store(out + offs, acc + total)


def _trip_expect(a):
    acc, total = a.x.astype(np.float64), 0
    for i in range(a.begin, a.end, a.step):
        acc = acc * 0.5 + i
        total += i
    return {"out": acc + total}


CASES = [Case(f"for_{b}_{e}_{s}", trip_count_kernel,
              lambda rng, b=b, e=e, s=s: {"x": buffer(rng.integers(-9, 9, 32), "fp32"),
                                          "out": poison(32, "fp32"), "begin": b, "end": e, "step": s},
              _trip_expect, constexprs={"N": 32}, rtol=1e-6)
         for b, e, s in ((0, 5, 1), (0, 0, 1), (5, 0, 1), (-3, 4, 2), (0, 1, 7), (10, 100, 33))]


@triton.jit
def downward_kernel(out, n, N: tl.constexpr):
    acc = tl.zeros((N,), tl.int32)
    for i in tl.range(n, 0, -3):
        acc = acc * 2 + i
    tl.store(out + tl.arange(0, N), acc)


def _downward(a):
    v = 0
    for i in range(a.n, 0, -3):
        v = v * 2 + i
    return {"out": np.full(16, v, np.int32)}


CASES += [Case(f"for_downward_{n}", downward_kernel, lambda rng, n=n: {"out": poison(16, "i32"), "n": n},
               _downward, constexprs={"N": 16}) for n in (10, 0, 3)]


@triton.jit
def nested_kernel(x, out, rows, cols, N: tl.constexpr):
    offs = tl.arange(0, N)
    best = tl.full((N,), float("-inf"), tl.float32)
    count = tl.zeros((N,), tl.int32)
    for r in range(rows):
        row_sum = tl.zeros((N,), tl.float32)
        for c in range(r, cols):
            v = tl.load(x + (r * cols + c) * N + offs)
            row_sum += v
            count += (v > 0).to(tl.int32)
        best = tl.maximum(best, row_sum)
    tl.store(out + offs, best + count)


def _nested(a):
    best, count = np.full(64, -np.inf), np.zeros(64)
    for r in range(a.rows):
        block = a.x[r, r:] if r < a.cols else np.zeros((0, 64))
        best = np.maximum(best, block.sum(0))
        count += (block > 0).sum(0)
    return {"out": best + count}


CASES += [Case(f"nested_loops_{r}x{c}", nested_kernel,
               lambda rng, r=r, c=c: {"x": buffer(rng.integers(-5, 6, (max(r, 1), max(c, 1), 64)), "fp32"),
                                      "out": poison(64, "fp32"), "rows": r, "cols": c},
               _nested, constexprs={"N": 64}) for r, c in ((3, 4), (5, 2), (0, 3), (2, 0))]


@triton.jit
def while_kernel(x, out, limit, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, N))
    steps = 0
    while (tl.sum(v, 0) < limit) & (steps < 100):
        v = v * 2
        steps += 1
    tl.store(out + tl.arange(0, N), v + steps)


def _while(a):
    v, steps = a.x.astype(np.float64), 0
    while v.sum() < a.limit and steps < 100:
        v, steps = v * 2, steps + 1
    return {"out": v + steps}


CASES += [Case(f"while_until_{int(limit)}", while_kernel,
               lambda rng, limit=limit: {"x": buffer(rng.integers(1, 9, 32), "fp32"),
                                         "out": poison(32, "fp32"), "limit": limit},
               _while, constexprs={"N": 32}) for limit in (0.0, 1000.0, 1e6)]


@triton.jit
def collatz_kernel(out, start):
    n = start
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1
    tl.store(out, steps)


CASES.append(Case("while_with_if_collatz", collatz_kernel,
                  lambda rng: {"out": poison(1, "i32"), "start": 27},
                  lambda a: {"out": np.array([111], np.int32)}))


@triton.jit
def early_return_kernel(x, out, n, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    if pid * BLOCK >= n:
        return
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n)
    if pid == 1:
        tl.store(out + offs, v * 10, offs < n)
        return
    tl.store(out + offs, v, offs < n)


def _early(a):
    want = a.x.copy()
    want[32:64] *= 10
    return {"out": want}


CASES.append(Case(
    "early_return", early_return_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(100), "fp32"), "out": poison(100, "fp32"), "n": 100},
    _early, grid=(7,), constexprs={"BLOCK": 32}))


@triton.jit
def if_tiles_kernel(x, out, flag, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs)
    if flag > 1:
        v = v + 1
        w = tl.exp(v)
    elif flag == 1:
        w = v * v
    else:
        w = -v
        if flag < -5:
            v = tl.zeros_like(v)
    tl.store(out + offs, v + w)


def _if_tiles(a):
    v = a.x.astype(np.float64)
    if a.flag > 1:
        return {"out": v + 1 + np.exp(v + 1)}
    if a.flag == 1:
        return {"out": v + v * v}
    return {"out": -v if a.flag < -5 else v * 0}


CASES += [Case(f"if_else_tiles_{flag}", if_tiles_kernel,
               lambda rng, flag=flag: {"x": buffer(rng.standard_normal(64), "fp32"),
                                       "out": poison(64, "fp32"), "flag": flag},
               _if_tiles, constexprs={"N": 64}, rtol=1e-5, atol=1e-6) for flag in (2, 1, 0, -9)]


@triton.jit
def if_large_tiles_kernel(x, out, flag, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    v = tl.load(x + at)
    acc = v
    for step in range(3):
        if step == flag:
            acc = acc + v * 2
        else:
            acc = acc - 1
    tl.store(out + at, acc)


CASES += [Case(f"if_in_loop_large_tile_{flag}", if_large_tiles_kernel,
               lambda rng, flag=flag: {"x": buffer(rng.integers(-9, 9, (64, 128)), "fp32"),
                                       "out": poison((64, 128), "fp32"), "flag": flag},
               lambda a: {"out": a.x * 3 - 2 if 0 <= a.flag < 3 else a.x - 3},
               constexprs={"M": 64, "N": 128}) for flag in (1, 7)]


@triton.jit(noinline=True)
def _helper(v, k):
    if k > 2:
        return v * k
    return v - k


@triton.jit
def call_kernel(x, out, k):
    v = _helper(tl.load(x), k)
    tl.store(out, _helper(v, k + 1))


@triton.jit
def _inlined_helper(v, k):
    if k > 2:
        return v * k
    elif k < 0:
        if k == -7:
            return v
        return -v
    return v - k


@triton.jit
def call_tiles_kernel(x, out, k, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = _inlined_helper(tl.load(x + offs), k)
    tl.store(out + offs, _inlined_helper(v, k + 1))


def _called(v, k):
    return v * k if k > 2 else v if k == -7 else -v if k < 0 else v - k


CASES += [Case(f"noinline_call_{k}", call_kernel,
               lambda rng, k=k: {"x": buffer([7], "fp32"), "out": poison(1, "fp32"), "k": k},
               lambda a: {"out": _called(_called(a.x, a.k), a.k + 1)}) for k in (1, 2, 3)]
CASES += [Case(f"call_with_early_returns_{k}", call_tiles_kernel,
               lambda rng, k=k: {"x": buffer(rng.integers(-9, 9, 32), "fp32"), "out": poison(32, "fp32"),
                                 "k": k},
               lambda a: {"out": _called(_called(a.x, a.k), a.k + 1)}, constexprs={"N": 32})
          for k in (1, 2, 3, -1, -7, -8)]


@triton.jit
def hints_kernel(x, out, n, N: tl.constexpr):
    tl.assume(n > 0)
    tl.assume(n <= N)
    offs = tl.max_contiguous(tl.multiple_of(tl.arange(0, N), N), N)
    v = tl.load(x + offs, offs < n)
    tl.debug_barrier()
    tl.static_assert(N == 64)
    tl.store(out + offs, v + 1, offs < n)


CASES.append(Case(
    "hints_and_barriers", hints_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(50), "fp32"), "out": poison(50, "fp32"), "n": 50},
    lambda a: {"out": a.x + 1}, constexprs={"N": 64}))


@triton.jit
def returns_in_loop_kernel(x, out, n, N: tl.constexpr):
    found = -1
    for i in range(n):
        if found < 0:
            v = tl.load(x + i)
            if v > 0:
                found = i
    tl.store(out, found)
    offs = tl.arange(0, N)
    if found >= 0:
        tl.store(out + 1 + offs, offs + found)


CASES += [Case(f"first_positive_{name}", returns_in_loop_kernel,
               lambda rng, at=at: {"x": buffer(np.where(np.arange(20) >= at, 1.0, -1.0), "fp32"),
                                   "out": buffer(np.zeros(9), "i32"), "n": 20},
               lambda a, at=at: {"out": np.array([at if at < 20 else -1, *(
                   range(at, at + 8) if at < 20 else [0] * 8)], np.int32)},
               constexprs={"N": 8}) for name, at in (("first", 0), ("middle", 7), ("none", 99))]


@triton.jit
def program_ids_kernel(out):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    nx, ny, nz = tl.num_programs(0), tl.num_programs(1), tl.num_programs(2)
    at = x + nx * (y + ny * z)
    tl.store(out + at, x + 10 * y + 100 * z + 1000 * nz)


def _ids(a):
    z, y, x = np.indices((2, 3, 4))
    return {"out": (x + 10 * y + 100 * z + 2000).ravel().astype(np.int32)}


CASES.append(Case("program_ids_3d", program_ids_kernel, lambda rng: {"out": poison(24, "i32")}, _ids,
                  grid=(4, 3, 2)))
CASES.append(Case("program_ids_3d_threads", program_ids_kernel, lambda rng: {"out": poison(24, "i32")},
                  _ids, grid=(4, 3, 2), threads=5))
CASES.append(Case("empty_grid", program_ids_kernel, lambda rng: {"out": poison(24, "i32")},
                  lambda a: {}, grid=(0, 3, 2)))


@triton.jit
def unrolled_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    acc = tl.zeros((N,), tl.float32)
    for i in tl.static_range(4):
        acc += tl.load(x + i * N + offs) * (i + 1)
    tl.store(out + offs, acc)


CASES.append(Case(
    "static_range", unrolled_kernel,
    lambda rng: {"x": buffer(rng.integers(-9, 9, (4, 32)), "fp32"), "out": poison(32, "fp32")},
    lambda a: {"out": (a.x * np.arange(1, 5)[:, None]).sum(0)}, constexprs={"N": 32}))


@triton.jit
def swap_kernel(x, y, out, n, N: tl.constexpr):
    offs = tl.arange(0, N)
    a, b = tl.load(x + offs), tl.load(y + offs)
    for i in range(n):
        a, b = b, a + b  # both carried, crosswise
    tl.store(out + offs, a)
    tl.store(out + N + offs, b)


def _swap(v):
    a, b = v.x.astype(np.float64), v.y.astype(np.float64)
    for _ in range(v.n):
        a, b = b, a + b
    return {"out": np.concatenate([a, b])}


CASES += [Case(f"loop_swaps_tiles_{size}", swap_kernel,
               lambda rng, size=size: {"x": buffer(rng.integers(0, 5, size), "fp32"),
                                       "y": buffer(rng.integers(0, 5, size), "fp32"),
                                       "out": poison(2 * size, "fp32"), "n": 7},
               _swap, constexprs={"N": size}) for size in (16, 64, 4096)]


@triton.jit
def carried_pointer_kernel(x, out, n, stride, N: tl.constexpr):
    p = x + tl.arange(0, N)
    q = out + tl.arange(0, N)
    for i in range(n):
        tl.store(q, tl.load(p) + i)
        p += stride
        q += N
        if i % 2 == 1:
            p += 1


def _carried_pointer(a):
    rows, at = [], 0
    for i in range(a.n):
        rows.append(a.x[at: at + 32] + i)
        at += a.stride + (i % 2 == 1)
    return {"out": np.stack(rows)}


CASES.append(Case(
    "loop_carried_pointers", carried_pointer_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(32 + 5 * 40 + 2), "fp32"),
                 "out": poison((6, 32), "fp32"), "n": 6, "stride": 40},
    _carried_pointer, constexprs={"N": 32}))


@triton.jit
def linked_list_kernel(next_, value, out, start):
    at = start
    total = 0.0
    while at >= 0:
        total += tl.load(value + at)
        at = tl.load(next_ + at)
    tl.store(out, total)


CASES.append(Case(
    "while_follows_links", linked_list_kernel,
    lambda rng: {"next_": buffer([3, 4, -1, 1, 2], "i32"), "value": buffer([1, 2, 4, 8, 16], "fp32"),
                 "out": poison(1, "fp32"), "start": 0},
    lambda a: {"out": np.array([31.0])}))


@triton.jit
def i64_loop_kernel(out, begin, end, N: tl.constexpr):
    acc = tl.zeros((N,), tl.int64)
    for i in range(begin, end):
        acc += i
    tl.store(out + tl.arange(0, N), acc)


CASES.append(Case(
    "for_64_bit_bounds", i64_loop_kernel,
    lambda rng: {"out": poison(8, "i64"), "begin": Scalar(2**33, "i64"), "end": Scalar(2**33 + 3, "i64")},
    lambda a: {"out": np.full(8, 3 * 2**33 + 3)}, constexprs={"N": 8}))


@triton.jit
def persistent_kernel(x, out, tiles, N: tl.constexpr):
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        offs = tile * N + tl.arange(0, N)
        tl.store(out + offs, tl.load(x + offs) + tile)


CASES.append(Case(
    "persistent_loop", persistent_kernel,
    lambda rng: {"x": buffer(rng.integers(0, 9, (13, 64)), "fp32"), "out": poison((13, 64), "fp32"),
                 "tiles": 13},
    lambda a: {"out": a.x + np.arange(13)[:, None]}, grid=(4,), constexprs={"N": 64}, threads=2))
