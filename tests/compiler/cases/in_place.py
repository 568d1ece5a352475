"""Programs that write over what they read: in Triton all of a load happens before a later store."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer
from case import Case


@triton.jit
def transpose_kernel(x, N: tl.constexpr):
    o = tl.arange(0, N)
    p = x + o[:, None] * N + o[None, :]
    tl.store(p, tl.trans(tl.load(p)))


CASES = [Case(f"transpose_in_place_{n}", transpose_kernel,
              lambda rng, n=n: {"x": buffer(rng.permutation(n * n).reshape(n, n), "i32")},
              lambda a: {"x": a.x.T}, constexprs={"N": n})
         for n in (4, 16, 64, 256)]


@triton.jit
def add_transposed_kernel(x, N: tl.constexpr):
    o = tl.arange(0, N)
    p = x + o[:, None] * N + o[None, :]
    a = tl.load(p)
    tl.store(p, a + 3 * tl.trans(a))


CASES += [Case(f"add_transposed_in_place_{n}", add_transposed_kernel,
               lambda rng, n=n: {"x": buffer(rng.permutation(n * n).reshape(n, n), "i32")},
               lambda a: {"x": a.x + 3 * a.x.T}, constexprs={"N": n})
          for n in (16, 64)]


@triton.jit
def interleave_kernel(x, N: tl.constexpr):
    p = x + tl.arange(0, N)
    a = tl.reshape(tl.load(p), [2, N // 2])
    tl.store(p, tl.reshape(tl.trans(a), [N]))


CASES += [Case(f"interleave_in_place_{n}", interleave_kernel,
               lambda rng, n=n: {"x": buffer(rng.permutation(n), "i32")},
               lambda a: {"x": a.x.reshape(2, -1).T.ravel()}, constexprs={"N": n})
          for n in (8, 32, 1024)]


@triton.jit
def gather_kernel(x, N: tl.constexpr):
    o = tl.arange(0, N)
    a = tl.load(x + o)
    tl.store(x + o, tl.gather(a, (o * 5 + 3) % N, 0))


CASES += [Case(f"gather_in_place_{n}", gather_kernel,
               lambda rng, n=n: {"x": buffer(rng.permutation(n), "i32")},
               lambda a: {"x": a.x[(np.arange(a.N) * 5 + 3) % a.N]}, constexprs={"N": n})
          for n in (32, 1024)]


@triton.jit
def masked_by_transposed_kernel(x, N: tl.constexpr):
    o = tl.arange(0, N)
    p = x + o[:, None] * N + o[None, :]
    a = tl.load(p)
    tl.store(p, a + 1, mask=tl.trans(a) > 0)


CASES += [Case(f"mask_from_transposed_in_place_{n}", masked_by_transposed_kernel,
               lambda rng, n=n: {"x": buffer(rng.integers(-1, 1, (n, n)), "i32")},
               lambda a: {"x": np.where(a.x.T > 0, a.x + 1, a.x)}, constexprs={"N": n})
          for n in (16, 64)]


# Several elements at one address: all read the old value.
@triton.jit
def repeated_kernel(x, HOW: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    if HOW == "half":
        p = x + o // 2
    elif HOW == "modulo":
        p = x + o % 16
    else:
        p = x + o * 0
    tl.store(p, tl.load(p) + 1)


def _repeated(how: str, n: int) -> Case:
    size = {"half": n // 2, "modulo": 16, "zero": 1}[how]
    return Case(f"repeated_addresses_in_place_{how}_{n}", repeated_kernel,
                lambda rng: {"x": buffer(rng.permutation(size), "i32")},
                lambda a: {"x": a.x + 1}, constexprs={"HOW": how, "N": n})


CASES += [_repeated(how, n) for how in ("half", "modulo", "zero") for n in (64, 1024)]


@triton.jit
def repeated_rows_kernel(x, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):
    p = x + tl.arange(0, M)[:, None] * STEP + tl.arange(0, N)[None, :]
    tl.store(p, tl.load(p) + 1)


CASES += [Case(f"overlapping_rows_in_place_{step}", repeated_rows_kernel,
               lambda rng, step=step: {"x": buffer(rng.permutation(31 * step + 64), "i32")},
               lambda a: {"x": a.x + 1}, constexprs={"M": 32, "N": 64, "STEP": step})
          for step in (0, 16, 64)]
