"""Ops that few kernels use: scaled dots in fp4, map_elementwise, prints, 4096-element odd corners."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import Buffer, buffer, poison
from case import Case

_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


@triton.jit
def scaled_fp4_kernel(a, sa, b, sb, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    half, ks = tl.arange(0, K // 2), tl.arange(0, K // 32)
    va = tl.load(a + m[:, None] * (K // 2) + half[None, :])
    vb = tl.load(b + half[:, None] * N + n[None, :])
    vsa = tl.load(sa + m[:, None] * (K // 32) + ks[None, :])
    vsb = tl.load(sb + n[:, None] * (K // 32) + ks[None, :])
    tl.store(c + m[:, None] * N + n[None, :], tl.dot_scaled(va, vsa, "e2m1", vb, vsb, "e2m1"))


def _unpack(bytes_: np.ndarray, axis: int) -> np.ndarray:
    pair = np.stack([_E2M1[bytes_ & 15], _E2M1[bytes_ >> 4]], axis + 1)
    shape = list(bytes_.shape)
    shape[axis] *= 2
    return pair.reshape(shape)


def _fp4_expect(v):
    a = _unpack(v.a, 1) * 2.0 ** (v.sa.astype(int).repeat(32, 1) - 127)
    b = _unpack(v.b, 0) * 2.0 ** (v.sb.astype(int).repeat(32, 1).T - 127)
    return {"c": a @ b}


CASES = [Case("dot_scaled_e2m1", scaled_fp4_kernel,
              lambda rng: {"a": buffer(rng.integers(0, 256, (16, 32)), "u8"),
                           "sa": buffer(rng.integers(120, 130, (16, 2)), "u8"),
                           "b": buffer(rng.integers(0, 256, (32, 16)), "u8"),
                           "sb": buffer(rng.integers(120, 130, (16, 2)), "u8"),
                           "c": poison((16, 16), "fp32")},
              _fp4_expect, constexprs={"M": 16, "N": 16, "K": 64}, rtol=1e-5, atol=1e-4)]


@triton.jit
def scaled_mixed_kernel(a, b, sb, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    half, ks = tl.arange(0, K // 2), tl.arange(0, K // 32)
    va = tl.load(a + m[:, None] * K + k[None, :])
    vb = tl.load(b + half[:, None] * N + n[None, :])
    vsb = tl.load(sb + n[:, None] * (K // 32) + ks[None, :])
    acc = tl.full((M, N), 1.0, tl.float32)
    acc = tl.dot_scaled(va, None, "bf16", vb, vsb, "e2m1", acc=acc)
    tl.store(c + m[:, None] * N + n[None, :], acc)


CASES.append(Case(
    "dot_scaled_bf16_by_e2m1", scaled_mixed_kernel,
    lambda rng: {"a": buffer(rng.standard_normal((16, 64)), "bf16"),
                 "b": buffer(rng.integers(0, 256, (32, 16)), "u8"),
                 "sb": buffer(rng.integers(120, 130, (16, 2)), "u8"), "c": poison((16, 16), "fp32")},
    lambda v: {"c": 1 + v.a.astype(np.float64)
               @ (_unpack(v.b, 0) * 2.0 ** (v.sb.astype(int).repeat(32, 1).T - 127))},
    constexprs={"M": 16, "N": 16, "K": 64}, rtol=1e-5, atol=1e-4))


@triton.jit
def _pick(x, y):
    if x > y:
        return x - y
    else:
        return y * 2


@triton.jit
def map_kernel(x, y, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(out + offs, tl.map_elementwise(_pick, tl.load(x + offs), tl.load(y + offs)))


CASES.append(Case(
    "map_elementwise_branches", map_kernel,
    lambda rng: {"x": buffer(rng.integers(-9, 9, 64), "i32"), "y": buffer(rng.integers(-9, 9, 64), "i32"),
                 "out": poison(64, "i32")},
    lambda a: {"out": np.where(a.x > a.y, a.x - a.y, a.y * 2)}, constexprs={"N": 64}))


@triton.jit
def print_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs)
    tl.device_print("value", v)
    tl.device_print("pid", tl.program_id(0))
    tl.store(out + offs, v)


CASES.append(Case(
    "device_print", print_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(4), "fp32"), "out": poison(4, "fp32")},
    lambda a: {"out": a.x}, constexprs={"N": 4}))


@triton.jit
def assert_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs)
    tl.device_assert(v < 100, "too large")
    tl.store(out + offs, v)


CASES.append(Case(
    "device_assert_holds", assert_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(16), "fp32"), "out": poison(16, "fp32")},
    lambda a: {"out": a.x}, constexprs={"N": 16}))


@triton.jit
def inline_asm_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.inline_asm_elementwise("add.s32 $0, $1, 1;", "=r,r", [tl.load(x + offs)], dtype=tl.int32,
                                  is_pure=True, pack=1)
    tl.store(out + offs, v)


CASES.append(Case(
    "gpu_inline_asm_is_refused", inline_asm_kernel,
    lambda rng: {"x": buffer(np.arange(16), "i32"), "out": poison(16, "i32")}, lambda a: {},
    constexprs={"N": 16}, unsupported="elementwise_inline_asm"))


@triton.jit
def volatile_and_hints_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs, cache_modifier=".cg", eviction_policy="evict_first", volatile=True)
    w = tl.load(x + offs, eviction_policy="evict_last")
    tl.store(out + offs, v + w, cache_modifier=".wt")


CASES.append(Case(
    "cache_hints", volatile_and_hints_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(48), "fp32"), "out": poison(32, "fp32")},
    lambda a: {"out": a.x[:32] * 2}, constexprs={"N": 32}))


@triton.jit
def table_lookup_kernel(codes, table, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(out + offs, tl.load(table + tl.load(codes + offs).to(tl.int32)))


CASES.append(Case(
    "table_lookup_of_bytes", table_lookup_kernel,
    lambda rng: {"codes": buffer(rng.integers(0, 256, 512), "u8"),
                 "table": buffer(rng.standard_normal(256), "fp16"), "out": poison(512, "fp16")},
    lambda a: {"out": a.table[a.codes]}, constexprs={"N": 512}))


@triton.jit
def fp8_cache_kernel(x, scale, out, n, D: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.arange(0, D)
    v = tl.load(x + row * D + offs).to(tl.float32) * tl.load(scale + row)
    tl.store(out + row * D + offs, v)


CASES.append(Case(
    "fp8_rows_with_scale", fp8_cache_kernel,
    lambda rng: {"x": Buffer(rng.integers(0, 120, (5, 64)).astype(np.uint8), "fp8e4nv"),
                 "scale": buffer(rng.random(5), "fp32"), "out": poison((5, 64), "fp32"), "n": 5},
    lambda a: {"out": a.x * a.scale[:, None]}, grid=(5,), constexprs={"D": 64}))


@triton.jit
def running_max_kernel(x, out, rows, N: tl.constexpr):
    offs = tl.arange(0, N)
    best = tl.full((N,), -float("inf"), tl.float32)
    where = tl.zeros((N,), tl.int32)
    for r in range(rows):
        v = tl.load(x + r * N + offs)
        better = v > best
        best = tl.where(better, v, best)
        where = tl.where(better, r, where)
    tl.store(out + offs, where)


CASES += [Case(f"argmax_over_rows_{n}", running_max_kernel,
               lambda rng, n=n: {"x": buffer(rng.integers(0, 50, (30, n)), "fp32"), "out": poison(n, "i32"),
                                 "rows": 30},
               lambda a: {"out": a.x.argmax(0).astype(np.int32)}, constexprs={"N": n})
          for n in (1, 8, 2048)]


@triton.jit
def mixed_layout_kernel(x, y, out, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.arange(0, M), tl.arange(0, N)
    a = tl.load(x + m[:, None] + n[None, :] * M)  # column-major
    b = tl.load(y + m[:, None] * N + n[None, :])
    s = tl.sum(a * b, 1)
    tl.store(out + m[:, None] * N + n[None, :], a - b + s[:, None])


CASES += [Case(f"column_major_meets_row_major_{m}x{n}", mixed_layout_kernel,
               lambda rng, m=m, n=n: {"x": buffer(rng.integers(-9, 9, (n, m)), "fp32"),
                                      "y": buffer(rng.integers(-9, 9, (m, n)), "fp32"),
                                      "out": poison((m, n), "fp32")},
               lambda a: {"out": a.x.T - a.y + (a.x.T * a.y).sum(1, keepdims=True)},
               constexprs={"M": m, "N": n}) for m, n in ((16, 16), (64, 32), (4, 128), (128, 4))]


@triton.jit
def fp8_saturation_kernel(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(out + offs, tl.load(x + offs).to(tl.float8e4nv))


CASES.append(Case(
    "fp8_saturates", fp8_saturation_kernel,
    lambda rng: {"x": buffer([448, 449, 464, 465, 1e9, np.inf, -1e9, -np.inf] * 2, "fp32"),
                 "out": poison(16, "fp8e4nv")},
    lambda a: {"out": np.array([448] * 6 + [-448] * 2).repeat(1).tolist() * 2}, constexprs={"N": 16}))
