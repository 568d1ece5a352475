"""One rounding, to nearest even, in conversions to bf16 and f16; subnormal numbers are kept."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from buffers import Buffer, buffer, poison
from case import Case

_TL = {"fp16": tl.float16, "bf16": tl.bfloat16}
_DIGITS = {"fp16": 11, "bf16": 8}


@triton.jit
def convert_kernel(x, out, TO: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(out + o, tl.load(x + o).to(TO))


def _floats(n: int, rng: np.random.Generator) -> np.ndarray:
    """Any bits, many of them subnormal, many just beside the middle of two bf16 numbers."""
    bits = rng.integers(0, 2**32, n, dtype=np.uint32)
    bits[::3] &= np.uint32(0x80FFFFFF)
    middle = (bits[1::4] & np.uint32(0xFFFF0000)) + np.uint32(0x8000)
    bits[1::4] = middle + rng.integers(0, 3, middle.size, dtype=np.uint32) - np.uint32(1)
    special = np.array([0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x7F800001, 0x007FFFFF, 0x00000001,
                        0x00008000, 0x00008001, 0x807F8000, 0x80000000], np.uint32)
    bits[: min(n, special.size)] = special[:n]
    return bits.view(np.float32)


CASES = [Case(f"bf16_from_f32_bits_{n}", convert_kernel,
              lambda rng, n=n: {"x": buffer(_floats(n, rng), "fp32"), "out": poison(n, "bf16")},
              lambda a: {"out": buffer(a.x, "bf16").values}, constexprs={"TO": tl.bfloat16, "N": n})
         for n in (1, 8, 32, 4096)]


def _nearest(value: int, digits: int) -> float:
    """A Python integer rounded to `digits` binary digits, exactly."""
    size = abs(value)
    lost = size.bit_length() - digits
    if lost > 0:
        low, half = size & ((1 << lost) - 1), 1 << (lost - 1)
        size >>= lost
        size += low > half or (low == half and size & 1)
        size <<= lost
    return float(size if value >= 0 else -size)


def _integers(dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Random sizes; middles of two results, and what lies a little beside them."""
    kind = np.dtype({"i": "int", "u": "uint"}[dtype[0]] + dtype[1:])
    limits, values = np.iinfo(kind), []
    for _ in range(1024):
        shift = int(rng.integers(0, kind.itemsize * 8 - 1))
        head = int(rng.integers(1, 2**12)) << shift
        offset = int(rng.choice([0, 0, 1, -1, 1 << max(0, shift - 20)]))
        value = (head + offset) % (int(limits.max) + 1)
        values.append(-value if limits.min < 0 and rng.random() < 0.5 else value)
    values[:4] = [0, int(limits.max), int(limits.min), ((1 << 30) + (1 << 22) + 1) & int(limits.max)]
    return np.array(values, kind)


def _from_integer(source: str, target: str) -> Case:
    def expect(a):
        with np.errstate(over="ignore"):
            exact = [_nearest(int(v), _DIGITS[target]) for v in a.x]
            return {"out": np.array(exact).astype(np.float32 if target == "bf16" else np.float16)}

    return Case(f"one_rounding_{source}_to_{target}", convert_kernel,
                lambda rng: {"x": buffer(_integers(source, rng), source), "out": poison(1024, target)},
                expect, constexprs={"TO": _TL[target], "N": 1024})


CASES += [_from_integer(source, target)
          for source in ("i32", "u32", "i64", "u64", "i16", "u16") for target in ("bf16", "fp16")]


@triton.jit
def small_numbers_kernel(x, y, out, OP: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    a, b = tl.load(x + o), tl.load(y + o)
    if OP == "neg":
        r = -a
    elif OP == "abs":
        r = tl.abs(a)
    elif OP == "add":
        r = a + b
    elif OP == "half":
        r = (a.to(tl.float32) * 0.5).to(a.dtype)
    elif OP == "max":
        r = tl.maximum(a, b)
    elif OP == "min":
        r = tl.minimum(a, b, tl.PropagateNan.ALL)
    else:
        r = tl.clamp(a, tl.minimum(a, b), tl.maximum(a, b))
    tl.store(out + o, r)


_EXPECT = {
    "neg": lambda a, b: -a, "abs": lambda a, b: np.abs(a), "add": lambda a, b: a + b,
    "half": lambda a, b: a * np.float32(0.5), "max": np.fmax, "min": np.minimum,
    "clamp": lambda a, b: a,
}


def _small(op: str, dtype: str) -> Case:
    def args(rng):
        bits = rng.integers(0, 2**16, (2, 512)).astype(np.uint16)
        bits[:, ::2] &= np.uint16(0x80FF if dtype == "bf16" else 0x87FF)
        if op == "clamp":  # without NaN
            bits &= np.uint16(0xBFFF)
        x, y = (Buffer(b if dtype == "bf16" else b.view(np.float16), dtype) for b in bits)
        return {"x": x, "y": y, "out": poison(512, dtype)}

    def expect(a):
        exact = _EXPECT[op](a.x.astype(np.float32), a.y.astype(np.float32))
        return {"out": buffer(exact, dtype).values}

    return Case(f"subnormal_{op}_{dtype}", small_numbers_kernel, args, expect,
                constexprs={"OP": op, "N": 512})


CASES += [_small(op, dtype) for op in _EXPECT for dtype in ("bf16", "fp16")]
