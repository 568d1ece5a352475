"""The kernels of Triton's tutorials, written anew."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison, zeros
from case import Case


@triton.jit
def grouped_matmul_kernel(a, b, c, M, N, K, sam, sak, sbk, sbn, scm, scn, BM: tl.constexpr,
                          BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, LEAKY: tl.constexpr):
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    in_group = GROUP * tiles_n
    first_m = pid // in_group * GROUP
    group_m = min(tiles_m - first_m, GROUP)
    pid_m = first_m + (pid % in_group) % group_m
    pid_n = (pid % in_group) // group_m
    tl.assume(pid_m >= 0)
    tl.assume(pid_n >= 0)
    tl.assume(sam > 0)
    rows = (pid_m * BM + tl.arange(0, BM)) % M
    cols = (pid_n * BN + tl.arange(0, BN)) % N
    k = tl.arange(0, BK)
    pa = a + (rows[:, None] * sam + k[None, :] * sak)
    pb = b + (k[:, None] * sbk + cols[None, :] * sbn)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for step in range(0, tl.cdiv(K, BK)):
        va = tl.load(pa, mask=k[None, :] < K - step * BK, other=0.0)
        vb = tl.load(pb, mask=k[:, None] < K - step * BK, other=0.0)
        acc = tl.dot(va, vb, acc)
        pa += BK * sak
        pb += BK * sbk
    if LEAKY:
        acc = tl.where(acc >= 0, acc, 0.01 * acc)
    out = acc.to(c.dtype.element_ty)
    m = pid_m * BM + tl.arange(0, BM)
    n = pid_n * BN + tl.arange(0, BN)
    tl.store(c + scm * m[:, None] + scn * n[None, :], out, (m[:, None] < M) & (n[None, :] < N))


def _grouped_matmul(dtype: str, leaky: bool, shape: tuple[int, int, int]) -> Case:
    m, n, k = shape

    def args(rng):
        return {"a": buffer(rng.standard_normal((m, k)), dtype),
                "b": buffer(rng.standard_normal((k, n)), dtype), "c": poison((m, n), dtype), "M": m,
                "N": n, "K": k, "sam": k, "sak": 1, "sbk": n, "sbn": 1, "scm": n, "scn": 1}

    def expect(v):
        r = v.a.astype(np.float64) @ v.b.astype(np.float64)
        return {"c": np.where(r >= 0, r, 0.01 * r) if leaky else r}

    tol = 1e-4 if dtype == "fp32" else 3e-2
    grid = -(-m // 32) * -(-n // 64)
    return Case(f"tutorial_matmul_{dtype}_{m}x{n}x{k}{'_leaky' if leaky else ''}", grouped_matmul_kernel,
                args, expect, grid=(grid,), threads=2,
                constexprs={"BM": 32, "BN": 64, "BK": 32, "GROUP": 4, "LEAKY": leaky}, rtol=tol, atol=tol * 4)


CASES = [_grouped_matmul("fp32", False, (128, 128, 64)), _grouped_matmul("fp32", True, (100, 130, 77)),
         _grouped_matmul("fp16", True, (64, 64, 128)), _grouped_matmul("bf16", False, (200, 65, 33))]


@triton.jit
def persistent_softmax_kernel(out, x, x_stride, out_stride, rows, cols, BLOCK: tl.constexpr):
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=2):
        offs = tl.arange(0, BLOCK)
        v = tl.load(x + row * x_stride + offs, mask=offs < cols, other=-float("inf"))
        shifted = v - tl.max(v, axis=0)
        e = tl.exp(shifted)
        tl.store(out + row * out_stride + offs, e / tl.sum(e, axis=0), mask=offs < cols)


def _softmax(a):
    e = np.exp(a.x.astype(np.float64) - a.x.max(1, keepdims=True))
    return {"out": e / e.sum(1, keepdims=True)}


CASES.append(Case(
    "tutorial_fused_softmax", persistent_softmax_kernel,
    lambda rng: {"out": poison((37, 781), "fp32"), "x": buffer(rng.standard_normal((37, 781)), "fp32"),
                 "x_stride": 781, "out_stride": 781, "rows": 37, "cols": 781},
    _softmax, grid=(4,), threads=2, constexprs={"BLOCK": 1024}, rtol=1e-5, atol=1e-8))


@triton.jit
def layer_norm_fwd_kernel(x, y, w, b, mean_out, rstd_out, stride, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    x += row * stride
    y += row * stride
    acc = tl.zeros([BLOCK], dtype=tl.float32)
    for off in range(0, n, BLOCK):
        cols = off + tl.arange(0, BLOCK)
        acc += tl.load(x + cols, mask=cols < n, other=0.0).to(tl.float32)
    mean = tl.sum(acc, axis=0) / n
    acc = tl.zeros([BLOCK], dtype=tl.float32)
    for off in range(0, n, BLOCK):
        cols = off + tl.arange(0, BLOCK)
        v = tl.load(x + cols, mask=cols < n, other=0.0).to(tl.float32)
        v = tl.where(cols < n, v - mean, 0.0)
        acc += v * v
    rstd = 1 / tl.sqrt(tl.sum(acc, axis=0) / n + eps)
    tl.store(mean_out + row, mean)
    tl.store(rstd_out + row, rstd)
    for off in range(0, n, BLOCK):
        cols = off + tl.arange(0, BLOCK)
        mask = cols < n
        vw, vb = tl.load(w + cols, mask=mask), tl.load(b + cols, mask=mask)
        v = tl.load(x + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(y + cols, (v - mean) * rstd * vw + vb, mask=mask)


def _layer_norm(a):
    x = a.x.astype(np.float64)
    mean, var = x.mean(1), x.var(1)
    rstd = 1 / np.sqrt(var + a.eps)
    return {"mean_out": mean, "rstd_out": rstd, "y": (x - mean[:, None]) * rstd[:, None] * a.w + a.b}


CASES += [Case(f"tutorial_layer_norm_forward_{dtype}_{n}", layer_norm_fwd_kernel,
               lambda rng, dtype=dtype, n=n: {
                   "x": buffer(rng.standard_normal((9, n)), dtype), "y": poison((9, n), dtype),
                   "w": buffer(rng.random(n), dtype), "b": buffer(rng.random(n), dtype),
                   "mean_out": poison(9, "fp32"), "rstd_out": poison(9, "fp32"), "stride": n, "n": n,
                   "eps": 1e-5},
               _layer_norm, grid=(9,), constexprs={"BLOCK": 256}, rtol=1e-5 if dtype == "fp32" else 2e-2,
               atol=1e-5 if dtype == "fp32" else 2e-2)
          for dtype, n in (("fp32", 1151), ("fp16", 512), ("bf16", 100))]


@triton.jit
def layer_norm_bwd_kernel(dx, dy, dw, db, x, w, mean, rstd, lock, stride, n, GROUP: tl.constexpr,
                          BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < n
    vx = tl.load(x + row * stride + cols, mask=mask, other=0).to(tl.float32)
    vdy = tl.load(dy + row * stride + cols, mask=mask, other=0).to(tl.float32)
    vw = tl.load(w + cols, mask=mask).to(tl.float32)
    m, r = tl.load(mean + row), tl.load(rstd + row)
    xhat = tl.where(mask, (vx - m) * r, 0.0)
    wdy = tl.where(mask, vw * vdy, 0.0)
    c1 = tl.sum(xhat * wdy, axis=0) / n
    c2 = tl.sum(wdy, axis=0) / n
    tl.store(dx + row * stride + cols, (wdy - (xhat * c1 + c2)) * r, mask=mask)
    group = row % GROUP
    count = lock + GROUP + group
    while tl.atomic_cas(lock + group, 0, 1) == 1:
        pass
    pw = dw + group * n + cols
    pb = db + group * n + cols
    part_w, part_b = vdy * xhat, vdy
    if tl.load(count) == 0:
        tl.atomic_xchg(count, 1)
    else:
        part_w += tl.load(pw, mask=mask)
        part_b += tl.load(pb, mask=mask)
    tl.store(pw, part_w, mask=mask)
    tl.store(pb, part_b, mask=mask)
    tl.debug_barrier()
    tl.atomic_xchg(lock + group, 0)


def _layer_norm_bwd(a):
    x, dy, w = (v.astype(np.float64) for v in (a.x, a.dy, a.w))
    xhat = (x - a.mean[:, None]) * a.rstd[:, None]
    wdy = w * dy
    c1, c2 = (xhat * wdy).mean(1, keepdims=True), wdy.mean(1, keepdims=True)
    groups = np.arange(x.shape[0]) % 4
    dw = np.stack([(dy * xhat)[groups == g].sum(0) for g in range(4)])
    db = np.stack([dy[groups == g].sum(0) for g in range(4)])
    return {"dx": (wdy - (xhat * c1 + c2)) * a.rstd[:, None], "dw": dw, "db": db,
            "lock": np.array([0] * 4 + [1] * 4)}


def _layer_norm_bwd_args(rng):
    x = rng.standard_normal((33, 200)).astype(np.float32)
    return {"dx": poison((33, 200), "fp32"), "dy": buffer(rng.standard_normal((33, 200)), "fp32"),
            "dw": poison((4, 200), "fp32"), "db": poison((4, 200), "fp32"), "x": buffer(x, "fp32"),
            "w": buffer(rng.random(200), "fp32"), "mean": buffer(x.mean(1), "fp32"),
            "rstd": buffer(1 / x.std(1), "fp32"), "lock": zeros(8, "i32"), "stride": 200, "n": 200}


CASES.append(Case("tutorial_layer_norm_backward_locks", layer_norm_bwd_kernel, _layer_norm_bwd_args,
                  _layer_norm_bwd, grid=(33,), threads=3, constexprs={"GROUP": 4, "BLOCK": 256},
                  rtol=1e-4, atol=1e-4))


@triton.jit
def column_sums_kernel(partial, total, rows, n, BM: tl.constexpr, BN: tl.constexpr):
    cols = tl.program_id(0) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, rows, BM):
        r = start + tl.arange(0, BM)
        mask = (r[:, None] < rows) & (cols[None, :] < n)
        acc += tl.load(partial + r[:, None] * n + cols[None, :], mask=mask, other=0.0)
    tl.store(total + cols, tl.sum(acc, axis=0), mask=cols < n)


CASES.append(Case(
    "tutorial_column_sums", column_sums_kernel,
    lambda rng: {"partial": buffer(rng.standard_normal((70, 333)), "fp32"), "total": poison(333, "fp32"),
                 "rows": 70, "n": 333},
    lambda a: {"total": a.partial.sum(0, dtype=np.float64)}, grid=(3,), constexprs={"BM": 32, "BN": 128},
    rtol=1e-5, atol=1e-5))


@triton.jit
def attention_kernel(q, k, v, out, lse, scale, seq, heads, BM: tl.constexpr, BN: tl.constexpr,
                     D: tl.constexpr, CAUSAL: tl.constexpr):
    start = tl.program_id(0) * BM
    base = tl.program_id(1).to(tl.int64) * seq * D
    m, n, d = start + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, D)
    best = tl.full([BM], -float("inf"), dtype=tl.float32)
    total = tl.zeros([BM], dtype=tl.float32) + 1.0
    acc = tl.zeros([BM, D], dtype=tl.float32)
    vq = tl.load(q + base + m[:, None] * D + d[None, :], mask=m[:, None] < seq, other=0.0)
    qk_scale = scale * 1.44269504
    total = tl.zeros([BM], dtype=tl.float32)
    if CAUSAL:
        end = min(seq, start + BM)
    else:
        end = seq
    for at in range(0, end, BN):
        cols = at + n
        vk = tl.load(k + base + cols[None, :] * D + d[:, None], mask=cols[None, :] < seq, other=0.0)
        s = tl.dot(vq, vk) * qk_scale
        keep = cols[None, :] < seq
        if CAUSAL:
            keep = keep & (m[:, None] >= cols[None, :])
        s = tl.where(keep, s, -float("inf"))
        new_best = tl.maximum(best, tl.max(s, 1))
        p = tl.math.exp2(s - new_best[:, None])
        alpha = tl.math.exp2(best - new_best)
        total = total * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None]
        vv = tl.load(v + base + cols[:, None] * D + d[None, :], mask=cols[:, None] < seq, other=0.0)
        acc = tl.dot(p.to(vv.dtype), vv, acc)
        best = new_best
    tl.store(lse + tl.program_id(1) * seq + m, best + tl.math.log2(total), mask=m < seq)
    acc = acc / total[:, None]
    tl.store(out + base + m[:, None] * D + d[None, :], acc.to(out.dtype.element_ty),
             mask=m[:, None] < seq)


def _attention(dtype: str, causal: bool, seq: int, d: int, tile: tuple[int, int]) -> Case:
    heads = 3

    def args(rng):
        q, k, v = rng.standard_normal((3, heads, seq, d))
        return {"q": buffer(q, dtype), "k": buffer(k, dtype), "v": buffer(v, dtype),
                "out": poison((heads, seq, d), dtype), "lse": poison((heads, seq), "fp32"),
                "scale": d**-0.5, "seq": seq, "heads": heads}

    def expect(a):
        s = a.q.astype(np.float64) @ a.k.astype(np.float64).transpose(0, 2, 1) * np.float32(a.scale)
        if causal:
            s = np.where(np.tril(np.ones((seq, seq), bool)), s, -np.inf)
        top = s.max(-1, keepdims=True)
        p = np.exp(s - top)
        total = p.sum(-1, keepdims=True)
        return {"out": p / total @ a.v.astype(np.float64),
                "lse": ((top + np.log(total)) * 1.44269504)[..., 0]}

    tol = 2e-5 if dtype == "fp32" else 2e-2
    return Case(f"tutorial_attention_{dtype}_{seq}x{d}{'_causal' if causal else ''}", attention_kernel, args,
                expect, grid=(-(-seq // tile[0]), heads), threads=2,
                constexprs={"BM": tile[0], "BN": tile[1], "D": d, "CAUSAL": causal}, rtol=tol, atol=tol)


CASES += [_attention("fp32", False, 128, 64, (32, 32)), _attention("fp32", True, 100, 32, (32, 16)),
          _attention("bf16", True, 130, 64, (64, 32)), _attention("bf16", False, 77, 64, (16, 64)),
          _attention("fp16", True, 64, 128, (16, 16)), _attention("bf16", True, 1, 64, (1, 16))]


@triton.jit
def grouped_gemm_kernel(ptrs, sizes, groups, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    tile = tl.program_id(0)
    done = 0
    for g in range(groups):
        M, N, K = tl.load(sizes + g * 3), tl.load(sizes + g * 3 + 1), tl.load(sizes + g * 3 + 2)
        tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
        tiles = tiles_m * tiles_n
        while tile >= done and tile < done + tiles:
            a = tl.load(ptrs + g * 3).to(tl.pointer_type(tl.float32))
            b = tl.load(ptrs + g * 3 + 1).to(tl.pointer_type(tl.float32))
            c = tl.load(ptrs + g * 3 + 2).to(tl.pointer_type(tl.float32))
            m = (tile - done) // tiles_n * BM + tl.arange(0, BM)
            n = (tile - done) % tiles_n * BN + tl.arange(0, BN)
            acc = tl.zeros((BM, BN), dtype=tl.float32)
            for start in range(0, K, BK):
                k = start + tl.arange(0, BK)
                va = tl.load(a + m[:, None] * K + k[None, :], (m[:, None] < M) & (k[None, :] < K), other=0.0)
                vb = tl.load(b + k[:, None] * N + n[None, :], (k[:, None] < K) & (n[None, :] < N), other=0.0)
                acc += tl.dot(va, vb)
            tl.store(c + m[:, None] * N + n[None, :], acc, (m[:, None] < M) & (n[None, :] < N))
            tile += tl.num_programs(0)
        done += tiles


_GROUPS = ((40, 50, 30), (16, 16, 16), (7, 90, 65))


def _grouped_args(rng):
    # Addresses of arrays outside of the argument list; kept alive by the closure's default below.
    arrays = []
    for m, n, k in _GROUPS:
        for shape in ((m, k), (k, n), (m, n)):
            b = buffer(rng.standard_normal(shape), "fp32")
            b.place(False, 64)
            arrays.append(b)
    _GROUPED_ARRAYS[:] = arrays
    table = [b.address for b in arrays]
    return {"ptrs": buffer(np.array(table, np.int64), "i64"), "sizes": buffer(_GROUPS, "i32"), "groups": 3}


_GROUPED_ARRAYS: list = []


def _grouped_expect(a):
    for g in range(3):
        x, y, z = _GROUPED_ARRAYS[3 * g: 3 * g + 3]
        np.testing.assert_allclose(z.after, x.values @ y.values, rtol=1e-4, atol=1e-4)
    return {}


CASES.append(Case("tutorial_grouped_gemm", grouped_gemm_kernel, _grouped_args, _grouped_expect, grid=(5,),
                  constexprs={"BM": 16, "BN": 32, "BK": 16}))


@triton.jit
def persistent_matmul_kernel(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    tiles_n = tl.cdiv(N, BN)
    tiles = tl.cdiv(M, BM) * tiles_n
    steps = tl.cdiv(K, BK)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=True):
        m = tile // tiles_n * BM + tl.arange(0, BM)
        n = tile % tiles_n * BN + tl.arange(0, BN)
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for step in range(steps):
            k = step * BK + tl.arange(0, BK)
            va = tl.load(a + m[:, None] * K + k[None, :], (m[:, None] < M) & (k[None, :] < K), other=0.0)
            vb = tl.load(b + k[:, None] * N + n[None, :], (k[:, None] < K) & (n[None, :] < N), other=0.0)
            acc = tl.dot(va, vb, acc)
        tl.store(c + m[:, None] * N + n[None, :], acc, (m[:, None] < M) & (n[None, :] < N))


CASES.append(Case(
    "tutorial_persistent_matmul", persistent_matmul_kernel,
    lambda rng: {"a": buffer(rng.standard_normal((70, 50)), "bf16"),
                 "b": buffer(rng.standard_normal((50, 90)), "bf16"), "c": poison((70, 90), "fp32"),
                 "M": 70, "N": 90, "K": 50},
    lambda v: {"c": v.a.astype(np.float64) @ v.b.astype(np.float64)}, grid=(3,), threads=3,
    constexprs={"BM": 32, "BN": 32, "BK": 32}, rtol=1e-5, atol=1e-5))
