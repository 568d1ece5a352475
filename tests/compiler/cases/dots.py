"""tl.dot: every type, odd sizes through masks, M = 1, transposed operands, chains, batches."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def matmul_kernel(a, b, c, M, N, K, sam, sak, sbk, sbn, BM: tl.constexpr, BN: tl.constexpr,
                  BK: tl.constexpr, ACC: tl.constexpr, OUT: tl.constexpr, PRECISION: tl.constexpr, ZERO: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    pa = a + m[:, None] * sam + k[None, :] * sak
    pb = b + k[:, None] * sbk + n[None, :] * sbn
    acc = tl.zeros((BM, BN), ACC)
    for start in range(0, K, BK):
        va = tl.load(pa, (m[:, None] < M) & (k[None, :] < K - start), other=ZERO)
        vb = tl.load(pb, (k[:, None] < K - start) & (n[None, :] < N), other=ZERO)
        acc = tl.dot(va, vb, acc, input_precision=PRECISION, out_dtype=ACC)
        pa += BK * sak
        pb += BK * sbk
    tl.store(c + m[:, None] * N + n[None, :], acc.to(OUT), (m[:, None] < M) & (n[None, :] < N))


_TL = {"fp32": tl.float32, "fp16": tl.float16, "bf16": tl.bfloat16, "fp64": tl.float64,
       "i32": tl.int32, "i8": tl.int8, "fp8e4nv": tl.float8e4nv, "fp8e5": tl.float8e5}


def _matmul(m: int, n: int, k: int, tile: tuple[int, int, int], dtype: str = "fp32",
            out: str = "fp32", acc: str = "fp32", trans: str = "nn", aligned: bool = False,
            precision: str = "ieee", suffix: str = "") -> Case:
    def args(rng):
        if dtype in ("i8", "u8"):
            low, high = (-128, 128) if dtype == "i8" else (0, 256)
            a, b = rng.integers(low, high, (m, k)), rng.integers(low, high, (k, n))
        else:
            a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        sa, sb = (k, 1), (n, 1)
        if trans[0] == "t":
            a, sa = a.T.copy(), (1, m)
        if trans[1] == "t":
            b, sb = b.T.copy(), (1, k)
        return {"a": buffer(a, dtype), "b": buffer(b, dtype), "c": poison((m, n), out), "M": m, "N": n,
                "K": k, "sam": sa[0], "sak": sa[1], "sbk": sb[0], "sbn": sb[1]}

    def expect(v):
        wide = np.int64 if dtype in ("i8", "u8") else np.float64
        a, b = v.a.astype(wide), v.b.astype(wide)
        r = (a.T if trans[0] == "t" else a) @ (b.T if trans[1] == "t" else b)
        return {"c": buffer(r.astype(np.int32) if out == "i32" else r, out).values}

    scale = np.sqrt(k)
    tolerance = {"fp64": 1e-12, "fp32": 2e-6, "i32": 0}.get(out, 2e-2)
    if acc == "fp16":
        tolerance = 2e-2
    name = f"dot_{dtype}_{m}x{n}x{k}_tile_{'x'.join(map(str, tile))}_{trans}_{out}{suffix}"
    return Case(name, matmul_kernel, args, expect,
                grid=(-(-m // tile[0]), -(-n // tile[1])),
                constexprs={"BM": tile[0], "BN": tile[1], "BK": tile[2], "ACC": _TL[acc],
                            "OUT": _TL[out], "PRECISION": precision,
                            "ZERO": 0 if out == "i32" else 0.0},
                rtol=tolerance, atol=tolerance * scale, aligned=aligned)


CASES = [_matmul(m, n, k, tile) for m, n, k, tile in (
    (64, 64, 64, (32, 32, 32)), (33, 65, 47, (16, 32, 16)), (1, 100, 64, (1, 32, 32)),
    (1, 1, 1, (1, 1, 1)), (7, 5, 3, (8, 8, 4)), (128, 128, 200, (64, 64, 64)),
    (130, 40, 70, (128, 16, 32)), (16, 300, 20, (16, 256, 16)), (5, 17, 129, (4, 16, 128)),
    (2, 48, 96, (2, 16, 32)), (100, 3, 40, (32, 2, 8)))]
CASES += [_matmul(50, 70, 90, (32, 32, 32), trans=t) for t in ("tn", "nt", "tt")]
# Few rows and b along k: with 16 registers the lanes of eight sums are added up together.
CASES += [_matmul(2 * m, n, 96, (m, tile, 32), "bf16", trans="nt", suffix="_few") for m in (1, 2, 4)
          for n, tile in ((48, 16), (13, 4), (5, 1))]
CASES += [_matmul(37, 41, 53, (16, 16, 16), "bf16", trans=t) for t in ("nn", "tn", "nt", "tt")]
CASES += [_matmul(64, 96, 128, (32, 32, 64), d, out=o) for d, o in (
    ("bf16", "fp32"), ("bf16", "bf16"), ("fp16", "fp32"), ("fp16", "fp16"))]
CASES += [_matmul(1, 96, 128, (1, 32, 64), "bf16", out="bf16"), _matmul(3, 33, 65, (4, 32, 32), "bf16"),
          _matmul(16, 64, 31, (16, 64, 32), "bf16"), _matmul(9, 20, 2, (8, 16, 2), "bf16"),
          _matmul(9, 20, 1, (8, 16, 1), "bf16"), _matmul(40, 24, 56, (16, 16, 8), "fp64", "fp64", "fp64")]
CASES += [_matmul(m, n, k, tile, "i8", "i32", "i32", trans=t) for m, n, k, tile, t in (
    (64, 64, 64, (32, 32, 32), "nn"), (17, 33, 70, (16, 16, 32), "nn"), (1, 40, 100, (1, 32, 64), "nt"),
    (20, 24, 37, (16, 32, 16), "tn"), (8, 16, 3, (8, 16, 4), "nn"))]
CASES += [_matmul(32, 32, 64, (16, 16, 32), d) for d in ("fp8e4nv", "fp8e5")]
CASES += [_matmul(32, 32, 64, (16, 16, 32), "fp16", "fp16", "fp16", suffix="_acc16")]
CASES += [_matmul(32, 64, 64, (16, 32, 32), precision=p, suffix=f"_{p}") for p in ("tf32", "tf32x3")]
CASES += [_matmul(128, 128, 128, (64, 64, 64), d, aligned=True, suffix="_aligned") for d in ("fp32", "bf16")]
CASES += [_matmul(100, 100, 100, (128, 128, 64), suffix="_big"),
          _matmul(256, 64, 64, (256, 64, 64), "bf16", suffix="_big")]


@triton.jit
def unmasked_dot_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, OUT: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    vb = tl.load(b + k[:, None] * N + n[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot(va, vb, out_dtype=OUT))


def _unmasked(m: int, n: int, k: int, dtype: str, out: str) -> Case:
    def args(rng):
        draw = rng.integers if dtype == "i8" else lambda low, high, shape: rng.standard_normal(shape)
        return {"a": buffer(draw(-128, 128, (m, k)), dtype), "b": buffer(draw(-128, 128, (k, n)), dtype),
                "c": poison((m, n), out)}

    def expect(v):
        wide = np.int64 if dtype == "i8" else np.float64
        return {"c": buffer(v.a.astype(wide) @ v.b.astype(wide), out).values}

    tolerance = 0 if out == "i32" else 2e-6
    return Case(f"dot_{dtype}_unmasked_{m}x{n}x{k}", unmasked_dot_kernel, args, expect,
                constexprs={"M": m, "N": n, "K": k, "OUT": _TL[out]}, rtol=tolerance, atol=10 * tolerance)


# Rows of b that an instruction takes together lie far apart: each is a load of its own.
CASES += [_unmasked(m, 64, 32, d, o) for m in (4, 16) for d, o in (("bf16", "fp32"), ("i8", "i32"), ("fp32", "fp32"))]


CASES.append(Case(
    "dot_i8_extremes", unmasked_dot_kernel,
    lambda rng: {"a": buffer(np.full((16, 64), -128), "i8"), "b": buffer(np.full((64, 16), -128), "i8"),
                 "c": poison((16, 16), "i32")},
    lambda v: {"c": np.full((16, 16), 64 * 128 * 128, np.int32)},
    constexprs={"M": 16, "N": 16, "K": 64, "OUT": tl.int32}))


@triton.jit
def chained_kernel(q, k, v, out, S: tl.constexpr, D: tl.constexpr, DV: tl.constexpr):
    s, d, e = tl.arange(0, S), tl.arange(0, D), tl.arange(0, DV)
    vq = tl.load(q + s[:, None] * D + d[None, :])
    vk = tl.load(k + s[:, None] * D + d[None, :])
    vv = tl.load(v + s[:, None] * DV + e[None, :])
    p = tl.dot(vq, tl.trans(vk))
    p = tl.exp(p - tl.max(p, 1)[:, None])
    p = p / tl.sum(p, 1)[:, None]
    tl.store(out + s[:, None] * DV + e[None, :], tl.dot(p.to(vv.dtype), vv))


def _chained_expect(a):
    s = a.q.astype(np.float64) @ a.k.astype(np.float64).T
    p = np.exp(s - s.max(1, keepdims=True))
    return {"out": (p / p.sum(1, keepdims=True)) @ a.v.astype(np.float64)}


CASES += [Case(f"dot_chain_attention_{dtype}_{s}x{d}", chained_kernel,
               lambda rng, dtype=dtype, s=s, d=d: {
                   "q": buffer(rng.standard_normal((s, d)) * 0.3, dtype),
                   "k": buffer(rng.standard_normal((s, d)), dtype),
                   "v": buffer(rng.standard_normal((s, 2 * d)), dtype),
                   "out": poison((s, 2 * d), "fp32")},
               _chained_expect, constexprs={"S": s, "D": d, "DV": 2 * d},
               rtol=2e-2 if dtype != "fp32" else 2e-5, atol=2e-2 if dtype != "fp32" else 2e-5)
          for dtype, s, d in (("fp32", 16, 16), ("fp32", 64, 32), ("bf16", 32, 64), ("fp16", 16, 16))]


@triton.jit
def batched_kernel(a, b, c, B: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, B)[:, None, None]
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + i * M * K + m[None, :, None] * K + k[None, None, :])
    vb = tl.load(b + i * K * N + k[None, :, None] * N + n[None, None, :])
    tl.store(c + i * M * N + m[None, :, None] * N + n[None, None, :], tl.dot(va, vb))


CASES += [Case(f"dot_batched_{dtype}", batched_kernel,
               lambda rng, dtype=dtype: {"a": buffer(rng.standard_normal((4, 16, 32)), dtype),
                                         "b": buffer(rng.standard_normal((4, 32, 16)), dtype),
                                         "c": poison((4, 16, 16), "fp32")},
               lambda v: {"c": v.a.astype(np.float64) @ v.b.astype(np.float64)},
               constexprs={"B": 4, "M": 16, "N": 16, "K": 32}, rtol=1e-5, atol=1e-5)
          for dtype in ("fp32", "bf16")]


@triton.jit
def dot_in_branch_kernel(a, b, c, flag, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    va, vb = tl.load(a + at), tl.load(b + at)
    acc = va
    if flag > 0:
        acc = tl.dot(va, vb, acc)
    elif flag < 0:
        acc = tl.dot(vb, va) - acc
    tl.store(c + at, acc)


def _branch_expect(v):
    a, b = v.a.astype(np.float64), v.b.astype(np.float64)
    return {"c": a @ b + a if v.flag > 0 else b @ a - a if v.flag < 0 else a}


CASES += [Case(f"dot_inside_if_{flag}", dot_in_branch_kernel,
               lambda rng, flag=flag: {"a": buffer(rng.standard_normal((32, 32)), "fp32"),
                                       "b": buffer(rng.standard_normal((32, 32)), "fp32"),
                                       "c": poison((32, 32), "fp32"), "flag": flag},
               _branch_expect, constexprs={"N": 32}, rtol=1e-5, atol=1e-5) for flag in (1, 0, -1)]


@triton.jit
def accumulator_used_twice_kernel(a, b, c, d, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    va, vb = tl.load(a + at), tl.load(b + at)
    first = tl.dot(va, vb)
    second = tl.dot(va, va, first)  # first is still needed
    tl.store(c + at, first)
    tl.store(d + at, second)


def _twice_expect(v):
    a, b = v.a.astype(np.float64), v.b.astype(np.float64)
    return {"c": a @ b, "d": a @ a + a @ b}


CASES.append(Case(
    "dot_accumulator_used_twice", accumulator_used_twice_kernel,
    lambda rng: {"a": buffer(rng.standard_normal((32, 32)), "fp32"),
                 "b": buffer(rng.standard_normal((32, 32)), "fp32"),
                 "c": poison((32, 32), "fp32"), "d": poison((32, 32), "fp32")},
    _twice_expect, constexprs={"N": 32}, rtol=1e-5, atol=1e-5))


@triton.jit
def rescaled_accumulator_kernel(a, b, c, steps, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc = tl.full((M, N), 1.0, tl.float32)
    scale = tl.arange(0, M).to(tl.float32) * 0.01
    for step in range(steps):
        va = tl.load(a + step * M * K + m[:, None] * K + k[None, :])
        vb = tl.load(b + step * K * N + k[:, None] * N + n[None, :])
        acc = acc * scale[:, None]
        acc = tl.dot(va, vb, acc)
        scale = scale + 0.125
    tl.store(c + m[:, None] * N + n[None, :], acc)


def _rescaled_expect(v):
    acc = np.ones(v.c.shape)
    scale = np.arange(v.c.shape[0]) * np.float64(np.float32(0.01))
    for step in range(v.steps):
        acc = acc * scale[:, None] + v.a[step].astype(np.float64) @ v.b[step].astype(np.float64)
        scale = scale + 0.125
    return {"c": acc}


CASES += [Case(f"dot_rescaled_accumulator_{steps}_steps", rescaled_accumulator_kernel,
               lambda rng, steps=steps: {"a": buffer(rng.standard_normal((max(steps, 1), 16, 32)), "fp32"),
                                         "b": buffer(rng.standard_normal((max(steps, 1), 32, 64)), "fp32"),
                                         "c": poison((16, 64), "fp32"), "steps": steps},
               _rescaled_expect, constexprs={"M": 16, "N": 64, "K": 32}, rtol=1e-5, atol=1e-5)
          for steps in (0, 1, 5)]


@triton.jit
def computed_operand_kernel(a, b, scale, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :]).to(tl.float32)
    vb = tl.load(b + n[:, None] * K + k[None, :]).to(tl.float32) * tl.load(scale + n)[:, None]
    tl.store(c + m[:, None] * N + n[None, :], tl.dot(tl.exp(va * 0.1), vb.T))


CASES.append(Case(
    "dot_of_computed_operands", computed_operand_kernel,
    lambda rng: {"a": buffer(rng.standard_normal((16, 64)), "bf16"),
                 "b": buffer(rng.integers(-128, 128, (32, 64)), "i8"),
                 "scale": buffer(rng.random(32), "fp32"), "c": poison((16, 32), "fp32")},
    lambda v: {"c": np.exp(v.a.astype(np.float64) * 0.1) @ (v.b * v.scale[:, None].astype(np.float64)).T},
    constexprs={"M": 16, "N": 32, "K": 64}, rtol=1e-4, atol=1e-2))


@triton.jit
def _load_packed(b, N: tl.constexpr, K: tl.constexpr):
    packed = tl.load(b + tl.arange(0, K * N))  # [K/2, N, 2]
    return tl.reshape(tl.permute(tl.reshape(packed, (K // 2, N, 2)), (0, 2, 1)), (K, N))


def _unpacked(b):
    k, n = b.shape
    return b.reshape(k // 2, n, 2).transpose(0, 2, 1).reshape(k, n).astype(np.float64)


@triton.jit
def vnni_packed_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot(va, _load_packed(b, N, K)))


def _vnni_expect(v):
    return {"c": v.a.astype(np.float64) @ _unpacked(v.b)}


CASES += [Case(f"dot_vnni_packed_b_m{m}{'_aligned' * aligned}{'' if dtype == 'bf16' else '_' + dtype}", vnni_packed_kernel,
               lambda rng, m=m, dtype=dtype: {"a": buffer(rng.standard_normal((m, 64)), dtype),
                                              "b": buffer(rng.standard_normal((64, 32)), dtype),
                                              "c": poison((m, 32), "fp32")},
               _vnni_expect, constexprs={"M": m, "N": 32, "K": 64}, rtol=2e-5, atol=2e-4, aligned=aligned)
          for m in (1, 4, 16) for aligned in (False, True) for dtype in ("bf16", "fp16")]


@triton.jit
def dead_rows_kernel(a, b, c, also, limit, steps, LIVE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
                     SEEN: tl.constexpr):
    """Only LIVE rows of the sums are stored; SEEN: how the others are seen all the same."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc = tl.zeros((M, N), tl.float32)
    total = tl.zeros((N,), tl.float32)
    for step in range(steps):
        va = tl.load(a + step * M * K + m[:, None] * K + k[None, :])
        vb = tl.load(b + step * K * N + k[:, None] * N + n[None, :])
        acc = tl.dot(va, vb, acc * 0.5)
        if SEEN == "summed in the loop":
            total += tl.sum(acc, axis=0)
    inside = (m < LIVE) & (m < limit)
    tl.store(c + m[:, None] * N + n[None, :], acc, mask=inside[:, None] & (n < N)[None, :])
    if SEEN == "summed":
        tl.store(also + n, tl.sum(acc, axis=0))
    elif SEEN == "summed in the loop":
        tl.store(also + n, total)
    elif SEEN == "stored":
        tl.store(also + m[:, None] * N + n[None, :], acc + 1.0)
    elif SEEN == "transposed":
        tl.store(also + m[:, None] * N + n[None, :], tl.trans(tl.trans(acc)), mask=(m >= 0)[:, None])
    elif SEEN == "multiplied":
        other = tl.load(b + k[:, None] * N + n[None, :]).to(tl.float32)
        tl.store(also + k[:, None] * M + m[None, :], tl.dot(other, tl.trans(acc)))
    elif SEEN == "index":
        tl.store(also + tl.arange(0, M), tl.argmax(acc, axis=1))
    elif SEEN == "read":  # from no page there is, if the sums were not what they are
        far = tl.where(tl.max(tl.abs(acc), axis=1) > 0.0, 0, 1 << 30)
        tl.store(also + m, tl.load(c + far.to(tl.int64) * 64) * 0.0 + 3.0, mask=inside)
    elif SEEN == "address":  # of a store that no mask ends
        tl.store(also + m[:, None] * N + n[None, :] + (acc > 1e9).to(tl.int32), 1.0)


def _dead_rows_expect(v):
    acc, total = np.zeros((v.M, v.N)), np.zeros(v.N)
    for step in range(v.steps):
        acc = acc * 0.5 + v.a[step].astype(np.float64) @ v.b[step].astype(np.float64)
        total += acc.sum(axis=0)
    c = v.c.copy()
    c[: min(v.LIVE, v.limit)] = acc[: min(v.LIVE, v.limit)]
    also = {
        "": v.also, "summed": acc.sum(axis=0), "summed in the loop": total, "stored": acc + 1, "transposed": acc,
        "multiplied": v.b[0].astype(np.float64) @ acc.T, "index": acc.argmax(axis=1), "read": np.where(np.arange(4) < v.LIVE, 3.0, v.also.ravel()[:4]), "address": np.ones_like(acc),
    }
    return {"c": c, "also": also[v.SEEN]}


_SEEN_SHAPES = {"": (1,), "summed": (32,), "summed in the loop": (32,), "multiplied": (64, 4), "index": (4,), "read": (4,)}

CASES += [Case(f"dot_rows_beyond_a_mask_{live}_{dtype}_{limit}{'_' * bool(seen)}{seen.replace(' ', '_')}", dead_rows_kernel,
               lambda rng, dtype=dtype, limit=limit, seen=seen: {
                   "a": buffer(rng.standard_normal((3, 4, 64)), dtype),
                   "b": buffer(rng.standard_normal((3, 64, 32)), dtype),
                   "c": poison((4, 32), "fp32"), "also": poison(_SEEN_SHAPES.get(seen, (4, 32)), "fp32"),
                   "limit": limit, "steps": 3},
               _dead_rows_expect, constexprs={"LIVE": live, "M": 4, "N": 32, "K": 64, "SEEN": seen}, rtol=2e-5, atol=2e-4)
          for live, dtype, limit, seen in [
              *((3, dtype, 9, seen) for dtype in ("fp32", "bf16")
                for seen in ("", "summed", "summed in the loop", "stored", "transposed", "multiplied", "index", "read", "address")),
              (1, "fp32", 9, ""), (2, "bf16", 9, ""), (3, "fp32", 2, ""), (4, "bf16", 9, "stored"), (5, "fp32", 9, "")]]


@triton.jit
def gemv_kernel(w, x, out, N, K, BN: tl.constexpr, BK: tl.constexpr):
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    acc = tl.zeros((BN, BK), tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        vw = tl.load(w + n[:, None] * K + k[None, :], (n[:, None] < N) & (k[None, :] < K), other=0)
        acc += vw.to(tl.float32) * tl.load(x + k, k < K, other=0).to(tl.float32)[None, :]
    tl.store(out + n, tl.sum(acc, 1), n < N)


CASES += [Case(f"gemv_{dtype}_{n}x{k}", gemv_kernel,
               lambda rng, dtype=dtype, n=n, k=k: {"w": buffer(rng.standard_normal((n, k)), dtype),
                                                   "x": buffer(rng.standard_normal(k), dtype),
                                                   "out": poison(n, "fp32"), "N": n, "K": k},
               lambda v: {"out": v.w.astype(np.float64) @ v.x.astype(np.float64)},
               grid=(-(-n // 4),), constexprs={"BN": 4, "BK": 64}, rtol=1e-4, atol=1e-4)
          for dtype, n, k in (("fp32", 10, 200), ("bf16", 33, 576), ("fp16", 7, 64))]


# Rows a stride apart, but not the same one for all blocks of 16 rows, or with none for the first.
@triton.jit
def uneven_rows_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FIRST: tl.constexpr, MORE: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + (m * (m // 16 * MORE + FIRST))[:, None] + k[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot(va, _load_packed(b, N, K)))


def _uneven_rows(m: int, n: int, k: int, first: int, more: int) -> Case:
    row = np.arange(m)
    at = (row * (row // 16 * more + first))[:, None] + np.arange(k)[None, :]
    return Case(f"dot_uneven_rows_{m}x{n}x{k}_{first}_{more}", uneven_rows_kernel,
                lambda rng: {"a": buffer(rng.standard_normal(at.max() + 1), "bf16"),
                             "b": buffer(rng.standard_normal((k, n)), "bf16"), "c": poison((m, n), "fp32")},
                lambda v: {"c": v.a.reshape(-1)[at].astype(np.float64) @ _unpacked(v.b)},
                constexprs={"M": m, "N": n, "K": k, "FIRST": first, "MORE": more}, rtol=2e-5, atol=2e-4)


CASES += [_uneven_rows(m, 32, 32, first, more) for m in (32, 64) for first, more in ((64, 16), (0, 64), (0, 0))]

@triton.jit
def scaled_kernel(a, sa, b, sb, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    va = tl.load(a + m[:, None] * K + k[None, :])
    vb = tl.load(b + k[:, None] * N + n[None, :])
    ks = tl.arange(0, K // 32)
    vsa = tl.load(sa + m[:, None] * (K // 32) + ks[None, :])
    vsb = tl.load(sb + n[:, None] * (K // 32) + ks[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot_scaled(va, vsa, "e4m3", vb, vsb, "e4m3"))


def _scaled_expect(v):
    a = v.a.astype(np.float64) * 2.0 ** (v.sa.astype(np.int64).repeat(32, 1) - 127)
    b = v.b.astype(np.float64) * 2.0 ** (v.sb.astype(np.int64).repeat(32, 1).T - 127)
    return {"c": a @ b}


CASES.append(Case(
    "dot_scaled_e4m3", scaled_kernel,
    lambda rng: {"a": buffer(rng.standard_normal((16, 64)), "fp8e4nv"),
                 "sa": buffer(rng.integers(120, 130, (16, 2)), "u8"),
                 "b": buffer(rng.standard_normal((64, 16)), "fp8e4nv"),
                 "sb": buffer(rng.integers(120, 130, (16, 2)), "u8"), "c": poison((16, 16), "fp32")},
    _scaled_expect, constexprs={"M": 16, "N": 16, "K": 64}, rtol=1e-4, atol=1e-3))
