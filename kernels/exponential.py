"""Powers of two by a short polynomial, for results that keep few bits."""

import triton
import triton.language as tl

ROUND = tl.constexpr(12582912.0)  # 1.5 * 2^23: what is added to it is rounded to a whole number, in its last bits


@triton.jit
def quick_exp2(x):
    """2^x for x <= 126, within 3e-6 of it in proportion, which is nothing beside what is lost when it becomes bf16 or an
    8-bit code. The polynomial is the best one in relative error for -1/2 .. 1/2 (Remez)."""
    x = tl.where(x < -125.0, -125.0, x)  # a NaN stays one
    shifted = x + ROUND
    rest = x - (shifted - ROUND)
    power = tl.fma(tl.fma(tl.fma(tl.fma(0.0095701, rest, 0.05591786), rest, 0.24024745), rest, 0.69312181), rest, 0.99999926)
    whole = shifted.to(tl.int32, bitcast=True) << 23
    return (power.to(tl.int32, bitcast=True) + whole).to(tl.float32, bitcast=True)
