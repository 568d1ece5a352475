"""Masked loads and stores: every shape of mask, and pages that trap right behind the data."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import buffer, poison
from case import Case


@triton.jit
def window_kernel(x, out, low, high, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    mask = (offs >= low) & (offs < high)
    tl.store(out + offs, tl.load(x + offs, mask, other=-1.0) * 2, mask)


def _window(low: int, high: int, block: int, size: int) -> Case:
    def expect(a):
        want = poison(size, "fp32").values
        first, last = max(0, low), min(block, high)
        want[first:last] = a.x[first:last] * 2
        return {"out": want}

    return Case(f"mask_window_{low}_{high}_of_{block}", window_kernel,
                lambda rng: {"x": buffer(rng.standard_normal(size), "fp32"),
                             "out": poison(size, "fp32"), "low": low, "high": high},
                expect, constexprs={"BLOCK": block})


CASES = [
    _window(0, 7, 64, 7), _window(0, 64, 64, 64), _window(0, 0, 64, 1), _window(5, 5, 64, 1),
    _window(3, 61, 64, 61), _window(40, 64, 64, 64), _window(-5, 17, 32, 17), _window(9, 3, 32, 2),
    _window(0, 1000, 16, 16), _window(1, 1023, 1024, 1023), _window(-100, -50, 64, 1),
]


@triton.jit
def other_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, offs < n, other=3.5))


CASES += [Case(f"load_other_n{n}", other_kernel,
               lambda rng, n=n: {"x": buffer(rng.standard_normal(max(n, 1)), "fp32"),
                                 "out": poison(128, "fp32"), "n": n},
               lambda a, n=n: {"out": np.concatenate([a.x[:n], np.full(128 - n, 3.5, np.float32)])},
               constexprs={"BLOCK": 128}) for n in (0, 1, 50, 127, 128)]


@triton.jit
def opaque_kernel(x, keep, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    mask = tl.load(keep + offs) != 0
    tl.store(out + offs, tl.load(x + offs, mask, other=0.0) + 1, mask)


def _opaque(name: str, pattern) -> Case:
    def args(rng):
        return {"x": buffer(rng.standard_normal(256), "fp32"), "keep": buffer(pattern(rng), "i8"),
                "out": poison(256, "fp32")}

    def expect(a):
        return {"out": np.where(a.keep != 0, a.x + 1, poison(256, "fp32").values)}

    return Case(f"mask_opaque_{name}", opaque_kernel, args, expect, constexprs={"BLOCK": 256})


CASES += [_opaque("random", lambda rng: rng.integers(0, 2, 256)),
          _opaque("none", lambda rng: np.zeros(256)), _opaque("all", lambda rng: np.ones(256)),
          _opaque("alternate", lambda rng: np.arange(256) % 2)]


@triton.jit
def pointers_in_holes_kernel(x, index, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    i = tl.load(index + offs)
    ok = (i >= 0) & (i < n)
    tl.store(out + offs, tl.load(x + i, ok, other=-7.0))


CASES.append(Case(
    "gather_wild_indices_masked", pointers_in_holes_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(40), "fp32"),
                 "index": buffer(rng.integers(-(2**30), 2**30, 64) * (rng.random(64) < 0.5)
                                 + rng.integers(0, 40, 64), "i32"),
                 "out": poison(64, "fp32"), "n": 40},
    lambda a: {"out": np.where((a.index >= 0) & (a.index < 40), a.x[a.index % 40], np.float32(-7))},
    constexprs={"BLOCK": 64}))


@triton.jit
def copy_2d_kernel(x, out, rows, cols, stride, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    mask = (m[:, None] < rows) & (n[None, :] < cols)
    v = tl.load(x + m[:, None] * stride + n[None, :], mask, other=0.0)
    tl.store(out + m[:, None] * cols + n[None, :], v * 3, mask)


def _copy_2d(rows: int, cols: int, bm: int, bn: int, pad: int = 0) -> Case:
    def args(rng):
        x = rng.standard_normal(rows * (cols + pad) - pad)
        return {"x": buffer(x, "fp32"), "out": poison((rows, cols), "fp32"), "rows": rows,
                "cols": cols, "stride": cols + pad}

    def expect(a):
        starts = np.arange(rows)[:, None] * (cols + pad) + np.arange(cols)
        return {"out": a.x[starts] * 3}

    return Case(f"mask_2d_{rows}x{cols}_tile_{bm}x{bn}_pad{pad}", copy_2d_kernel, args, expect,
                grid=(-(-rows // bm), -(-cols // bn)), constexprs={"BM": bm, "BN": bn})


CASES += [_copy_2d(33, 47, 16, 32), _copy_2d(5, 3, 8, 4), _copy_2d(1, 1, 1, 1), _copy_2d(7, 100, 1, 64),
          _copy_2d(100, 7, 64, 1), _copy_2d(64, 64, 64, 64), _copy_2d(13, 17, 16, 16, 5),
          _copy_2d(3, 129, 2, 128, 1), _copy_2d(129, 3, 128, 2)]


@triton.jit
def transpose_kernel(x, out, rows, cols, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    v = tl.load(x + m[:, None] * cols + n[None, :], (m[:, None] < rows) & (n[None, :] < cols))
    tl.store(out + n[:, None] * rows + m[None, :], tl.trans(v),
             (n[:, None] < cols) & (m[None, :] < rows))


def _transpose(rows: int, cols: int, bm: int, bn: int, dtype: str = "fp32") -> Case:
    return Case(f"transpose_{rows}x{cols}_tile_{bm}x{bn}_{dtype}", transpose_kernel,
                lambda rng: {"x": buffer(rng.integers(-99, 99, (rows, cols)), dtype),
                             "out": poison((cols, rows), dtype), "rows": rows, "cols": cols},
                lambda a: {"out": a.x.T}, grid=(-(-rows // bm), -(-cols // bn)),
                constexprs={"BM": bm, "BN": bn})


CASES += [_transpose(33, 65, 16, 32), _transpose(8, 8, 8, 8), _transpose(5, 300, 8, 128),
          _transpose(100, 30, 32, 32, "bf16"), _transpose(20, 20, 16, 16, "i8"),
          _transpose(31, 9, 32, 16, "fp64")]


@triton.jit
def mask_row_only_kernel(x, out, rows, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.arange(0, BM)
    offs = m[:, None] * BN + tl.arange(0, BN)[None, :]
    mask = (m < rows)[:, None]
    tl.store(out + offs, tl.load(x + offs, mask) + 1, mask)


def _rows(columns: int, dtype: str) -> Case:
    return Case(
        f"mask_rows_broadcast_{columns}_{dtype}", mask_row_only_kernel,
        lambda rng: {"x": buffer(rng.integers(-50, 50, (11, columns)), dtype), "out": poison((11, columns), dtype),
                     "rows": 11},
        lambda a: {"out": buffer(a.x.astype(np.float64) + 1, dtype).values}, constexprs={"BM": 16, "BN": columns})


# One mask for all lanes of a store, of vectors up to 64 bytes and of longer rows.
CASES += [_rows(columns, dtype) for columns in (8, 32, 128) for dtype in ("fp32", "bf16", "fp64", "i8")]


@triton.jit
def triangle_kernel(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    inside = (i[:, None] < n) & (i[None, :] < n)
    lower = i[:, None] >= i[None, :]
    offs = i[:, None] * n + i[None, :]
    v = tl.load(x + offs, inside & lower, other=0.0)
    tl.store(out + offs, v, inside)


CASES.append(Case(
    "mask_triangle", triangle_kernel,
    lambda rng: {"x": buffer(rng.standard_normal((27, 27)), "fp32"), "out": poison((27, 27), "fp32"),
                 "n": 27},
    lambda a: {"out": np.tril(a.x)}, constexprs={"BLOCK": 32}))


@triton.jit
def stripe_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = (offs < n) & (offs % 4 != 1)
    tl.store(out + offs, tl.load(x + offs, mask, other=9.0), offs < n)


CASES.append(Case(
    "mask_stripes", stripe_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(211), "fp32"), "out": poison(211, "fp32"), "n": 211},
    lambda a: {"out": np.where(np.arange(211) % 4 != 1, a.x, np.float32(9))},
    grid=(4,), constexprs={"BLOCK": 64}))


@triton.jit
def ring_kernel(x, out, n, shift, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + (offs + shift) % n, offs < n), offs < n)


CASES.append(Case(
    "load_modulo_wraps", ring_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(100), "fp32"), "out": poison(100, "fp32"), "n": 100,
                 "shift": 37},
    lambda a: {"out": np.roll(a.x, -37)}, constexprs={"BLOCK": 128}))


@triton.jit
def strided_kernel(x, out, n, stride, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    mask = offs < n
    tl.store(out + offs * 2, tl.load(x + offs * stride, mask), mask)


def _strided(stride: int) -> Case:
    def expect(a):
        want = poison(99, "fp32").values
        want[::2] = a.x[::stride] if stride > 0 else a.x[0]
        return {"out": want}

    return Case(f"strided_{stride}", strided_kernel,
                lambda rng: {"x": buffer(rng.standard_normal(max(1, 49 * stride + 1)), "fp32"),
                             "out": poison(99, "fp32"), "n": 50, "stride": stride},
                expect, constexprs={"BLOCK": 64})


CASES += [_strided(1), _strided(2), _strided(3), _strided(17), _strided(0)]


@triton.jit
def reversed_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + (n - 1 - offs), offs < n), offs < n)


CASES.append(Case(
    "load_reversed", reversed_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(77), "fp32"), "out": poison(77, "fp32"), "n": 77},
    lambda a: {"out": a.x[::-1]}, constexprs={"BLOCK": 128}))


@triton.jit
def unmasked_4d_kernel(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr):
    a = tl.arange(0, A)[:, None, None, None]
    b = tl.arange(0, B)[None, :, None, None]
    c = tl.arange(0, C)[None, None, :, None]
    d = tl.arange(0, D)[None, None, None, :]
    v = tl.load(x + ((a * B + b) * C + c) * D + d)
    tl.store(out + ((d * C + c) * B + b) * A + a, v + (a * 1000 + b * 100 + c * 10 + d))


def _four_d(shape: tuple[int, int, int, int]) -> Case:
    a_, b_, c_, d_ = shape

    def expect(args):
        i = np.indices(shape)
        v = args.x + (i[0] * 1000 + i[1] * 100 + i[2] * 10 + i[3])
        return {"out": v.transpose(3, 2, 1, 0).astype(np.float32)}

    return Case(f"tile_4d_{'x'.join(map(str, shape))}", unmasked_4d_kernel,
                lambda rng: {"x": buffer(rng.integers(0, 9, shape), "fp32"),
                             "out": poison(shape[::-1], "fp32")},
                expect, constexprs={"A": a_, "B": b_, "C": c_, "D": d_})


CASES += [_four_d((2, 4, 8, 16)), _four_d((4, 1, 2, 2)), _four_d((1, 1, 1, 1)), _four_d((16, 2, 2, 1))]


@triton.jit
def far_offset_kernel(x, out, base, BLOCK: tl.constexpr):
    offs = base + tl.arange(0, BLOCK).to(tl.int64) * 2
    tl.store(out + tl.arange(0, BLOCK), tl.load(x + (offs - base)))


CASES.append(Case(
    "offsets_64_bit", far_offset_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(64), "fp32"), "out": poison(32, "fp32"),
                 "base": 2**40 + 12345},
    lambda a: {"out": a.x[::2]}, constexprs={"BLOCK": 32}))


@triton.jit
def i32_overflow_to_i64_kernel(out, big, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    wrapped = offs + big  # wraps in i32
    wide = offs.to(tl.int64) + big
    tl.store(out + offs, wide - wrapped.to(tl.int64))


CASES.append(Case(
    "i32_wraps_i64_does_not", i32_overflow_to_i64_kernel,
    lambda rng: {"out": poison(16, "i64"), "big": 2**31 - 8},
    lambda a: {"out": np.where(np.arange(16) < 8, 0, 2**32)}, constexprs={"BLOCK": 16}))


@triton.jit
def store_splat_kernel(out, value, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, value, offs < n)


CASES.append(Case("store_splat", store_splat_kernel,
                  lambda rng: {"out": poison(100, "bf16"), "value": 1.5, "n": 100},
                  lambda a: {"out": np.full(100, 1.5, np.float32)}, constexprs={"BLOCK": 128}))


@triton.jit
def i1_store_kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, offs < n) > 0, offs < n)


CASES.append(Case(
    "store_booleans", i1_store_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(45), "fp32"), "out": poison(45, "i1"), "n": 45},
    lambda a: {"out": (a.x > 0).astype(np.int8)}, constexprs={"BLOCK": 64}))


@triton.jit
def in_place_shift_kernel(x, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, offs < n)
    tl.store(x + offs + 1, v, offs < n)  # overlaps what was loaded


CASES.append(Case(
    "overlapping_store_after_load", in_place_shift_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(201), "fp32"), "n": 200},
    lambda a: {"x": np.concatenate([a.x[:1], a.x[:200]])}, constexprs={"BLOCK": 256}))


@triton.jit
def reload_kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    before = tl.load(x + offs)
    tl.store(x + offs, before * 2)
    after = tl.load(x + offs)
    tl.store(out + offs, before + after)


CASES.append(Case(
    "load_store_load_order", reload_kernel,
    lambda rng: {"x": buffer(rng.standard_normal(64), "fp32"), "out": poison(64, "fp32")},
    lambda a: {"x": a.x * 2, "out": a.x + a.x * 2}, constexprs={"BLOCK": 64}))


@triton.jit
def every_other_kernel(x, out, FIRST: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + 2 * at + FIRST).to(tl.float32))


# The last element read is the last one there is: half of a pair, if first is even.
CASES += [Case(f"every_other_{dtype}_from_{first}{'_aligned' * aligned}", every_other_kernel,
               lambda rng, dtype=dtype, first=first: {
                   "x": buffer(rng.integers(-100, 100, 127 + first) / (1 if dtype[0] in "iu" else 8), dtype),
                   "out": poison(64, "fp32")},
               lambda v: {"out": v.x[v.FIRST :: 2].astype(np.float32)},
               constexprs={"FIRST": first, "BLOCK": 64}, aligned=aligned)
          for dtype in ("i8", "i16", "bf16", "fp16", "fp32", "fp8e4nv") for first in (0, 1, 2, 3) for aligned in (False, True)]


@triton.jit
def every_other_before_kernel(x, out, BACK: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + 16 + (2 * at - BACK)).to(tl.float32))


CASES += [Case(f"every_other_{back}_before_the_pointer", every_other_before_kernel,
               lambda rng: {"x": buffer(rng.integers(-100, 100, 144), "i16"), "out": poison(64, "fp32")},
               lambda v: {"out": v.x[16 - v.BACK :: 2][:64].astype(np.float32)},
               constexprs={"BACK": back, "BLOCK": 64}, aligned=True)
          for back in (1, 2, 3, 4)]
