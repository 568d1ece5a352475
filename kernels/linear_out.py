"""What follows the products of a linear layer: its gate, bias and residual, and the form of its result."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.activation import activate
from kernels.activation_codes import encode_groups, pair_words


@triton.jit
def gated(acc, up, bias, column, n: tl.constexpr, has_bias: tl.constexpr, gate: tl.constexpr, quick: tl.constexpr = False):
    """act(acc) * up + bias[column] for f32 [rows, columns]; gate 0: acc + bias."""
    if gate != 0:
        acc = activate(acc, gate - 1, quick) * up
    if has_bias:
        acc += tl.load(bias + column, mask=column < n, other=0.0)[None, :]
    return acc


@triton.jit
def store_tile(
    acc, out, out_scales, out_sums, out_pairs, row, row_inside, column, block_n,
    out_dtype: tl.constexpr, paired_out: tl.constexpr, n: tl.constexpr, out_stride: tl.constexpr,
    residual: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """acc f32 [rows, columns] to out, as its type has it. FULL: all rows are inside."""
    at = row.to(tl.int64)
    out_at = out + at[:, None] * out_stride + column[None, :]
    here = None if FULL else row_inside
    if FULL and n % acc.shape[1] == 0:
        inside = None
    elif n % acc.shape[1] == 0:
        inside = row_inside[:, None]
    else:
        inside = row_inside[:, None] & (column < n)[None, :]
    if residual:
        acc += tl.load(out_at, mask=inside).to(tl.float32)
    if out_dtype == tl.int8:
        tl.static_assert(acc.shape[1] == 32 and n % 32 == 0 and not residual)
        code, total, scale = encode_groups(acc, paired_out)
        if paired_out:
            tl.store(out_pairs + at * pair_words(n // 32, 1) + block_n, total, mask=here)
        else:
            sum_at = out_sums + at * (n // 32 * 2) + block_n
            tl.store(sum_at, scale * total.to(tl.float32), mask=here)
            tl.store(sum_at + n // 32, total.to(tl.float32), mask=here)
        tl.store(out_at, code, mask=inside)
        tl.store(out_scales + at * (n // 32) + block_n, scale, mask=here)
    else:
        tl.store(out_at, acc.to(out.dtype.element_ty), mask=inside)
