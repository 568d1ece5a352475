"""Tensor descriptors made in the kernel: loads with padding, clipped stores, gather, scatter, reduce."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def copy_kernel(x, out, M, N, BM: tl.constexpr, BN: tl.constexpr):
    src = tl.make_tensor_descriptor(x, [M, N], [N, 1], [BM, BN])
    dst = tl.make_tensor_descriptor(out, [M, N], [N, 1], [BM, BN])
    at = [tl.program_id(0) * BM, tl.program_id(1) * BN]
    dst.store(at, src.load(at) * 2)


CASES = [Case(f"descriptor_copy_{m}x{n}_{bm}x{bn}_{dtype}", copy_kernel,
              lambda rng, m=m, n=n, dtype=dtype: {"x": buffer(rng.integers(-9, 9, (m, n)), dtype),
                                                  "out": poison((m, n), dtype), "M": m, "N": n},
              lambda a: {"out": a.x * 2}, grid=(-(-m // bm), -(-n // bn)),
              constexprs={"BM": bm, "BN": bn})
         for m, n, bm, bn, dtype in ((32, 64, 16, 32, "fp32"), (33, 50, 16, 32, "fp32"),
                                     (5, 100, 8, 64, "bf16"), (1, 16, 1, 16, "i32"), (20, 48, 4, 16, "fp16"))]


@triton.jit
def negative_offset_kernel(x, out, M, N, row, col, BM: tl.constexpr, BN: tl.constexpr):
    src = tl.make_tensor_descriptor(x, [M, N], [N, 1], [BM, BN])
    v = src.load([row, col])
    tl.store(out + tl.arange(0, BM)[:, None] * BN + tl.arange(0, BN)[None, :], v)


def _window(a):
    big = np.zeros((a.M + 64, a.N + 64), np.float32)
    big[32: 32 + a.M, 32: 32 + a.N] = a.x
    return {"out": big[32 + a.row: 48 + a.row, 32 + a.col: 48 + a.col]}


CASES += [Case(f"descriptor_load_at_{r}_{c}", negative_offset_kernel,
               lambda rng, r=r, c=c: {"x": buffer(rng.standard_normal((20, 24)), "fp32"),
                                      "out": poison((16, 16), "fp32"), "M": 20, "N": 24, "row": r, "col": c},
               _window, constexprs={"BM": 16, "BN": 16})
          for r, c in ((-5, -3), (15, 20), (0, -16), (30, 30))]


@triton.jit
def matmul_kernel(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    da = tl.make_tensor_descriptor(a, [M, K], [K, 1], [BM, BK])
    db = tl.make_tensor_descriptor(b, [N, K], [K, 1], [BN, BK])
    dc = tl.make_tensor_descriptor(c, [M, N], [N, 1], [BM, BN])
    m, n = tl.program_id(0) * BM, tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(da.load([m, k]), db.load([n, k]).T, acc)
    dc.store([m, n], acc.to(c.dtype.element_ty))


CASES += [Case(f"descriptor_matmul_{dtype}", matmul_kernel,
               lambda rng, dtype=dtype: {"a": buffer(rng.standard_normal((50, 80)), dtype),
                                         "b": buffer(rng.standard_normal((70, 80)), dtype),
                                         "c": poison((50, 70), dtype), "M": 50, "N": 70, "K": 80},
               lambda v: {"c": v.a.astype(np.float64) @ v.b.astype(np.float64).T}, grid=(2, 3),
               constexprs={"BM": 32, "BN": 32, "BK": 32}, rtol=1e-5 if dtype == "fp32" else 2e-2,
               atol=1e-4 if dtype == "fp32" else 0.1) for dtype in ("fp32", "bf16")]


@triton.jit
def tensor_3d_kernel(x, out, A, B, C, BB: tl.constexpr, BC: tl.constexpr):
    src = tl.make_tensor_descriptor(x, [A, B, C], [B * C, C, 1], [1, BB, BC])
    dst = tl.make_tensor_descriptor(out, [A, B, C], [B * C, C, 1], [1, BB, BC])
    i = tl.program_id(0)
    for b in range(0, B, BB):
        for c in range(0, C, BC):
            dst.store([i, b, c], src.load([i, b, c]) + i)


CASES.append(Case(
    "descriptor_3d", tensor_3d_kernel,
    lambda rng: {"x": buffer(rng.integers(0, 9, (3, 10, 20)), "fp32"), "out": poison((3, 10, 20), "fp32"),
                 "A": 3, "B": 10, "C": 20},
    lambda a: {"out": a.x + np.arange(3)[:, None, None]}, grid=(3,), constexprs={"BB": 4, "BC": 16}))


@triton.jit
def gather_rows_kernel(x, index, out, M, N, ROWS: tl.constexpr, BN: tl.constexpr):
    desc = tl.make_tensor_descriptor(x, [M, N], [N, 1], [1, BN])
    rows = tl.load(index + tl.arange(0, ROWS))
    v = desc.gather(rows, tl.program_id(0) * BN)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    tl.store(out + tl.arange(0, ROWS)[:, None] * N + n[None, :], v, n[None, :] < N)


CASES.append(Case(
    "descriptor_gather_rows", gather_rows_kernel,
    lambda rng: {"x": buffer(rng.standard_normal((30, 40)), "fp32"),
                 "index": buffer(rng.integers(0, 30, 8), "i32"), "out": poison((8, 40), "fp32"), "M": 30,
                 "N": 40},
    lambda a: {"out": a.x[a.index]}, grid=(2,), constexprs={"ROWS": 8, "BN": 32}))


@triton.jit
def scatter_rows_kernel(x, index, out, M, N, ROWS: tl.constexpr, BN: tl.constexpr):
    desc = tl.make_tensor_descriptor(out, [M, N], [N, 1], [1, BN])
    v = tl.load(x + tl.arange(0, ROWS)[:, None] * BN + tl.arange(0, BN)[None, :])
    desc.scatter(v, tl.load(index + tl.arange(0, ROWS)), 0)


def _scatter(a):
    want = poison((30, 32), "fp32").values
    want[a.index] = a.x
    return {"out": want}


CASES.append(Case(
    "descriptor_scatter_rows", scatter_rows_kernel,
    lambda rng: {"x": buffer(rng.standard_normal((8, 32)), "fp32"),
                 "index": buffer(rng.permutation(30)[:8], "i32"), "out": poison((30, 32), "fp32"), "M": 30,
                 "N": 32},
    _scatter, constexprs={"ROWS": 8, "BN": 32}))


@triton.jit
def reduce_kernel(x, out, M, N, OP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    src = tl.make_tensor_descriptor(x, [M, N], [N, 1], [BM, BN])
    dst = tl.make_tensor_descriptor(out, [M, N], [N, 1], [BM, BN])
    v = src.load([0, 0])
    if OP == "add":
        dst.atomic_add([0, 0], v)
    elif OP == "max":
        dst.atomic_max([0, 0], v)
    elif OP == "xor":
        dst.atomic_xor([0, 0], v)


CASES += [Case(f"descriptor_atomic_{op}", reduce_kernel,
               lambda rng: {"x": buffer(rng.integers(-99, 99, (13, 20)), "i32"),
                            "out": buffer(rng.integers(-99, 99, (13, 20)), "i32"), "M": 13, "N": 20},
               lambda a, op=op: {"out": {"add": np.add, "max": np.maximum, "xor": np.bitwise_xor}[op](a.out, a.x)},
               constexprs={"OP": op, "BM": 16, "BN": 32}) for op in ("add", "max", "xor")]
