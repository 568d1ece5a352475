"""Reshape, transpose, join, split, interleave, cat, broadcast, gather, histogram, sort."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def reshape_permute_kernel(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    n: tl.constexpr = A * B * C
    v = tl.load(x + tl.arange(0, n))
    v = tl.permute(tl.reshape(v, (A, B, C)), (2, 0, 1))
    tl.store(out + tl.arange(0, n), tl.reshape(v, (n,)))


CASES = [Case(f"reshape_permute_{a}x{b}x{c}", reshape_permute_kernel,
              lambda rng, n=a * b * c: {"x": buffer(np.arange(n), "i32"), "out": poison(n, "i32")},
              lambda args, s=(a, b, c): {"out": args.x.reshape(s).transpose(2, 0, 1).ravel()},
              constexprs={"A": a, "B": b, "C": c})
         for a, b, c in ((2, 4, 8), (8, 8, 16), (1, 32, 2), (4, 1, 4))]


@triton.jit
def join_split_kernel(x, y, out_even, out_odd, joined, N: tl.constexpr):
    offs = tl.arange(0, N)
    j = tl.join(tl.load(x + offs), tl.load(y + offs))
    tl.store(joined + tl.arange(0, 2 * N), tl.reshape(j, (2 * N,)))
    flat = tl.reshape(j, (N, 2))
    a, b = tl.split(tl.reshape(tl.trans(flat), (N, 2)))
    tl.store(out_even + offs, a)
    tl.store(out_odd + offs, b)


def _join_expect(a):
    joined = np.stack([a.x, a.y], 1).ravel()
    pairs = np.concatenate([a.x, a.y]).reshape(-1, 2)
    return {"joined": joined, "out_even": pairs[:, 0], "out_odd": pairs[:, 1]}


CASES += [Case(f"join_split_{n}", join_split_kernel,
               lambda rng, n=n: {"x": buffer(rng.standard_normal(n), "fp32"),
                                 "y": buffer(rng.standard_normal(n), "fp32"),
                                 "out_even": poison(n, "fp32"), "out_odd": poison(n, "fp32"),
                                 "joined": poison(2 * n, "fp32")},
               _join_expect, constexprs={"N": n}) for n in (1, 4, 16, 128)]


@triton.jit
def interleave_cat_kernel(x, y, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    a = tl.load(x + offs)
    b = tl.load(y + offs)
    tl.store(out + tl.arange(0, 2 * N), tl.interleave(a, b))
    tl.store(out + 2 * N + tl.arange(0, 2 * N), tl.sort(tl.cat(a, b, can_reorder=True)))


CASES.append(Case(
    "interleave_and_cat", interleave_cat_kernel,
    lambda rng: {"x": buffer(rng.integers(-50, 50, 32), "i32"),
                 "y": buffer(rng.integers(-50, 50, 32), "i32"), "out": poison(128, "i32")},
    lambda a: {"out": np.concatenate([np.stack([a.x, a.y], 1).ravel(),
                                      np.sort(np.concatenate([a.x, a.y]))])},
    constexprs={"N": 32}))


@triton.jit
def ravel_views_kernel(x, out, M: tl.constexpr, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    t = tl.trans(v)
    tl.store(out + tl.arange(0, M * N), tl.ravel(t))


CASES += [Case(f"ravel_of_transpose_{m}x{n}", ravel_views_kernel,
               lambda rng, m=m, n=n: {"x": buffer(rng.standard_normal((m, n)), "fp32"),
                                      "out": poison(m * n, "fp32")},
               lambda a: {"out": a.x.T.ravel()}, constexprs={"M": m, "N": n})
          for m, n in ((4, 8), (16, 16), (32, 2), (64, 64), (1, 16))]


@triton.jit
def broadcast_kernel(x, y, out, M: tl.constexpr, N: tl.constexpr):
    a = tl.load(x + tl.arange(0, M))
    b = tl.load(y + tl.arange(0, N))
    outer = a[:, None] * b[None, :] + tl.broadcast_to(b[None, :], (M, N))
    tl.store(out + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], outer)


CASES += [Case(f"outer_product_{m}x{n}", broadcast_kernel,
               lambda rng, m=m, n=n: {"x": buffer(rng.integers(-9, 9, m), "fp32"),
                                      "y": buffer(rng.integers(-9, 9, n), "fp32"),
                                      "out": poison((m, n), "fp32")},
               lambda a: {"out": np.outer(a.x, a.y) + a.y}, constexprs={"M": m, "N": n})
          for m, n in ((8, 8), (1, 64), (64, 1), (32, 128))]


@triton.jit
def gather_kernel(x, index, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
                  AXIS: tl.constexpr):
    src = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    if AXIS == 0:
        at = tl.arange(0, K)[:, None] * N + tl.arange(0, N)[None, :]
    else:
        at = tl.arange(0, M)[:, None] * K + tl.arange(0, K)[None, :]
    tl.store(out + at, tl.gather(src, tl.load(index + at), AXIS))


def _gather(m: int, n: int, k: int, axis: int) -> Case:
    shape = (k, n) if axis == 0 else (m, k)
    return Case(f"gather_axis{axis}_{m}x{n}_{k}", gather_kernel,
                lambda rng: {"x": buffer(rng.standard_normal((m, n)), "fp32"),
                             "index": buffer(rng.integers(0, m if axis == 0 else n, shape), "i32"),
                             "out": poison(shape, "fp32")},
                lambda a: {"out": np.take_along_axis(a.x, a.index, axis)},
                constexprs={"M": m, "N": n, "K": k, "AXIS": axis})


CASES += [_gather(8, 16, 4, 0), _gather(8, 16, 32, 1), _gather(64, 64, 64, 1), _gather(16, 1, 16, 0)]


@triton.jit
def histogram_kernel(x, out, n, BLOCK: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    if MASKED:
        v = tl.load(x + offs, offs < n, other=0)
        h = tl.histogram(v, BINS, mask=offs < n)
    else:
        h = tl.histogram(tl.load(x + offs), BINS)
    tl.store(out + tl.arange(0, BINS), h)


CASES += [Case(f"histogram_{block}_{bins}{'_masked' if masked else ''}", histogram_kernel,
               lambda rng, n=n, bins=bins: {"x": buffer(rng.integers(0, bins, n), "i32"),
                                            "out": poison(bins, "i32"), "n": n},
               lambda a, bins=bins: {"out": np.bincount(a.x, minlength=bins).astype(np.int32)},
               constexprs={"BLOCK": block, "BINS": bins, "MASKED": masked})
          for n, block, bins, masked in ((64, 64, 16, False), (512, 512, 128, False), (50, 64, 8, True),
                                         (32, 32, 1, False))]


@triton.jit
def sort_kernel(x, out, N: tl.constexpr, DESC: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(out + offs, tl.sort(tl.load(x + offs), descending=DESC))


CASES += [Case(f"sort_{n}_{dtype}_{'down' if desc else 'up'}", sort_kernel,
               lambda rng, n=n, dtype=dtype: {"x": buffer(rng.integers(-99, 99, n), dtype),
                                              "out": poison(n, dtype)},
               lambda a, desc=desc: {"out": np.sort(a.x)[::-1] if desc else np.sort(a.x)},
               constexprs={"N": n, "DESC": desc}, max_compile_s=20)
          for n, dtype, desc in ((8, "i32", False), (64, "fp32", True), (256, "fp32", False),
                                 (1024, "i32", True))]


@triton.jit
def topk_kernel(x, out, N: tl.constexpr, K: tl.constexpr):
    v = tl.topk(tl.load(x + tl.arange(0, N)), K)
    tl.store(out + tl.arange(0, K), v)


CASES.append(Case(
    "topk_8_of_128", topk_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(128), "fp32"), "out": poison(8, "fp32")},
    lambda a: {"out": np.sort(a.x)[::-1][:8]}, constexprs={"N": 128, "K": 8}, max_compile_s=20))


@triton.jit
def flip_kernel(x, out, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + at, tl.flip(tl.load(x + at), 1))


CASES.append(Case(
    "flip_rows", flip_kernel,
    lambda rng: {"x": buffer(rng.standard_normal((8, 16)), "fp32"), "out": poison((8, 16), "fp32")},
    lambda a: {"out": a.x[:, ::-1]}, constexprs={"M": 8, "N": 16}))


@triton.jit
def int4_unpack_kernel(packed, scale, out, ROWS: tl.constexpr, BYTES: tl.constexpr):
    r = tl.arange(0, ROWS)[:, None]
    b = tl.load(packed + r * BYTES + tl.arange(0, BYTES)[None, :])
    low = (b & 15).to(tl.float32) - 8.0
    high = (b >> 4).to(tl.float32) - 8.0
    v = tl.interleave(low, high) * tl.load(scale + tl.arange(0, ROWS))[:, None]
    tl.store(out + r * (2 * BYTES) + tl.arange(0, 2 * BYTES)[None, :], v)


def _int4_expect(a):
    v = np.stack([(a.packed & 15), (a.packed >> 4)], -1).reshape(a.packed.shape[0], -1)
    return {"out": (v.astype(np.float32) - 8) * a.scale[:, None]}


CASES.append(Case(
    "int4_unpack_interleaved", int4_unpack_kernel,
    lambda rng: {"packed": buffer(rng.integers(0, 256, (8, 32)), "u8"),
                 "scale": buffer(rng.standard_normal(8), "fp32"), "out": poison((8, 64), "fp32")},
    _int4_expect, constexprs={"ROWS": 8, "BYTES": 32}))


@triton.jit
def bitcast_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    bits = tl.load(x + offs).to(tl.int32, bitcast=True)
    tl.store(out + offs, (bits & 0x7FFFFFFF).to(tl.float32, bitcast=True))


CASES.append(Case(
    "bitcast_absolute_value", bitcast_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(64), "fp32"), "out": poison(64, "fp32")},
    lambda a: {"out": np.abs(a.x)}, constexprs={"N": 64}))


@triton.jit
def tuple_of_tiles_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    state = (tl.load(x + offs), tl.zeros((N,), tl.float32), 0)
    for step in range(3):
        v, total, count = state
        state = (v * 0.5, total + v, count + 1)
    tl.store(out + offs, state[1] + state[2])


CASES.append(Case(
    "loop_carries_tuple", tuple_of_tiles_kernel,
    lambda rng: {"x": buffer(rng.integers(-9, 9, 64), "fp32"), "out": poison(64, "fp32")},
    lambda a: {"out": a.x * 1.75 + 3}, constexprs={"N": 64}))
