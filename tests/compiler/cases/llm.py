"""Kernels of an LLM in the shapes they meet there: norms, RoPE, paged attention, int4 weights."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def rms_norm_kernel(x, w, out, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + row * n + offs, offs < n, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(v * v, 0) / n + eps)
    r = v * scale * tl.load(w + offs, offs < n).to(tl.float32)
    tl.store(out + row * n + offs, r.to(out.dtype.element_ty), offs < n)


def _rms(a):
    x = a.x.astype(np.float64)
    return {"out": x / np.sqrt((x * x).mean(1, keepdims=True) + a.eps) * a.w}


CASES = [Case(f"rms_norm_{dtype}_{n}", rms_norm_kernel,
              lambda rng, dtype=dtype, n=n: {"x": buffer(rng.standard_normal((5, n)), dtype),
                                             "w": buffer(rng.random(n), dtype),
                                             "out": poison((5, n), dtype), "n": n, "eps": 1e-5},
              _rms, grid=(5,), constexprs={"BLOCK": block}, rtol=2e-6 if dtype == "fp32" else 1e-2)
         for dtype, n, block in (("fp32", 576, 1024), ("bf16", 576, 1024), ("bf16", 64, 64))]


@triton.jit
def rope_kernel(x, cos, sin, heads, D: tl.constexpr):
    t, h = tl.program_id(0), tl.program_id(1)
    half = tl.arange(0, D // 2)
    base = x + (t * heads + h) * D
    a, b = tl.load(base + half).to(tl.float32), tl.load(base + D // 2 + half).to(tl.float32)
    c, s = tl.load(cos + t * (D // 2) + half), tl.load(sin + t * (D // 2) + half)
    tl.store(base + half, (a * c - b * s).to(x.dtype.element_ty))
    tl.store(base + D // 2 + half, (b * c + a * s).to(x.dtype.element_ty))


def _rope(v):
    a, b = np.split(v.x.astype(np.float64), 2, -1)
    c, s = v.cos[:, None], v.sin[:, None]
    return {"x": np.concatenate([a * c - b * s, b * c + a * s], -1)}


CASES += [Case(f"rope_in_place_{dtype}", rope_kernel,
               lambda rng, dtype=dtype: {"x": buffer(rng.standard_normal((4, 3, 64)), dtype),
                                         "cos": buffer(np.cos(np.arange(128)).reshape(4, 32), "fp32"),
                                         "sin": buffer(np.sin(np.arange(128)).reshape(4, 32), "fp32"),
                                         "heads": 3},
               _rope, grid=(4, 3), constexprs={"D": 64}, rtol=1e-6 if dtype == "fp32" else 1e-2,
               atol=1e-6 if dtype == "fp32" else 1e-2) for dtype in ("fp32", "bf16")]


@triton.jit
def embedding_kernel(ids, table, out, n, BLOCK: tl.constexpr):
    t = tl.program_id(0)
    row = tl.load(ids + t).to(tl.int64)
    offs = tl.arange(0, BLOCK)
    tl.store(out + t * n + offs, tl.load(table + row * n + offs, offs < n), offs < n)


CASES.append(Case(
    "embedding_rows", embedding_kernel,
    lambda rng: {"ids": buffer([5, 0, 9, 5], "i32"), "table": buffer(rng.standard_normal((10, 70)), "bf16"),
                 "out": poison((4, 70), "bf16"), "n": 70},
    lambda a: {"out": a.table[a.ids]}, grid=(4,), constexprs={"BLOCK": 128}))


@triton.jit
def embedding_block_kernel(ids, table, out, tokens, n, BT: tl.constexpr, BLOCK: tl.constexpr):
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    rows = tl.load(ids + t, t < tokens, other=0).to(tl.int64)
    offs = tl.arange(0, BLOCK)
    mask = (t[:, None] < tokens) & (offs[None, :] < n)
    tl.store(out + t[:, None] * n + offs[None, :],
             tl.load(table + rows[:, None] * n + offs[None, :], mask), mask)


CASES.append(Case(
    "embedding_block_of_rows", embedding_block_kernel,
    lambda rng: {"ids": buffer(rng.integers(0, 20, 11), "i32"),
                 "table": buffer(rng.standard_normal((20, 100)), "fp32"), "out": poison((11, 100), "fp32"),
                 "tokens": 11, "n": 100},
    lambda a: {"out": a.table[a.ids]}, grid=(3,), constexprs={"BT": 4, "BLOCK": 128}))


@triton.jit
def paged_attention_kernel(q, kc, vc, pages, lengths, out, max_pages, scale, HEADS: tl.constexpr,
                           PAGE: tl.constexpr, D: tl.constexpr):
    s = tl.program_id(0)
    h, d, at = tl.arange(0, HEADS), tl.arange(0, D), tl.arange(0, PAGE)
    length = tl.load(lengths + s)
    vq = tl.load(q + s * HEADS * D + h[:, None] * D + d[None, :]).to(tl.float32) * scale
    best = tl.full((HEADS,), float("-inf"), tl.float32)
    total = tl.zeros((HEADS,), tl.float32)
    acc = tl.zeros((HEADS, D), tl.float32)
    for page in range(0, tl.cdiv(length, PAGE)):
        base = tl.load(pages + s * max_pages + page).to(tl.int64) * (PAGE * D)
        keep = page * PAGE + at < length
        vk = tl.load(kc + base + at[:, None] * D + d[None, :], keep[:, None], other=0.0).to(tl.float32)
        score = tl.where(keep[None, :], tl.dot(vq, tl.trans(vk)), float("-inf"))
        top = tl.maximum(best, tl.max(score, 1))
        p = tl.exp(score - top[:, None])
        alpha = tl.exp(best - top)
        vv = tl.load(vc + base + at[:, None] * D + d[None, :], keep[:, None], other=0.0).to(tl.float32)
        total = total * alpha + tl.sum(p, 1)
        acc = tl.dot(p, vv, acc * alpha[:, None])
        best = top
    tl.store(out + s * HEADS * D + h[:, None] * D + d[None, :], acc / total[:, None])


def _paged_args(dtype):
    def make(rng):
        pages = rng.permutation(12).reshape(3, 4)
        return {"q": buffer(rng.standard_normal((3, 4, 64)), dtype),
                "kc": buffer(rng.standard_normal((12, 16, 64)), dtype),
                "vc": buffer(rng.standard_normal((12, 16, 64)), dtype), "pages": buffer(pages, "i32"),
                "lengths": buffer([64, 1, 37], "i32"), "out": poison((3, 4, 64), "fp32"),
                "max_pages": 4, "scale": 0.125}

    return make


def _paged(a):
    out = []
    for s in range(3):
        k = a.kc[a.pages[s]].reshape(-1, 64)[: a.lengths[s]].astype(np.float64)
        v = a.vc[a.pages[s]].reshape(-1, 64)[: a.lengths[s]].astype(np.float64)
        score = a.q[s].astype(np.float64) @ k.T * a.scale
        p = np.exp(score - score.max(1, keepdims=True))
        out.append(p / p.sum(1, keepdims=True) @ v)
    return {"out": np.stack(out)}


CASES += [Case(f"paged_attention_decode_{dtype}", paged_attention_kernel, _paged_args(dtype), _paged,
               grid=(3,), constexprs={"HEADS": 4, "PAGE": 16, "D": 64}, rtol=1e-4, atol=1e-5)
          for dtype in ("fp32", "bf16", "fp16")]


@triton.jit
def int4_gemv_kernel(w, scales, x, out, N, BN: tl.constexpr, GROUPS: tl.constexpr):
    # w: [N, GROUPS, 16] bytes; low nibbles are elements 0..15 of a group of 32, high ones 16..31
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    j = tl.arange(0, 16)
    acc = tl.zeros((BN, 16), tl.float32)
    for g in range(GROUPS):
        b = tl.load(w + (n[:, None] * GROUPS + g) * 16 + j[None, :], n[:, None] < N, other=0)
        low = (b & 15).to(tl.float32) - 8
        high = (b >> 4).to(tl.float32) - 8
        xl, xh = tl.load(x + g * 32 + j), tl.load(x + g * 32 + 16 + j)
        d = tl.load(scales + n * GROUPS + g, n < N, other=0.0).to(tl.float32)
        acc += (low * xl[None, :] + high * xh[None, :]) * d[:, None]
    tl.store(out + n, tl.sum(acc, 1), n < N)


def _int4_gemv(a):
    b = a.w.reshape(a.w.shape[0], -1, 16)
    v = np.concatenate([b & 15, b >> 4], -1).astype(np.float64) - 8
    return {"out": ((v * a.x.reshape(1, -1, 32)).sum(-1) * a.scales).sum(1)}


CASES.append(Case(
    "int4_gemv", int4_gemv_kernel,
    lambda rng: {"w": buffer(rng.integers(0, 256, (37, 18 * 16)), "u8"),
                 "scales": buffer(rng.random((37, 18)), "fp16"), "x": buffer(rng.standard_normal(576), "fp32"),
                 "out": poison(37, "fp32"), "N": 37},
    _int4_gemv, grid=(10,), constexprs={"BN": 4, "GROUPS": 18}, rtol=1e-4, atol=1e-3))


@triton.jit
def swiglu_kernel(gate_up, out, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gate_up + row * 2 * n + offs, offs < n).to(tl.float32)
    u = tl.load(gate_up + row * 2 * n + n + offs, offs < n).to(tl.float32)
    tl.store(out + row * n + offs, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), offs < n)


CASES.append(Case(
    "swiglu_bf16", swiglu_kernel,
    lambda rng: {"gate_up": buffer(rng.standard_normal((3, 400)), "bf16"), "out": poison((3, 200), "bf16"),
                 "n": 200},
    lambda a: {"out": a.gate_up[:, :200] / (1 + np.exp(-a.gate_up[:, :200].astype(np.float64)))
               * a.gate_up[:, 200:]},
    grid=(3, 2), constexprs={"BLOCK": 128}, rtol=1e-2, atol=1e-4))


@triton.jit
def threshold_sampling_kernel(logits, out, n, temperature, top_p, BLOCK: tl.constexpr,
                              STEPS: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(logits + offs, offs < n, other=float("-inf")) / temperature
    p = tl.exp(v - tl.max(v, 0))
    p = p / tl.sum(p, 0)
    low, high = 0.0, tl.max(p, 0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        mass = tl.sum(tl.where(p >= middle, p, 0.0), 0)
        low = tl.where(mass >= top_p, middle, low)
        high = tl.where(mass >= top_p, high, middle)
    kept = p >= low
    tl.store(out, tl.sum(kept.to(tl.int32), 0))
    tl.store(out + 1, tl.argmax(p, 0))


def _nucleus(a):
    v = a.logits.astype(np.float64) / np.float32(a.temperature)
    p = np.exp(v - v.max())
    p /= p.sum()
    order = np.sort(p)[::-1]
    return {"out": np.array([int(np.searchsorted(np.cumsum(order), a.top_p) + 1), p.argmax()])}


CASES.append(Case(
    "nucleus_threshold_search", threshold_sampling_kernel,
    lambda rng: {"logits": buffer(rng.standard_normal(4000) * 3, "fp32"), "out": poison(2, "i32"),
                 "n": 4000, "temperature": 0.75, "top_p": 0.9},
    _nucleus, constexprs={"BLOCK": 4096, "STEPS": 40}))


@triton.jit
def kv_write_kernel(k, cache, slots, n, BLOCK: tl.constexpr):
    t = tl.program_id(0)
    slot = tl.load(slots + t)
    if slot >= 0:
        offs = tl.arange(0, BLOCK)
        tl.store(cache + slot.to(tl.int64) * n + offs, tl.load(k + t * n + offs, offs < n), offs < n)


def _kv(a):
    cache = a.cache.copy()
    for t, slot in enumerate(a.slots):
        if slot >= 0:
            cache[slot] = a.k[t]
    return {"cache": cache}


CASES.append(Case(
    "kv_cache_write", kv_write_kernel,
    lambda rng: {"k": buffer(rng.standard_normal((4, 96)), "bf16"),
                 "cache": buffer(rng.standard_normal((9, 96)), "bf16"), "slots": buffer([3, -1, 8, 0], "i32"),
                 "n": 96},
    _kv, grid=(4,), constexprs={"BLOCK": 128}))


@triton.jit
def paged_sum_kernel(table, pool, out, begin, end):
    offs = tl.arange(0, 16)[:, None] * 32 + tl.arange(0, 32)[None, :]
    acc = tl.zeros((16, 32), dtype=tl.float32)
    for page in range(begin, end):
        acc += tl.load(pool + tl.load(table + page) * 512 + offs)
    tl.store(out + offs, acc)


def _paged_sum(a):
    return {"out": a.pool.astype(np.float64)[a.table[a.begin : a.end]].sum(0)}


# Pages are asked for one iteration ahead; the table ends where memory may not be touched.
CASES += [Case(f"paged_sum_{begin}_{end}", paged_sum_kernel,
               lambda rng, begin=begin, end=end: {"table": buffer(rng.permutation(5), "i32"),
                                                  "pool": buffer(rng.standard_normal((5, 16, 32)), "fp32"),
                                                  "out": poison((16, 32), "fp32"), "begin": begin, "end": end},
               _paged_sum, rtol=1e-6, atol=1e-6)
          for begin, end in ((0, 5), (3, 4), (4, 5), (5, 5), (5, 2))]


@triton.jit
def stream_sum_kernel(weights, scales, out, groups, LAST: tl.constexpr):
    lane = tl.arange(0, 32)
    offs = tl.arange(0, 16)[:, None] * 32 + lane[None, :]
    acc = tl.zeros((16, 32), dtype=tl.float32)
    for g in range(0, groups):
        w = tl.load(weights + g * 512 + offs, eviction_policy="evict_first")
        acc += w * tl.load(scales + g * 32 + lane, eviction_policy="evict_first")[None, :]
    if LAST:
        acc *= tl.load(scales + groups * 32 + lane, eviction_policy="evict_first")[None, :]
    tl.store(out + offs, acc)


def _stream_sum(a):
    scales = a.scales.astype(np.float64).reshape(-1, 1, 32)
    total = (a.weights.astype(np.float64).reshape(-1, 16, 32) * scales[: a.groups]).sum(0)
    return {"out": total * scales[a.groups] if len(scales) > a.groups else total}


# Asked for ahead, past the last element too, which is followed by memory that may not be touched.
CASES += [Case(f"stream_sum_{groups}" + "_last" * last, stream_sum_kernel,
               lambda rng, groups=groups, last=last: {
                   "weights": buffer(rng.standard_normal(groups * 512), "fp32"),
                   "scales": buffer(rng.standard_normal((groups + last) * 32), "fp32"),
                   "out": poison((16, 32), "fp32"), "groups": groups},
               _stream_sum, constexprs={"LAST": last}, rtol=1e-5, atol=1e-5) for groups in (1, 7) for last in (0, 1)]


@triton.jit
def paged_dot_kernel(q, table, pool, out, begin, end, M: tl.constexpr):
    row = tl.arange(0, M)
    d = tl.arange(0, 32)
    at = tl.arange(0, 16)
    qs = tl.load(q + row[:, None] * 32 + d[None, :])
    acc = tl.zeros((M, 32), dtype=tl.float32)
    for page in range(begin, end):
        base = tl.load(table + page) * 1024
        k = tl.load(pool + base + d[:, None] * 16 + at[None, :])
        v = tl.load(pool + base + 512 + at[:, None] * 32 + d[None, :])
        acc = tl.dot(tl.dot(qs, k, input_precision="ieee"), v, acc, input_precision="ieee")
    tl.store(out + row[:, None] * 32 + d[None, :], acc)


def _paged_dot(a):
    pages = a.pool.astype(np.float64)[a.table[a.begin : a.end]]
    k, v = pages[:, :512].reshape(-1, 32, 16), pages[:, 512:].reshape(-1, 16, 32)
    return {"out": np.einsum("md,pdt,pte->me", a.q.astype(np.float64), k, v)}


# Few rows ask for the next page's lines along k, many with each of their blocks.
CASES += [Case(f"paged_dot_{m}_{begin}_{end}", paged_dot_kernel,
               lambda rng, m=m, begin=begin, end=end: {
                   "q": buffer(rng.standard_normal((m, 32)), "fp32"), "table": buffer(rng.permutation(5), "i32"),
                   "pool": buffer(rng.standard_normal((5, 1024)), "fp32"), "out": poison((m, 32), "fp32"),
                   "begin": begin, "end": end},
               _paged_dot, constexprs={"M": m}, rtol=1e-4, atol=1e-4)
          for m in (4, 64) for begin, end in ((0, 5), (4, 5), (5, 2))]


@triton.jit
def two_panels_kernel(x, weights, out, k, M: tl.constexpr, K: tl.constexpr):
    row = tl.arange(0, M)
    panel = tl.arange(0, 2)
    lane = tl.arange(0, 32)
    at = (panel * k * 32)[None, :, None] + (tl.arange(0, K) * 32)[:, None, None] + lane[None, None, :]
    acc = tl.zeros((M, 64), dtype=tl.float32)
    for k0 in range(0, k, K):
        w = tl.load(weights + at + k0 * 32, eviction_policy="evict_first")
        xs = tl.load(x + row[:, None] * k + k0 + tl.arange(0, K)[None, :])
        acc = tl.dot(xs, tl.reshape(w, (K, 64)), acc, input_precision="ieee")
    tl.store(out + row[:, None] * 64 + tl.arange(0, 64)[None, :], acc)


def _two_panels(a):
    panels = a.weights.astype(np.float64).reshape(2, -1, 32)
    return {"out": np.concatenate([a.x.astype(np.float64) @ panel for panel in panels], axis=1)}


# Two streams at once, three dimensions, as panels of weights side by side are read.
CASES += [Case(f"two_panels_{m}_{step}", two_panels_kernel,
               lambda rng, m=m: {"x": buffer(rng.standard_normal((m, 96)), "fp32"),
                                 "weights": buffer(rng.standard_normal(2 * 96 * 32), "fp32"),
                                 "out": poison((m, 64), "fp32"), "k": 96},
               _two_panels, constexprs={"M": m, "K": step}, rtol=1e-4, atol=1e-4)
          for m in (1, 4, 32) for step in (16, 32)]


@triton.jit
def code_panels_kernel(x, codes, out, k, M: tl.constexpr, K: tl.constexpr):
    row = tl.arange(0, M)
    at = tl.arange(0, K)[:, None] * 64 + tl.arange(0, 64)[None, :]
    acc = tl.zeros((M, 64), dtype=tl.int32)
    for k0 in range(0, k, K):
        w = tl.load(codes + k0 * 64 + at, eviction_policy="evict_first") & 15
        acc = tl.dot(tl.load(x + row[:, None] * k + k0 + tl.arange(0, K)[None, :]), w, acc)
    tl.store(out + row[:, None] * 64 + tl.arange(0, 64)[None, :], acc)


# The same with sums of bytes, in 16 bits first where a processor does that.
CASES += [Case(f"code_panels_{m}", code_panels_kernel,
               lambda rng, m=m: {"x": buffer(rng.integers(-128, 128, (m, 192)), "i8"),
                                 "codes": buffer(rng.integers(-128, 128, (192, 64)), "i8"),
                                 "out": poison((m, 64), "i32"), "k": 192},
               lambda a: {"out": a.x.astype(np.int64) @ (a.codes.astype(np.int64) & 15)},
               constexprs={"M": m, "K": 64}) for m in (1, 32)]
