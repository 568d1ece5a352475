"""Atomics under several threads, locks, and the random number generator."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison, zeros
from case import Case


@triton.jit
def rmw_kernel(target, x, OP: tl.constexpr, BLOCK: tl.constexpr):
    v = tl.load(x + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    at = target + tl.arange(0, BLOCK) % 4
    if OP == "add":
        tl.atomic_add(at, v)
    elif OP == "max":
        tl.atomic_max(at, v)
    elif OP == "min":
        tl.atomic_min(at, v)
    elif OP == "and":
        tl.atomic_and(at, v)
    elif OP == "or":
        tl.atomic_or(at, v)
    elif OP == "xor":
        tl.atomic_xor(at, v)


_UFUNCS = {"add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and,
           "or": np.bitwise_or, "xor": np.bitwise_xor}


def _rmw(op: str, dtype: str) -> Case:
    def args(rng):
        low = 0 if dtype[0] == "u" else -1000
        return {"x": buffer(rng.integers(low, 1000, (40, 32)), dtype),
                "target": buffer(rng.integers(0, 1000, 4), dtype)}

    def expect(a):
        flat = a.x.reshape(-1, 4).astype(np.float64 if dtype[:2] == "fp" else a.x.dtype)
        return {"target": _UFUNCS[op](a.target, _UFUNCS[op].reduce(flat, 0)).astype(a.target.dtype)}

    return Case(f"atomic_{op}_{dtype}", rmw_kernel, args, expect, grid=(40,), threads=4,
                constexprs={"OP": op, "BLOCK": 32})


CASES = [_rmw(op, "i32") for op in _UFUNCS]
CASES += [_rmw("add", d) for d in ("fp32", "fp64", "i64", "u32")]
CASES += [_rmw("max", "fp32"), _rmw("min", "fp32"), _rmw("max", "u32"), _rmw("min", "i64")]


@triton.jit
def rmw_f16_kernel(target, BLOCK: tl.constexpr):
    tl.atomic_add(target + tl.arange(0, BLOCK), tl.full((BLOCK,), 1.0, tl.float16))


CASES.append(Case("atomic_add_fp16", rmw_f16_kernel, lambda rng: {"target": zeros(16, "fp16")},
                  lambda a: {"target": np.full(16, 50.0)}, grid=(50,), threads=2,
                  constexprs={"BLOCK": 16}))


@triton.jit
def masked_old_value_kernel(target, old, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    r = tl.atomic_add(target + offs, offs, mask=offs < n)
    tl.store(old + offs, r, offs < n)


CASES.append(Case(
    "atomic_masked_old_values", masked_old_value_kernel,
    lambda rng: {"target": buffer(np.arange(20) * 3, "i32"), "old": poison(20, "i32"), "n": 20},
    lambda a: {"target": np.arange(20) * 4, "old": np.arange(20) * 3}, constexprs={"BLOCK": 32}))


@triton.jit
def scalar_counter_kernel(counter, order):
    mine = tl.atomic_add(counter, 1)
    tl.store(order + mine, 1)


CASES.append(Case(
    "atomic_scalar_counter", scalar_counter_kernel,
    lambda rng: {"counter": zeros(1, "i32"), "order": zeros(500, "i32")},
    lambda a: {"counter": np.array([500]), "order": np.ones(500)}, grid=(500,), threads=4))


@triton.jit
def xchg_cas_kernel(p, out):
    old = tl.atomic_xchg(p, 7)
    failed = tl.atomic_cas(p, 3, 9)
    done = tl.atomic_cas(p, 7, 11)
    tl.store(out, old)
    tl.store(out + 1, failed)
    tl.store(out + 2, done)


CASES.append(Case("atomic_exchange_and_cas", xchg_cas_kernel,
                  lambda rng: {"p": buffer([5], "i32"), "out": poison(3, "i32")},
                  lambda a: {"p": np.array([11]), "out": np.array([5, 7, 7])}))


@triton.jit
def spin_lock_kernel(lock, total, x, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * BLOCK + offs)
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    tl.store(total + offs, tl.load(total + offs) + v)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


CASES.append(Case(
    "spin_lock", spin_lock_kernel,
    lambda rng: {"lock": zeros(1, "i32"), "total": zeros(64, "fp32"),
                 "x": buffer(rng.integers(-9, 9, (200, 64)), "fp32")},
    lambda a: {"total": a.x.sum(0), "lock": np.zeros(1)}, grid=(200,), threads=4,
    constexprs={"BLOCK": 64}))


@triton.jit
def cas_tile_kernel(p, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    r = tl.atomic_cas(p + offs, offs, offs + 100)
    tl.store(out + offs, r)


CASES.append(Case(
    "atomic_cas_tile", cas_tile_kernel,
    lambda rng: {"p": buffer(np.where(np.arange(16) % 2, np.arange(16), -1), "i32"),
                 "out": poison(16, "i32")},
    lambda a: {"p": np.where(np.arange(16) % 2, np.arange(16) + 100, -1), "out": a.p},
    constexprs={"BLOCK": 16}))


# --- philox -------------------------------------------------------------------------------------------
def _philox(seed: int, offsets: np.ndarray, rounds: int = 10) -> list[np.ndarray]:
    c = [offsets.astype(np.uint64) & 0xFFFFFFFF, *(np.zeros(offsets.size, np.uint64) for _ in range(3))]
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(rounds):
        high_b, low_b = (c[2] * 0xCD9E8D57) >> np.uint64(32), (c[2] * 0xCD9E8D57) & 0xFFFFFFFF
        high_a, low_a = (c[0] * 0xD2511F53) >> np.uint64(32), (c[0] * 0xD2511F53) & 0xFFFFFFFF
        c = [high_b ^ c[1] ^ k0, low_b, high_a ^ c[3] ^ k1, low_a]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def _uniform(bits: np.ndarray) -> np.ndarray:
    signed = bits.astype(np.uint32).view(np.int32).astype(np.int64)
    return (np.where(signed < 0, -signed - 1, signed).astype(np.float32) * np.float32(4.6566127342e-10))


@triton.jit
def random_kernel(bits, uniform, seed, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(bits + offs, tl.randint(seed, offs))
    tl.store(uniform + offs, tl.rand(seed, offs))


def _random_expect(a):
    c = _philox(a.seed, np.arange(256))
    return {"bits": c[0].astype(np.uint32).view(np.int32), "uniform": _uniform(c[0])}


CASES += [Case(f"philox_seed_{seed}", random_kernel,
               lambda rng, seed=seed: {"bits": poison(256, "i32"), "uniform": poison(256, "fp32"),
                                       "seed": seed},
               _random_expect, constexprs={"N": 256}) for seed in (0, 42, 2**40 + 7)]


@triton.jit
def dropout_kernel(x, out, n, p, seed, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n)
    keep = tl.rand(seed, offs) > p
    tl.store(out + offs, tl.where(keep, v / (1 - p), 0.0), offs < n)


def _dropout(a):
    keep = _uniform(_philox(a.seed, np.arange(a.n))[0]) > np.float32(a.p)
    return {"out": np.where(keep, a.x / (1 - np.float32(a.p)), 0)}


CASES.append(Case(
    "dropout", dropout_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(1000), "fp32"), "out": poison(1000, "fp32"), "n": 1000,
                 "p": 0.25, "seed": 123},
    _dropout, grid=(8,), constexprs={"BLOCK": 128}, rtol=1e-6))


@triton.jit
def normal_kernel(out, seed, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(out + offs, tl.randn(seed, offs))


def _normal(a):
    c = _philox(a.seed, np.arange(512))
    u1 = np.maximum(1e-7, _uniform(c[0])).astype(np.float64)
    u2 = _uniform(c[1]).astype(np.float64)
    return {"out": np.sqrt(-2 * np.log(u1)) * np.cos(6.283185307179586 * u2)}


CASES.append(Case("random_normal", normal_kernel, lambda rng: {"out": poison(512, "fp32"), "seed": 9},
                  _normal, constexprs={"N": 512}, rtol=1e-4, atol=1e-5))
